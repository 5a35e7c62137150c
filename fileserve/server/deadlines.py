"""``Deadlines``: many connections wait for the same length of time, and one timer serves them all.

A timer of the loop's own for each connection and each idle time costs more than the rest of a beginning. Strategy:
whoever begins to wait goes to the end of a table, so the table is in the order of the deadlines; the timer is set for
the first of them, and looks for the next one when it has rung. Who waits no longer is taken out, and the timer is left
alone: it rings once for nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")


class Deadlines(Generic[T]):
    """Calls *expire* with everyone whose time is over. For the event loop's thread."""

    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self._waiting: dict[T, float] = {}  # until when, by the loop's clock
        self._is_set = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: T, after_s: float) -> None:
        """Let the time of *waiting* run, if it does not run already: *after_s* seconds, the same for all."""
        if waiting in self._waiting:
            return
        loop = asyncio.get_running_loop()
        self._waiting[waiting] = until_s = loop.time() + after_s
        if not self._is_set:
            self._is_set = True
            loop.call_at(until_s, self._ring, loop)

    def discard(self, waiting: T) -> None:
        """Stop the time of *waiting*, if it runs."""
        self._waiting.pop(waiting, None)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        # Who is told that its time is over may wait anew, and may fail: the timer counts as set until the end, which
        # sets the one that comes next.
        try:
            self._expire_those_who_are_due(loop)
        finally:
            self._is_set = bool(self._waiting)
            if self._is_set:
                loop.call_at(next(iter(self._waiting.values())), self._ring, loop)

    def _expire_those_who_are_due(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            waiting, until_s = next(iter(self._waiting.items()))
            if until_s > loop.time():
                return
            del self._waiting[waiting]
            self._expire(waiting)
