"""Finds the connections whose peer has stopped taking bytes.

One timer for a whole server looks at every connection four times in the stall timeout. A connection that has something
to send and has made no progress at four looks in a row is stalled. Looks are counted, not seconds, so a loop that was
held up, or a machine that slept, accuses nobody. A connection that has nothing to send is never stalled; it is idle,
and idleness has timeouts of its own.

Progress is what the peer's kernel has acknowledged, not what ours has taken: with 256 KiB waiting in the kernel, a
client of 1 KiB/s lets a sender wait for minutes between two writes.
"""

import asyncio
from typing import Protocol

LOOKS = 4


class Watched(Protocol):
    """What a connection tells the watch."""

    def progress(self) -> object | None:
        """Return something that changes whenever the peer takes a byte; ``None`` where nothing waits to be sent."""

    def stalled(self) -> None:
        """End the connection: its peer has taken nothing for the whole timeout."""


class StallWatch:
    """Watches the connections of one server. ``None`` for *timeout_s* watches nothing."""

    def __init__(self, timeout_s: float | None) -> None:
        self._interval_s = timeout_s / LOOKS if timeout_s is not None else None
        self._marks: dict[Watched, tuple[object | None, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Watched) -> None:
        """Begin to watch *connection*."""
        if self._interval_s is None:
            return
        self._marks[connection] = (None, 0)
        if self._timer is None:
            self._schedule(self._interval_s)

    def discard(self, connection: Watched) -> None:
        """Watch *connection* no longer."""
        self._marks.pop(connection, None)

    def __len__(self) -> int:
        return len(self._marks)

    def _schedule(self, interval_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(interval_s, self._look, interval_s)

    def _look(self, interval_s: float) -> None:
        """Look at every connection; where there is none any more, be done until the next one comes."""
        if not self._marks:
            self._timer = None
            return
        self._schedule(interval_s)
        for connection, (mark, looks) in list(self._marks.items()):
            progress = connection.progress()
            if progress is None or progress != mark:
                self._marks[connection] = (progress, 0)
            elif looks + 1 < LOOKS:
                self._marks[connection] = (mark, looks + 1)
            else:
                self.discard(connection)
                connection.stalled()
