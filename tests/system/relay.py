"""A TCP relay on loopback that stands between a client and a server and breaks downloads off where a test says so.

It forwards bytes both ways and changes none. It reads along as far as it must: each request's head is recorded
(``requests``), and the content of the answers to ``/download/`` and ``/archive/`` is counted, so that a cut
comes after exactly so many bytes of content, whatever the length of the head (RFC 9112 §6.3: content begins after the
empty line).

One fault is used up by each download, in order; when none is left, all goes through. After ``Cut.FIN`` the client sees
an orderly end too soon, after ``Cut.RST`` a reset, and at ``Cut.HOLD`` nothing moves until the test calls ``release``.
``Cut.FLIP`` cuts nothing: one bit of the next byte arrives turned round.

Left out: pipelining, and requests with content. None of the clients that come here sends them.
"""

import socket
import socketserver
import threading
from collections import deque
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import Enum

from tests.system.forwarding import READ_SIZE, RESET_ON_CLOSE, WAIT_S, Forwarder, address_of, forwarding, shut_down
from tests.tools import wait_until

HEAD_END = b"\r\n\r\n"


class Cut(Enum):
    """How a download is disturbed."""

    FIN = "fin"
    RST = "rst"
    HOLD = "hold"
    FLIP = "flip"


@dataclass(frozen=True, slots=True)
class Fault:
    """Disturb one download by *cut*, after *content_bytes* of it."""

    content_bytes: int
    cut: Cut = Cut.FIN


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it went through: its target, and its fields by lower-case name."""

    target: str
    fields: dict[str, str]

    @property
    def is_download(self) -> bool:
        """Whether the answer is one that faults are for."""
        return "/download/" in self.target or "/archive" in self.target


class Relay:
    """What the relay has seen and still has to do. Made by ``relaying``."""

    def __init__(self, target: tuple[str, int], faults: tuple[Fault, ...]) -> None:
        self.target = target
        self.url = ""
        self.requests: list[Request] = []
        self.held = 0
        self.released = threading.Event()
        self.open_sockets: set[socket.socket] = set()
        self._faults = deque(faults)
        self._lock = threading.Lock()

    @property
    def downloads(self) -> list[Request]:
        """The requests for downloads, in the order in which they came."""
        return [request for request in self.requests if request.is_download]

    @property
    def ranges(self) -> list[str | None]:
        """The Range field of each download."""
        return [request.fields.get("range") for request in self.downloads]

    def wait_until_holding(self) -> None:
        """Return when a download stands at its ``Cut.HOLD``."""
        assert wait_until(lambda: self.held > 0, WAIT_S), "no download came to the point of holding"

    def hold(self) -> bool:
        """Wait until the test releases what is held; return whether it did."""
        with self._lock:
            self.held += 1
        return self.released.wait(WAIT_S)

    def release(self) -> None:
        """Let what is held go on."""
        self.released.set()

    def break_off(self) -> None:
        """Let go what is held, and break all off."""
        self.release()
        for end in tuple(self.open_sockets):
            shut_down(end)

    def take_fault(self, request: Request) -> Fault | None:
        """Record *request*, and return the fault that its answer gets."""
        with self._lock:
            self.requests.append(request)
            return self._faults.popleft() if request.is_download and self._faults else None


class _Connection(socketserver.BaseRequestHandler):
    """One client's connection and its counterpart to the server: this thread carries answers, another one requests."""

    server: Forwarder[Relay]
    request: socket.socket

    def setup(self) -> None:
        self.fault: Fault | None = None
        self.head = b""
        self.content_left = 0
        self.is_reset = False
        self.upstream = socket.create_connection(self.server.owner.target, timeout=WAIT_S)
        self.upstream.settimeout(None)
        self.server.owner.open_sockets |= {self.request, self.upstream}

    def handle(self) -> None:
        upward = threading.Thread(target=self._carry_requests)
        upward.start()
        with suppress(OSError):
            self._carry_answers()
        shut_down(self.upstream)
        shut_down(self.request, socket.SHUT_RD if self.is_reset else socket.SHUT_RDWR)
        upward.join()

    def finish(self) -> None:
        self.server.owner.open_sockets -= {self.request, self.upstream}
        self.upstream.close()
        self.request.close()  # not before the other thread has left it: a descriptor in use sends no reset

    def _carry_requests(self) -> None:
        pending = b""
        with suppress(OSError):
            while data := self.request.recv(READ_SIZE):
                pending += data
                while HEAD_END in pending:
                    head, _, pending = pending.partition(HEAD_END)
                    self.fault, self.head = self.server.owner.take_fault(_parse_request(head)), b""
                self.upstream.sendall(data)
        shut_down(self.upstream)

    def _carry_answers(self) -> None:
        while data := self.upstream.recv(READ_SIZE):
            if self.fault is None:
                self.request.sendall(data)
                continue
            before, after = self._split_at_fault(data)
            self.request.sendall(before)
            if after and self.fault.cut is Cut.FLIP:
                after = bytes((after[0] ^ 1,)) + after[1:]
            if after and not self._disturb(self.fault.cut):
                return
            self.request.sendall(after)

    def _split_at_fault(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what goes through before the fault, and what is to come after it."""
        assert self.fault is not None
        if HEAD_END not in self.head:
            self.head += data
            if HEAD_END not in self.head:
                return data, b""
            content = len(self.head.partition(HEAD_END)[2])
            self.content_left = self.fault.content_bytes + len(data) - content
        through = min(len(data), self.content_left)
        self.content_left -= through
        return data[:through], data[through:]

    def _disturb(self, cut: Cut) -> bool:
        """Return whether the connection goes on afterwards."""
        self.fault = None
        if cut is Cut.HOLD:
            return self.server.owner.hold()
        if cut is Cut.FLIP:
            return True
        if cut is Cut.RST:
            self.is_reset = True
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        return False


def _parse_request(head: bytes) -> Request:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return Request(request_line.split(" ")[1], {name.lower(): value.strip() for name, _, value in fields})


def relaying(url: str, *faults: Fault) -> AbstractContextManager[Relay]:
    """Relay between a client and the server at *url* for the length of the block; ``Relay.url`` takes its place."""
    return forwarding(url, _Connection, Relay(address_of(url), faults))
