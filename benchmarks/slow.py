"""A thousand slow readers: 1 KiB a second each, with a receive buffer of 4 KiB.

What a server and its kernel hold for each of them is what it has prepared and cannot hand over. The small buffer
matters: the kernel's own choice would take megabytes off the server's hands and hide them in the client.
"""

import resource
import socket
import time
from collections.abc import Callable

from benchmarks.client import Address

READERS = 1000
RECEIVE_BUFFER = 4096
KIB = 1024


def read_slowly(ready: Callable[[], None], address: Address, head: bytes, readers: int = READERS) -> None:
    """Read for ever; call *ready* when every reader has its first bytes."""
    socks = [_ask(address, head) for _ in range(readers)]
    for sock in socks:
        _take(sock)
    ready()
    while True:
        begin = time.monotonic()
        for sock in socks:
            _take(sock)
        time.sleep(max(0.0, begin + 1 - time.monotonic()))


def raise_descriptor_limit() -> None:
    """Allow this process, and the servers that it starts, as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ask(address: Address, head: bytes) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # before connect: it decides the window
    sock.connect(address)
    sock.sendall(head)
    return sock


def _take(sock: socket.socket) -> None:
    if not sock.recv(KIB):
        raise ConnectionError("a slow reader was cut off")
