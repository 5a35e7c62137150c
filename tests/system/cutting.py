"""A TCP relay on loopback that is a network which goes away while something is uploaded.

It forwards bytes both ways, changes none, and counts those that go up. At each of its *breaks*, a number of bytes in
all, it resets every connection and is away for a moment, or holds what goes up until the test lets it go on.
"""

import socket
import socketserver
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from tests.system.forwarding import READ_SIZE, RESET_ON_CLOSE, WAIT_S, Forwarder, address_of, forwarding, shut_down


@dataclass(frozen=True, slots=True)
class Break:
    """What happens after so many bytes *at*: the network *holds*, or is away, also for the next *refused* attempts."""

    at: int
    holds: bool = False
    refused: int = 1


class Network:
    """What goes through, and what is still to happen. Made by ``cutting``."""

    def __init__(self, target: tuple[str, int], breaks: tuple[Break, ...]) -> None:
        self.target = target
        self.url = ""
        self.sent = 0
        self.cuts = 0
        self.held = threading.Event()
        self._released = threading.Event()
        self._breaks = deque(breaks)
        self._refused = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def release(self) -> None:
        """Let what is held go on."""
        self._released.set()

    def begin(self, *ends: socket.socket) -> bool:
        """Take a new connection; return whether the network is there for it."""
        with self._lock:
            if self._refused > 0:
                self._refused -= 1
                return False
            self._open |= set(ends)
            return True

    def end(self, *ends: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open -= set(ends)

    def passed(self, size: int) -> None:
        """Count *size* bytes that go up, and break where it is time to."""
        with self._lock:
            self.sent += size
            due = self._breaks.popleft() if self._breaks and self.sent >= self._breaks[0].at else None
        if due is None:
            return
        if due.holds:
            self.held.set()
            self._released.wait(WAIT_S)
        else:
            self.cut(due.refused)

    def cut(self, refused: int = 0) -> None:
        """Break all connections off, and refuse the next ones."""
        with self._lock:
            self.cuts += 1
            self._refused = refused
            for end in self._open:
                _reset(end)

    def break_off(self) -> None:
        """Let go what is held, and break all off."""
        self.release()
        self.cut()


class _Connection(socketserver.BaseRequestHandler):
    server: Forwarder[Network]
    request: socket.socket

    def handle(self) -> None:
        network = self.server.owner
        with socket.create_connection(network.target, timeout=WAIT_S) as upstream:
            upstream.settimeout(None)
            if not network.begin(self.request, upstream):
                _reset(self.request)
                return
            upward = threading.Thread(target=self._carry, args=(self.request, upstream, network.passed))
            upward.start()
            self._carry(upstream, self.request, lambda size: None)
            upward.join()
            network.end(self.request, upstream)

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket, passed: Callable[[int], None]) -> None:
        with suppress(OSError):
            while data := source.recv(READ_SIZE):
                passed(len(data))
                sink.sendall(data)
        for end in (source, sink):
            shut_down(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    shut_down(end)


def cutting(url: str, *breaks: Break) -> AbstractContextManager[Network]:
    """Be the network between a client and the server at *url* for the length of the block."""
    return forwarding(url, _Connection, Network(address_of(url), breaks))
