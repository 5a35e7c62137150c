"""``Outbox``: what is to be written to the event log, from any thread, until one writer takes it in batches.

Adding costs a microsecond and waits for nothing. The outbox also holds the writer's call: it is woken once for a batch,
however much is added meanwhile, and by whatever else wants it to look.
"""

import asyncio
import threading
from collections import deque
from contextlib import suppress

__all__ = ["Outbox"]

# Policy: what a disk that fails for a while has time to bring back; more than that is counted, not kept.
ROWS = 10_000


class Outbox:
    """Topics and data on their way. Everything but ``append`` is for the event loop's thread."""

    __slots__ = ("_called", "_dropped", "_is_closed", "_loop", "_queue", "_thread", "_wake")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._queue: deque[tuple[str, str]] = deque()
        self._wake = asyncio.Event()
        self._called = False
        self._is_closed = asyncio.Event()
        self._dropped = 0

    @property
    def is_done(self) -> bool:
        """Whether it is closed and empty."""
        return self._is_closed.is_set() and not self._queue

    def append(self, topic: str, data: str) -> None:
        """Add a row for the writer; drop it when there are too many, or after the end."""
        if len(self._queue) >= ROWS or self._is_closed.is_set():
            self._dropped += 1
            return
        self._queue.append((topic, data))
        if not self._called:  # set anew before the queue is taken, so that nothing stays behind uncalled
            self._called = True
            if threading.get_ident() == self._thread:
                self._wake.set()
            else:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._wake.set)

    def call(self) -> None:
        """Wake the writer."""
        self._wake.set()

    def close(self) -> None:
        """Take nothing more, and let the writer write what is there without a pause."""
        self._is_closed.set()
        self._wake.set()

    async def called(self, within_s: float | None) -> None:
        """Wait until there is something to do, or for *within_s*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._wake.wait()
        self._wake.clear()
        self._called = False

    async def pause(self, seconds: float) -> None:
        """Wait for *seconds*, or for the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_closed.wait()

    def take(self) -> list[tuple[str, str]]:
        """Return what is to be written now."""
        return [self._queue.popleft() for _ in range(len(self._queue))]

    def put_back(self, rows: list[tuple[str, str]]) -> None:
        """Take back what could not be written; after the end it is dropped."""
        if self._is_closed.is_set():
            self._dropped += len(rows)
        else:
            self._queue.extendleft(reversed(rows))

    def forget_dropped(self) -> int:
        """Return how many rows were dropped since this was last asked."""
        dropped, self._dropped = self._dropped, 0
        return dropped
