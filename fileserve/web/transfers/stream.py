"""``GET /events/transfers``: who downloads what, how far it has come, and how it ended.

``snapshot`` tells all logical transfers under way; ``started`` and ``progress`` one each, the latter four times a
second at the most; ``finished`` how one ended. A small answer is told by ``finished`` alone. Who comes back is told
first what has finished meanwhile, and then a snapshot. ``lost`` says that some ends are missing, because the client was
too slow or away for too long; ``reset`` that its id was not understood. Ids are those of the bus.
"""

from collections.abc import Sequence

from fileserve.web.routes import NameRequest
from fileserve.web.streams.events import Event, Source, reset
from fileserve.web.transfers.audience import Audience, Queue, finished, lost
from fileserve.web.transfers.topics import ENDED
from fileserve.web.workers.bus import Bus, RowsForgotten

__all__ = ["open_transfers"]

READ = 500


async def open_transfers(request: NameRequest, told: str | None) -> Source:
    """Return the events after the one with the id *told*, or those from now on."""
    bus, audience, queue = request.site.stores.bus, request.site.tracking.audience, Queue()
    try:
        row = await audience.join(queue)
    except BaseException:
        await audience.leave(queue)
        raise
    position = bus.row_of(told)
    first = () if told is None or position is not None else (reset(bus.id_of(row)),)
    return _Transfers(bus, audience, queue, (row if position is None else min(position, row), row), first)


class _Transfers:
    """The events for one of an audience, before them what finished *between* two rows, and before that *first*."""

    def __init__(
        self, bus: Bus, audience: Audience, queue: Queue, between: tuple[int, int], first: Sequence[Event]
    ) -> None:
        self._bus = bus
        self._audience = audience
        self._queue = queue
        self._after, self._until = between
        self._first = first
        self.start = bus.id_of(self._after)

    async def next(self) -> Sequence[Event]:
        """Return the next events; they never end."""
        first, self._first = self._first, ()
        if first:
            return first
        while self._after < self._until:
            events = await self._catch_up()
            if events:
                return events
        batch = await self._queue.get()
        return (lost("slow", self._audience.id), self._audience.snapshot()) if batch is None else batch

    async def close(self) -> None:
        """Leave the audience."""
        await self._audience.leave(self._queue)

    async def _catch_up(self) -> Sequence[Event]:
        """Return what finished while the client was away."""
        try:
            rows = [row for row in await self._bus.after(self._after, (ENDED,), READ) if row.id <= self._until]
        except RowsForgotten as forgotten:
            self._after = min(forgotten.row, self._until)
            return (lost("forgotten", self._bus.id_of(self._after)),)
        self._after = rows[-1].id if len(rows) == READ else self._until
        return finished(self._bus, rows)
