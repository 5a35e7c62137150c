"""Answers that end: whatever is sent, and however slowly, reading is over by an instant and after so many bytes.

The standard library's timeout is one for each read: a byte a second never meets it. Here each read waits for no longer
than there is time left for the whole, which holds for the head and for 1xx answers before it, too.
"""

import http.client
import io
import socket
import time
from dataclasses import dataclass
from typing import Any

MOST = 96 << 20  # the largest content that is asked for, 64 MiB, and what frames it


class Late(TimeoutError):
    """The time for the whole answer is over."""


class TooMuch(http.client.HTTPException):
    """More came than any answer has."""


@dataclass(frozen=True)
class Patience:
    """How long to wait: *silence_s* for the next byte, and until *end_s* (``time.monotonic``) for the last."""

    silence_s: float
    end_s: float

    def next_s(self) -> float:
        """Return the longest time that the next read may take. Raises ``Late``."""
        left = self.end_s - time.monotonic()
        if left <= 0:
            raise Late("the time is over")
        return min(self.silence_s, left)


class BoundedResponse(http.client.HTTPResponse):
    """An answer that is read with *patience*."""

    def __init__(self, sock: socket.socket, method: str | None = None, *, patience: Patience) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self.fp = io.BufferedReader(_Bounded(sock, patience))


class _Bounded(io.RawIOBase):
    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._patience = patience
        self._left = MOST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise TooMuch(f"more than {MOST} bytes came")
        self._socket.settimeout(self._patience.next_s())
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            self._patience.next_s()  # says so where it was the last moment
            raise
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
