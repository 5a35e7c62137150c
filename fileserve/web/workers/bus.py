"""``Bus``: what happens in any worker of a server, told to all of them, and kept for those who come back later.

Rows are appended from anywhere, written to the event log in batches, and read by all workers that have subscribers:
each worker reads them once, and its subscribers take them from memory. A worker that has written rings at the others.
What need not be kept (how far something has come) is broadcast instead. One worker is elected for what is done once,
and one of those that can for each office that not every worker can fill.

Strategy: one task for each worker writes and reads, in the pool of disk threads; while nothing happens it waits for an
event. Rows are written at once where none came lately, else after a moment, together. A failing disk costs nobody
anything: rows wait for it, in bounded number, and then are counted and dropped.

Where there is no place for the log, it is in memory, and each worker is a server of its own. Where there can be no
doorbell, the log is looked at each second; where there is one, each minute, for what nobody could tell.
"""

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from fileserve import disk
from fileserve.storage.errors import Unreadable
from fileserve.storage.eventlog import EventLog, News, Row, RowsForgotten
from fileserve.web.workers.neighbours import Neighbours
from fileserve.web.workers.outbox import Outbox
from fileserve.web.workers.recent import Recent
from fileserve.web.workers.subscriptions import Subscription, Subscriptions

__all__ = ["Bus", "Row", "RowsForgotten", "Subscription", "is_at_work", "open_bus"]

log = logging.getLogger("fileserve.bus")
T = TypeVar("T")

BATCH_S = 0.02  # at the least between two batches
POLL_S = 1.0  # where nobody rings
LOOK_S = 60.0  # for what nobody tells
RETRY_S = 1.0  # after a failure of the log
READ = 1000  # rows read at once
_ID = re.compile(r"([0-9a-f]+)-([0-9]{1,18})")

_thread = threading.local()


