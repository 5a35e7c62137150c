"""The client that uploads: many connections, one thread, zeros from a file in memory by sendfile.

What is measured is the server; so the content costs the client next to nothing. Every answer is checked.
"""

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.client import Address, Exchanged, WrongAnswer

MIB = 1024 * 1024
_BOUNDARY = b"------------------------d74496d66958873eQzXc"  # as long as those of curl and of browsers


@dataclass(frozen=True, slots=True)
class Upload:
    """What is sent: *head*, then *amount* zeros, each *piece* of them between *before* and *after*; then *end*."""

    head: bytes
    amount: int
    end: bytes = b""
    piece: int = 4096 * MIB
    before: bytes = b""
    after: bytes = b""


def put(target: str, amount: int) -> Upload:
    """Return a PUT of *amount* zeros, with its length."""
    return Upload(_head("PUT", target, f"Content-Length: {amount}"), amount)


def put_chunked(target: str, amount: int) -> Upload:
    """Return a PUT of *amount* zeros in chunks of 64 KiB, as curl sends what is piped into it."""
    size = 64 * 1024
    head = _head("PUT", target, "Transfer-Encoding: chunked")
    return Upload(head, amount, b"0\r\n\r\n", size, b"%x\r\n" % size, b"\r\n")


def form(target: str, name: str, amount: int) -> Upload:
    """Return a form with a file *name* of *amount* zeros, posted to the directory *target*, that replaces others."""
    disposition = b"--%b\r\nContent-Disposition: form-data; name=%b\r\n\r\n"
    file = disposition % (_BOUNDARY, b'f; filename="%b"' % name.encode())
    end = b"\r\n" + disposition % (_BOUNDARY, b"existing") + b"replace\r\n--%b--\r\n" % _BOUNDARY
    length = len(file) + amount + len(end)
    kind = f"Content-Length: {length}\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY.decode()}"
    return Upload(_head("POST", target, kind) + file, amount, end)


def _head(method: str, target: str, framing: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()


class Sending:
    """One upload on a connection of its own."""

    __slots__ = ("_left", "_piece_left", "_plain", "_upload", "_zeros", "sock")

    def __init__(self, address: Address, upload: Upload, zeros: int) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self._upload = upload
        self._zeros = zeros
        self._plain = upload.head  # what is to be sent before the next zeros
        self._left = upload.amount
        self._piece_left = 0

    def go_on(self) -> bool:
        """Send as much as the socket takes; return whether all is sent."""
        try:
            while self._plain or self._left:
                if self._plain:
                    self._plain = self._plain[self.sock.send(self._plain) :]
                else:
                    self._send_zeros()
        except BlockingIOError:
            return False
        return True

    def _send_zeros(self) -> None:
        if not self._piece_left:
            self._piece_left = min(self._upload.piece, self._left)
            self._plain = self._upload.before
            if self._plain:
                return
        sent = os.sendfile(self.sock.fileno(), self._zeros, 0, min(self._piece_left, MIB))
        self._piece_left -= sent
        self._left -= sent
        if not self._piece_left:
            self._plain = self._upload.after
        if not self._left:
            self._plain += self._upload.end

    def check_answer(self) -> None:
        """Wait for the answer, and raise `WrongAnswer` unless it says that all is stored."""
        self.sock.setblocking(True)
        answer = self.sock.recv(4096)
        self.sock.close()
        if not answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 204")):
            raise WrongAnswer(answer[:200].decode("latin-1"))


def upload(address: Address, uploads: Sequence[Upload], ready: Callable[[], None] = lambda: None) -> Exchanged:
    """Send all of *uploads* at the same time, and return what that took; call *ready* when all are connected."""
    zeros = os.memfd_create("zeros")
    os.truncate(zeros, MIB)
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    sendings = [Sending(address, one, zeros) for one in uploads]
    ready()
    _pump(sendings)
    for sending in sendings:
        sending.check_answer()
    os.close(zeros)
    elapsed_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    return Exchanged(len(uploads), sum(one.amount for one in uploads), elapsed_s, cpu_s)


def load(ready: Callable[[], None], address: Address, uploads: Sequence[Upload]) -> None:
    """Send *uploads* for ever, all at the same time; call *ready* when the first ones are connected."""
    while True:
        upload(address, uploads, ready)


def _pump(sendings: Sequence[Sending]) -> None:
    poll = select.epoll()
    active = {sending.sock.fileno(): sending for sending in sendings}
    for descriptor in active:
        poll.register(descriptor, select.EPOLLOUT)
    while active:
        for descriptor, _ in poll.poll():
            if active[descriptor].go_on():
                poll.unregister(descriptor)
                del active[descriptor]
    poll.close()
