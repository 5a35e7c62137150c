"""Work that goes on when the request that began it has ended, and that whoever asks for the same thing joins.

Left out: what other workers do.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["JointWork"]

T = TypeVar("T")


class JointWork(Generic[T]):
    """What is being done, by an id of the caller's; one after the other."""

    __slots__ = ("_running", "_turn")

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[T]] = {}
        self._turn = asyncio.Semaphore(1)

    async def join(self, id: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do *work* and return what it does, or join that under this *id*; it ends, whether somebody waits or not."""
        running = self._running.get(id)
        if running is None:
            running = self._running[id] = asyncio.ensure_future(self._in_turn(work))
            running.add_done_callback(lambda done: self._end(id, done))
        return await asyncio.shield(running)

    async def close(self) -> None:
        """End what is under way."""
        for running in self._running.values():
            running.cancel()
        if self._running:
            await asyncio.wait(self._running.values())

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            return await work()

    def _end(self, id: str, done: asyncio.Task[T]) -> None:
        del self._running[id]
        if not done.cancelled():
            done.exception()  # whoever waits has it; perhaps nobody does
