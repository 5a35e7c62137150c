"""``GET /events/logs``: what the server's workers log, as they log it; the last records first.

Each record is an unnamed message with a line of JSON: ``time``, ``level``, ``logger``, ``pid``, ``message``, and
``fields`` where it has some. ``lost`` says that records are missing, because the client was too slow for them or was
away for too long; ``reset`` that its id was not understood. Ids are those of the bus.
"""

import json
import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus

from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.streams.events import Event, Source, reset
from fileserve.web.streams.recording import TOPIC
from fileserve.web.workers.bus import Bus, Row, RowsForgotten

LAST = 100
MOST = 1000  # Policy: who wants more reads the server's standard error
AT_ONCE = 256
_COUNT = re.compile(r"[0-9]{1,9}")


async def open_logs(request: NameRequest, told: str | None) -> Source:
    """Return the records after the event *told*, or the ``?last=`` ones, of ``?level=`` and above, and what follows."""
    bus, is_wanted = request.site.stores.bus, _parse_level(request.query.get("level", "DEBUG"))
    count = _parse_count(request.query.get("last", str(LAST)))
    newest = await bus.newest()
    position = bus.row_of(told)
    if position is not None and position <= newest:
        return _Records(bus, is_wanted, position, position)
    rows = await bus.last(TOPIC, count, is_wanted)
    start = rows[0].id - 1 if rows else newest
    first = [_event_of(bus.id_of(row.id), row) for row in rows]
    if told is not None:
        first.insert(0, reset(bus.id_of(start)))
    return _Records(bus, is_wanted, start, max(newest, rows[-1].id if rows else 0), first)


class _Records:
    """The records after *row*, and before them *first*."""

    def __init__(
        self, bus: Bus, is_wanted: Callable[[Row], bool], start: int, row: int, first: Sequence[Event] = ()
    ) -> None:
        self._bus = bus
        self._subscription = bus.subscribe(TOPIC)
        self._is_wanted = is_wanted
        self._boot = bus.boot
        self.start = bus.id_of(start)
        self._row = row
        self._first = first
        self._reason = "forgotten"

    async def next(self) -> Sequence[Event]:
        """Return the next records; they never end."""
        first, self._first = self._first, ()
        if first:
            return first
        while not (events := await self._read()):
            await self._subscription.changed()
        return events

    async def close(self) -> None:
        """Wait for nothing more."""
        self._subscription.close()

    async def _read(self) -> Sequence[Event]:
        """Return the next records that are there and wanted, or what was lost of them."""
        while True:
            try:
                rows = await self._bus.after(self._row, (TOPIC,), AT_ONCE)
            except RowsForgotten as forgotten:
                self._row = forgotten.row
                return (self._lost(self._reason),)
            self._reason = "slow"  # from now on, it is this subscriber who has fallen behind
            if self._boot != self._bus.boot:  # the log was lost; the numbers go on
                self._boot = self._bus.boot
                return (self._lost("forgotten"),)
            if not rows:
                return ()
            self._row = rows[-1].id
            events = [_event_of(self._bus.id_of(row.id), row) for row in rows if self._is_wanted(row)]
            if events:
                return events

    def _lost(self, reason: str) -> Event:
        return Event(json.dumps({"reason": reason}), self._bus.id_of(self._row), "lost")


@lru_cache(AT_ONCE)
def _event_of(id: str, row: Row) -> Event:
    """Return the event of *row*, the same one for all subscribers, so that it is encoded once."""
    return Event(row.data, id)


@lru_cache(AT_ONCE)
def _level_of(row: Row) -> int:
    """Return how grave a record is. One whose level is not known here is shown to everybody."""
    return logging.getLevelNamesMapping().get(json.loads(row.data)["level"], logging.CRITICAL)


def _parse_level(value: str) -> Callable[[Row], bool]:
    """Return what tells whether a record is of the level *value* or above."""
    level = {name: number for name, number in logging.getLevelNamesMapping().items() if number}.get(value.upper())
    if level is None:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "level is DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    return lambda row: _level_of(row) >= level


def _parse_count(value: str) -> int:
    if _COUNT.fullmatch(value) is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"last is a number of records, at most {MOST} of which are told."
        )
    return min(int(value), MOST)
