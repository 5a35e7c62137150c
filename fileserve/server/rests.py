"""What is on its way to a client when the server has closed the connection: it is looked at until it has arrived.

A connection that is not kept alive is closed when the last bytes are with the kernel, which goes on sending them. What
becomes of them nobody could tell, because the descriptor is gone. So a duplicate is kept, with its side closed, until
the client's kernel has taken everything, is gone, or has taken nothing for a minute, and then is reset.

One timer looks at all of them. Bounded: what is too much is closed at once, and nothing more is known of it.
"""

import asyncio
import os
import socket
from contextlib import suppress

from fileserve.server import sockets
from fileserve.server.limits import RESERVED_DESCRIPTORS

__all__ = ["Rest", "Rests"]

INTERVAL_S = 0.1
PATIENCE_S = 60.0
MOST = RESERVED_DESCRIPTORS // 4


class Rest:
    """The *left* bytes of one connection that are on their way through *sock*, its own; or went nowhere, without."""

    __slots__ = ("_looks", "_sock", "has_stalled", "left")

    def __init__(self, sock: socket.socket | None, left: int, *, has_stalled: bool = False) -> None:
        self.left = left
        self.has_stalled = has_stalled
        self._looks = 0  # without progress
        self._sock = sock

    @property
    def is_over(self) -> bool:
        """Whether nothing more can arrive."""
        return self._sock is None

    def look(self) -> None:
        """See what has arrived since the last time."""
        if self._sock is None:
            return
        left = max(0, sockets.unacknowledged(self._sock) - 1)  # the end of the connection counts as a byte
        self._looks = 0 if left < self.left else self._looks + 1
        self.left = left
        if self._looks >= PATIENCE_S / INTERVAL_S:
            self.has_stalled = True
            sockets.reset_on_close(self._sock)
            self.close()
        elif not left or not sockets.is_connected(self._sock):
            self.close()

    def close(self) -> None:
        """Look no more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class Rests:
    """The rests of one server's connections. For the event loop's thread."""

    def __init__(self) -> None:
        self._rests: list[Rest] = []

    def keep(self, sock: sockets.Socket, left: int) -> Rest | None:
        """Look after the *left* bytes that are on their way through *sock*, which is about to be closed."""
        if len(self._rests) >= MOST or not sockets.LINUX or not sockets.is_tcp(sock):
            return None
        with suppress(OSError):  # the client has gone already
            own = socket.socket(sock.family, sock.type, sock.proto, os.dup(sock.fileno()))
            rest = Rest(own, left)
            try:
                own.shutdown(socket.SHUT_WR)
            except OSError:
                rest.close()
                raise
            self._rests.append(rest)
            if len(self._rests) == 1:
                self._wait()
            return rest
        return None

    def close(self) -> None:
        """Look no more: the kernel goes on by itself."""
        for rest in self._rests:
            rest.close()

    def _wait(self) -> None:
        asyncio.get_running_loop().call_later(INTERVAL_S, self._look)

    def _look(self) -> None:
        for rest in self._rests:
            rest.look()
        self._rests = [rest for rest in self._rests if not rest.is_over]
        if self._rests:
            self._wait()
