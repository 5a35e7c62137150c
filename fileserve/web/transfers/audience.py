"""``Audience``: the events of logical transfers for all subscribers of one worker, made and encoded once.

The keeper shows how far all of them have come, in parts that fit into datagrams; what has changed since becomes
``started`` and ``progress`` events. What has ended is read from the bus, as ``finished`` events that are all told, in
their order, also to who comes back. A subscriber has a queue of some batches; who does not keep up is told so, and
begins anew with a snapshot.

Strategy: one task, while there are subscribers; it also says to all workers that somebody watches.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from fileserve.storage.errors import Unreadable
from fileserve.web.streams.events import Batch, Event
from fileserve.web.transfers.topics import ENDED
from fileserve.web.workers.bus import Bus, Row, RowsForgotten

__all__ = ["Audience", "Queue"]

WATCHING_S = 1.0  # between two times that the workers are told of it
READ = 500
WAITING = 64  # batches of a slow subscriber
RETRY_S = 1.0


class Queue:
    """The batches that one subscriber has not taken yet."""

    __slots__ = ("_batches", "_filled", "is_lossy")

    def __init__(self) -> None:
        self.is_lossy = False
        self._batches: deque[Batch] = deque()
        self._filled = asyncio.Event()

    def put(self, batch: Batch) -> None:
        """Add a batch. When there are too many, all of them are lost."""
        if len(self._batches) >= WAITING:
            self.is_lossy = True
            self._batches.clear()
        if not self.is_lossy:
            self._batches.append(batch)
        self._filled.set()

    async def get(self) -> Batch | None:
        """Wait for the next batch and return it; ``None``: some were lost, and from here on there are none lost."""
        while not self._batches and not self.is_lossy:
            self._filled.clear()
            await self._filled.wait()
        if self.is_lossy:
            self.is_lossy = False
            return None
        return self._batches.popleft()


class Audience:
    """The subscribers of one worker. *watch* is called, again and again, while there are any."""

    def __init__(self, bus: Bus, watch: Callable[[], None]) -> None:
        self._bus = bus
        self._watch = watch
        self._queues: set[Queue] = set()
        self._task: asyncio.Task[None] | None = None
        self._row = 0  # the newest that was told of
        self._first_row: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._shown: Shown | None = None

    @property
    def id(self) -> str:
        """The id of an event now."""
        return self._bus.id_of(self._row)

    async def join(self, queue: Queue) -> int:
        """Put all that comes from now on into *queue*, a snapshot first; return the row after which that is."""
        self._queues.add(queue)
        if self._first_row.done():
            if self._shown is not None and self._shown.is_whole:
                queue.put(Batch([self.snapshot()]))
            return self._row
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(self._first_row)

    async def leave(self, queue: Queue) -> None:
        """Put nothing more into *queue*. With the last one, the audience rests."""
        self._queues.discard(queue)
        if not self._queues and self._task is not None:
            task, self._task = self._task, None
            self._shown = None
            self._first_row = asyncio.get_running_loop().create_future()
            task.cancel()
            await asyncio.wait((task,))

    async def close(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def snapshot(self) -> Event:
        """Return the event with all logical transfers."""
        texts = self._shown.states.values() if self._shown is not None else ()
        return Event(f'{{"transfers":[{",".join(texts)}]}}', self.id, "snapshot")

    def update(self, keeper: str, part: int, parts: int, states: Iterable[tuple[str, str]]) -> None:
        """Take one part of what *keeper* shows: ids, and what is told of each."""
        if self._task is None:
            return
        if self._shown is None or self._shown.keeper != keeper:
            self._shown = Shown(keeper)
        known = self._shown.states
        is_new = not self._shown.is_whole
        changed = self._shown.take(part, parts, states)
        if is_new and self._shown.is_whole:
            self._tell([self.snapshot()])
        elif not is_new:
            self._tell([Event(text, self.id, "progress" if id in known else "started") for id, text in changed])

    async def _run(self) -> None:
        with self._bus.subscribe(ENDED) as news:
            self._row = await self._newest()
            self._first_row.set_result(self._row)
            watch_at_s = 0.0
            while True:
                if time.monotonic() >= watch_at_s:
                    self._watch()
                    watch_at_s = time.monotonic() + WATCHING_S
                pause_s = 0.0 if await self._read() else watch_at_s - time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await news.changed()

    async def _read(self) -> bool:
        """Tell of rows that have come, and return whether there are more."""
        try:
            rows = await self._bus.after(self._row, (ENDED,), READ)
        except RowsForgotten as forgotten:
            self._row = forgotten.row
            self._tell([lost("slow", self.id)])
            return True
        except Unreadable:  # the bus says so in the log
            await asyncio.sleep(RETRY_S)
            return True
        if rows:
            self._row = rows[-1].id
            if self._shown is not None:
                for row in rows:
                    self._shown.forget(row)
            self._tell(finished(self._bus, rows))
        return len(rows) == READ

    async def _newest(self) -> int:
        while True:
            with suppress(Unreadable):
                return await self._bus.newest()
            await asyncio.sleep(RETRY_S)

    def _tell(self, events: Sequence[Event]) -> None:
        batch = Batch(events)
        for queue in self._queues if events else ():
            queue.put(batch)


class Shown:
    """What one keeper has shown last, put together from its parts."""

    def __init__(self, keeper: str) -> None:
        self.keeper = keeper
        self.states: dict[str, str] = {}
        self.is_whole = False
        self._parts: dict[int, dict[str, str]] = {}

    def take(self, part: int, parts: int, states: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Take a part of *parts*; return what of it is new or has changed."""
        told = dict(states)
        changed = [(id, text) for id, text in told.items() if self.states.get(id) != text]
        self._parts[part] = told
        self._parts = {number: known for number, known in self._parts.items() if number < parts}
        self.is_whole = self.is_whole or len(self._parts) == parts
        self.states = {id: text for known in self._parts.values() for id, text in known.items()}
        return changed

    def forget(self, row: Row) -> None:
        """Forget the one that *row* tells the end of."""
        id = json.loads(row.data).get("id")
        for states in (self.states, *self._parts.values()):
            states.pop(id, None)


def finished(bus: Bus, rows: Iterable[Row]) -> list[Event]:
    """Return the events of *rows* of the *bus*."""
    return [Event(row.data, bus.id_of(row.id), "finished") for row in rows]


def lost(reason: str, id: str) -> Event:
    """Return the event that says that events are missing."""
    return Event(json.dumps({"reason": reason}), id, "lost")
