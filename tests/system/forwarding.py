"""A TCP server on loopback in the place of another one, which its connections lead to: what all our relays share.

Left out: what becomes of the bytes, which the handler of a relay's connections decides.
"""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

READ_SIZE = 256 * 1024
WAIT_S = 30
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing drops what is unsent and sends RST


class Owner(Protocol):
    """What a test has of a relay, and a relay's connections tell."""

    url: str

    def break_off(self) -> None:
        """Break off all connections; none comes any more."""


T = TypeVar("T", bound=Owner)


class Forwarder(socketserver.ThreadingTCPServer, Generic[T]):
    """Takes connections, each in a thread."""

    daemon_threads = False
    request_queue_size = 64

    def __init__(self, handler: type[socketserver.BaseRequestHandler], owner: T) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.owner = owner


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of the server at *url*."""
    host, _, port = url.rpartition("//")[2].partition("/")[0].rpartition(":")
    return host, int(port)


@contextmanager
def forwarding(url: str, handler: type[socketserver.BaseRequestHandler], owner: T) -> Iterator[T]:
    """Take connections in the place of the server at *url* for the length of the block; ``owner.url`` is where."""
    with Forwarder(handler, owner) as server:
        owner.url = url.replace(f":{address_of(url)[1]}", f":{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield owner
        finally:
            server.shutdown()
            thread.join()
            owner.break_off()


def shut_down(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """End one or both directions of a connection, if it is still there."""
    with suppress(OSError):
        end.shutdown(how)
