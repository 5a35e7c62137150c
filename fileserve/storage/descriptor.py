"""A file descriptor that is never closed under a thread that uses it.

A number that is closed while another thread still reads from it can be given to the next file opened, and the
thread reads from that one: another client's file. So a thread takes the descriptor for as long as its call lasts
(``held``), and ``close`` leaves the closing to the last thread that holds it.

Why this is right: the count and the mark "closed" change only under the lock, and no hold is granted after the
mark. So either ``close`` finds no hold and closes, or the release that brings the count to zero does; exactly one
of them, once. The hold is taken inside the thread, so a job that is dropped before it begins holds nothing.

The event loop's own calls need no hold: the loop is also where ``close`` is called. They read ``fd``, which fails once
closed. A descriptor that nobody closes is closed by the collector, with a ResourceWarning.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Descriptor"]


class Descriptor:
    """The one owner of an open file descriptor."""

    __slots__ = ("_closed", "_fd", "_holds", "_lock")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._closed = False
        self._holds = 0
        self._lock = threading.Lock()

    @property
    def fd(self) -> int:
        """The number, for a call on the thread that closes; ``ValueError`` once closed."""
        if self._closed:
            raise ValueError("the descriptor is closed")
        return self._fd

    @contextmanager
    def held(self) -> Iterator[int]:
        """Keep the number valid during the block, in any thread; ``ValueError`` once closed."""
        with self._lock:
            fd = self.fd
            self._holds += 1
        try:
            yield fd
        finally:
            with self._lock:
                self._holds -= 1
                last = self._closed and self._holds == 0
            if last:
                os.close(fd)

    def close(self) -> None:
        """Close now, or at the end of the last hold. Closing again does nothing."""
        with self._lock:
            idle = not self._closed and self._holds == 0
            self._closed = True
        if idle:
            os.close(self._fd)

    def __del__(self) -> None:
        if not self._closed:
            self.close()
            warnings.warn(f"descriptor {self._fd} was never closed", ResourceWarning, source=self, stacklevel=2)
