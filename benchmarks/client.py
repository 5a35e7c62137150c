"""The client that measures: many connections, one thread, content discarded in the kernel.

``recv`` with ``MSG_TRUNC`` on a TCP socket drops bytes instead of copying them (tcp(7)), so the client costs a fraction
of any server: each figure says how much. Lengths and status codes are checked; the bytes themselves are the tests'
matter.
"""

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]

MIB = 1024 * 1024
_HEAD_LIMIT = 4096
_HEAD_PENDING = -1
_scratch = bytearray(MIB)  # named in each recv, never written to


class WrongAnswer(Exception):
    """The server did not answer with what was asked for: nothing that is measured of it would mean anything."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a client has seen: whole answers, their content in bytes, and the time and processor time that it took."""

    answers: int
    content: int
    elapsed_s: float
    cpu_s: float

    @property
    def busy(self) -> float:
        """The part of its time for which the client was at work: close to 1 means that it was the bottleneck."""
        return self.cpu_s / self.elapsed_s


def request(target: str, span: tuple[int, int] | None = None) -> bytes:
    """Return a GET of *target*, or of the half-open *span* of it."""
    lines = [f"GET {target} HTTP/1.1", "Host: localhost"]
    if span:
        lines.append(f"Range: bytes={span[0]}-{span[1] - 1}")
    return "\r\n".join((*lines, "", "")).encode("ascii")


class Stream:
    """One connection that asks for the same thing, again and again."""

    __slots__ = ("content", "head", "left", "sock")

    def __init__(self, address: Address, head: bytes) -> None:
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self.head = head
        self.content = 0
        self.ask()

    def ask(self) -> None:
        """Send the request; the last answer has been taken."""
        self.left = _HEAD_PENDING
        self.sock.send(self.head)

    def take(self) -> bool:
        """Take what has arrived, up to 1 MiB; return whether the answer is complete."""
        if self.left == _HEAD_PENDING:
            self._take_head()
        else:
            taken = self.sock.recv_into(_scratch, min(self.left, MIB), socket.MSG_TRUNC)
            if not taken:
                raise WrongAnswer(f"{self.left} bytes before the end")
            self.left -= taken
            self.content += taken
        return self.left == 0

    def _take_head(self) -> None:
        data = self.sock.recv(_HEAD_LIMIT)
        head, separator, content = data.partition(b"\r\n\r\n")
        if not separator or not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
            raise WrongAnswer(head[:200].decode("latin-1"))
        self.left = _content_length(head) - len(content)
        self.content += len(content)


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    if not found:
        raise WrongAnswer("no Content-Length")
    return int(rest.partition(b"\r")[0])


def exchange(address: Address, heads: list[bytes], again: Callable[[], bool]) -> Exchanged:
    """Ask each of *heads* on a connection of its own, and after each answer once more while *again* says so."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    streams = [Stream(address, head) for head in heads]
    answers = _pump(streams, again)
    elapsed_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    return Exchanged(answers, sum(stream.content for stream in streams), elapsed_s, cpu_s)


def _pump(streams: list[Stream], again: Callable[[], bool]) -> int:
    poll, answers = select.epoll(), 0
    active = {stream.sock.fileno(): stream for stream in streams}
    for descriptor in active:
        poll.register(descriptor, select.EPOLLIN)
    while active:
        for descriptor, _ in poll.poll():
            stream = active[descriptor]
            if not stream.take():
                continue
            answers += 1
            if again():
                stream.ask()
            else:
                poll.unregister(descriptor)
                del active[descriptor]
                stream.sock.close()
    poll.close()
    return answers


def download(address: Address, heads: list[bytes]) -> Exchanged:
    """Take one answer to each of *heads*, all at the same time."""
    return exchange(address, heads, lambda: False)


def repeat(address: Address, head: bytes, connections: int, seconds: float) -> Exchanged:
    """Ask *head* on some connections that are kept alive, for some seconds and until the last answer is whole."""
    end_s = time.monotonic() + seconds
    return exchange(address, [head] * connections, lambda: time.monotonic() < end_s)


def load(ready: Callable[[], None], address: Address, head: bytes, connections: int) -> None:
    """Ask *head* for ever; call *ready* when every connection has begun to receive."""
    streams = [Stream(address, head) for _ in range(connections)]
    for stream in streams:
        select.select([stream.sock], [], [])
    ready()
    _pump(streams, lambda: True)