class Bus:
    """The bus of one worker, made by ``open_bus``. For the event loop's thread, where nothing else is said."""

    def __init__(self, kept: EventLog, place: Path | None) -> None:
        self._log = kept
        self._outbox = Outbox()
        self._subscriptions = Subscriptions(self._outbox.call, self._forget)  # reading begins and ends with them
        self._listeners: list[Callable[[bytes], None]] = []
        self._recent: Recent | None = None
        self._neighbours = Neighbours(place, self._outbox.call, self._hear) if place else None
        self._looked_s = time.monotonic()  # after the neighbours
        self._work = asyncio.ensure_future(self._write_and_read())

    @property
    def boot(self) -> str:
        """What tells this log from another: that of another server, or one that was lost."""
        return self._log.boot

    def id_of(self, row: int) -> str:
        """Return the id of an event that tells of everything up to *row*: the log's boot and the row's number."""
        return f"{self.boot}-{row}"

    def row_of(self, id: str | None) -> int | None:
        """Return the row that an event's *id* stands for; ``None``: it is none of this log's."""
        parts = _ID.fullmatch(id or "")
        return int(parts[2]) if parts and parts[1] == self.boot else None

    @property
    def is_elected(self) -> bool:
        """Whether this worker is the one that does what is to be done once."""
        return self._neighbours is None or self._neighbours.is_elected

    def holds(self, office: str) -> bool:
        """Tell whether this worker is the one that has *office*: of those that ask, one, also when another is elected.

        Who cannot stand for it (descriptors are short) does not have it, and may ask again.
        """
        try:
            return self._neighbours is None or self._neighbours.holds(office)
        except OSError:
            return False

    def append(self, topic: str, data: str) -> None:
        """Add a row to the log, soon. From any thread; never waits and never fails."""
        self._outbox.append(topic, data)

    async def after(self, row: int, topics: Collection[str], limit: int) -> Sequence[Row]:
        """Return the first *limit* rows of *topics* after *row*.

        Raises ``RowsForgotten`` where some of them are no longer kept, and ``Unreadable`` where the log fails.
        """
        recent = self._recent.after(row, topics, limit) if self._recent else None
        return await _run(self._log.after, row, topics, limit) if recent is None else recent

    async def last(self, topic: str, count: int, wanted: Callable[[Row], bool] | None = None) -> Sequence[Row]:
        """Return the last *count* rows of *topic* that are *wanted*, which is asked in a thread."""
        return await _run(self._log.last, topic, count, wanted)

    async def newest(self) -> int:
        """Return the number of the newest row of any topic; rows that come later have greater ones."""
        return await _run(self._log.newest)

    def subscribe(self, *topics: str) -> Subscription:
        """Return a wait for new rows of *topics*, or of any where none are given. Whoever asks closes it."""
        return self._subscriptions.add(*topics)

    def broadcast(self, message: bytes) -> None:
        """Send *message*, which is not empty, to every other worker, as far as there is room for it."""
        if self._neighbours is not None:
            self._neighbours.send(message)

    def listen(self, callback: Callable[[bytes], None]) -> None:
        """Call *callback* with each message that another worker broadcasts."""
        self._listeners.append(callback)

    async def close(self) -> None:
        """Write what was appended, and give everything back."""
        self._outbox.close()
        await asyncio.wait((self._work,))
        if self._neighbours is not None:
            self._neighbours.close()
        self._log.close()

    def _hear(self, message: bytes) -> None:
        for callback in self._listeners:
            callback(message)

    async def _write_and_read(self) -> None:
        failing = False
        while not self._outbox.is_done:
            await self._wait()
            try:
                await self._write(self._outbox.take())
                await self._read()
            except Unreadable as error:
                if not failing:
                    log.warning("the log of events fails; rows wait for it meanwhile: %s", error.__cause__)
                failing = True
                await self._outbox.pause(RETRY_S)
                self._outbox.call()
                continue
            except Exception:  # of a row that cannot be written, or ours; the next ones are to come all the same
                log.exception("rows of the log of events were lost")
            if failing:
                log.warning("the log of events works again")
            failing = False
            if dropped := self._outbox.forget_dropped():
                log.warning("%d rows of the log of events were too many, and dropped", dropped)
            await self._outbox.pause(BATCH_S)

    async def _wait(self) -> None:
        """Wait until there is something to do; look after the neighbours now and then, however much there is."""
        neighbours = self._neighbours
        if neighbours is None:
            await self._outbox.called(None)
            return
        look_at_s = self._looked_s + (LOOK_S if neighbours.can_ring else POLL_S)
        await self._outbox.called(max(0, look_at_s - time.monotonic()))
        if time.monotonic() >= look_at_s:
            await self._look_after(neighbours)

    async def _look_after(self, neighbours: Neighbours) -> None:
        self._looked_s = time.monotonic()
        try:
            if await _run(neighbours.are_lost):
                neighbours.settle_anew()
        except OSError as error:
            log.warning("workers cannot find each other again: %s", error)

    async def _write(self, rows: list[tuple[str, str]]) -> None:
        if not rows:
            return
        boot = self.boot
        try:
            await _run(self._add_and_ring, rows)
        except Unreadable:
            self._outbox.put_back(rows)
            raise
        if self.boot != boot and self._neighbours is not None:
            await self._look_after(self._neighbours)  # who lost the log may have lost them too

    def _add_and_ring(self, rows: list[tuple[str, str]]) -> None:
        self._log.add(rows)
        if self._neighbours is not None:
            self._neighbours.ring()

    async def _read(self) -> None:
        """Read what subscribers wait for, where there are any, and wake them."""
        if not self._subscriptions:
            return
        if self._recent is None:
            newest = await _run(self._log.newest)
            if self._subscriptions:
                self._recent = Recent(newest)
                self._subscriptions.tell(None)  # rows may have come between a subscriber's own look and this one
            return
        recent = self._recent
        news: News = await _run(self._log.news, recent.seen, READ)
        recent.extend(news)
        if news.rows or news.forgotten:
            self._subscriptions.tell({row.topic for row in news.rows} | news.forgotten.keys())
        if len(news.rows) == READ:
            self._outbox.call()

    def _forget(self) -> None:
        self._recent = None


def open_bus(place: Path | None, *, max_rows: int) -> Bus:
    """Return the bus with its log in the file *place*, or in memory where that cannot be written."""
    if place is not None:
        kept = None
        try:
            kept = EventLog(place, max_rows=max_rows)
            return Bus(kept, place)
        except (OSError, Unreadable) as error:
            log.warning("events cannot be kept in %s: %s", place, error.__cause__ or error)
            if kept is not None:
                kept.close()
    log.warning("events are kept in memory only: they are forgotten at the end, and workers do not share them")
    return Bus(EventLog(None, max_rows=max_rows), None)


def is_at_work() -> bool:
    """Tell whether this thread works for a bus: what it logs meanwhile is not to be put on one."""
    return getattr(_thread, "works", False)


async def _run(function: Callable[..., T], *args: object) -> T:
    return await disk.run(_at_work, function, *args)


def _at_work(function: Callable[..., T], *args: object) -> T:
    _thread.works = True
    try:
        return function(*args)
    finally:
        _thread.works = False
