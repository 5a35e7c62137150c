"""``Keeper``: the one worker that folds all pieces into logical transfers, shows them, and records how each ended.

Pieces come as rows of the bus, from all workers; what is under way, as reports; and what nginx sends, as a row when it
is left to it, and as a line of nginx's log when that has ended; where another worker reads that log, as a row of lines.
A logical transfer that has ended becomes one row of the topic ``transfers`` and one log record.

Only the elected worker keeps. One that takes over folds the rows that are still there, and goes on with what has no end
among them; that is also how a server goes on after a restart.
"""

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from fileserve.storage.errors import Unreadable
from fileserve.web.transfers.ledger import Ledger
from fileserve.web.transfers.logical import Outcome
from fileserve.web.transfers.offloaded import LogLine, Offload, Offloaded
from fileserve.web.transfers.pieces import Piece, Subject
from fileserve.web.transfers.rows import ALL, Taken, Told, read_rows
from fileserve.web.transfers.telling import Show, Showing, told_of_end
from fileserve.web.transfers.topics import ENDED, LOGGED, OFFLOADED, PIECES
from fileserve.web.workers.bus import Bus, Row, RowsForgotten
from fileserve.web.workers.subscriptions import Subscription

__all__ = ["Keeper"]

ELECTION_S = 0.5
RETRY_S = 1.0
READ = 500
LINES = 1000  # rows of lines that are looked through in taking over

log = logging.getLogger("fileserve.transfers")


class Keeper:
    """What the elected worker does. *window_s* is `Ledger`'s; *show* is `Showing`'s."""

    def __init__(self, bus: Bus, worker: str, window_s: float, show: Show, offloaded: Offloaded) -> None:
        self._bus = bus
        self._worker = worker
        self._showing = Showing(show)
        self._ledger = Ledger(window_s)
        self._offloaded = offloaded
        self._row = 0
        self._elected: asyncio.Future[Subscription] = asyncio.get_running_loop().create_future()
        self.ended = Counter({outcome.value: 0 for outcome in Outcome})  # in this worker, while it is the one

    @property
    def _news(self) -> Subscription | None:
        """The rows to come, while this worker is the one."""
        return self._elected.result() if self._elected.done() else None

    @property
    def is_watched(self) -> bool:
        """Whether anybody has said so lately."""
        return self._showing.is_watched

    @property
    def kept(self) -> int:
        """How many logical transfers have not ended; 0 in a worker that is not the elected one."""
        return len(self._ledger) if self._news is not None else 0

    def watch(self) -> None:
        """Show for a while."""
        if self._showing.watch() and self._news is not None:
            self._news.tell(None)

    def take(self, pieces: Sequence[Piece]) -> bool:
        """Take what has ended in this worker, and return whether this is the one that keeps.

        What ends at once needs no row; others do, for whoever takes over.
        """
        if self._news is None:
            return False
        for piece in pieces:
            self._fold(piece)
        self._tell_ended()
        for piece in pieces:
            if piece.subject in self._ledger:
                self._bus.append(PIECES, json.dumps(piece.to_json() | {"kept": self._worker}))
        return True

    def report(self, worker: str, pieces: Sequence[Piece]) -> None:
        """Take what is under way in *worker*."""
        if self._news is not None:
            self._ledger.report(worker, pieces, self._now_s())
            self._news.tell(None)

    def hear(self, lines: Sequence[LogLine]) -> None:
        """Take what nginx has logged of what it has sent, or tell it to the worker that keeps."""
        if self._news is None:
            self._bus.append(LOGGED, json.dumps([line.to_json() for line in lines]))
            return
        self._end_offloaded([piece for line in lines if (piece := self._offloaded.hear(line)) is not None])

    async def run(self) -> None:
        """Wait to be elected, and keep."""
        while not self._bus.is_elected:  # noqa: ASYNC110  the bus tells only who asks
            await asyncio.sleep(ELECTION_S)
        with self._bus.subscribe(PIECES, OFFLOADED, LOGGED) as news:
            logged = await self._begin()
            self._elected.set_result(news)
            for row, told in read_rows(logged):  # nobody may have heard them; what is known already nobody waits for
                self._take(row, told)
            while True:
                try:
                    await self._keep()
                except Exception:  # ours; what comes next is to be kept all the same
                    log.exception("transfers were not kept as they should be")
                    await asyncio.sleep(RETRY_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause_s()):
                        await news.changed()

    async def _keep(self) -> None:
        await self._read()
        self._end_offloaded(list(self._offloaded.expire(self._now_s())))
        self._tell_ended()
        self._showing.show(self._ledger.states(self._now_s()))

    async def _begin(self) -> Sequence[Row]:
        """Fold what is kept; return the lines of nginx's log that are among it."""
        try:
            newest = await self._bus.newest()  # of what comes meanwhile some would be seen, and some not
            rows = [*await self._bus.last(OFFLOADED, ALL)]
            logged = await self._bus.last(LOGGED, LINES)
            rows += [*await self._bus.last(PIECES, ALL), *await self._bus.last(ENDED, ALL)]
            await self._bus.after(0, (ENDED,), 1)
        except RowsForgotten as forgotten:  # whether what began before has ended is not known any more
            rows = [row for row in rows if row.topic != OFFLOADED or row.id > forgotten.row]
        except Unreadable:
            return ()
        self._row = newest
        for row, told in read_rows(row for row in rows if row.id <= newest):
            self._take(row, told)
        self._report_offloaded()
        return [row for row in logged if row.id <= newest]

    async def _read(self) -> None:
        """Fold the rows that are there by now."""
        while True:
            try:
                rows = await self._bus.after(self._row, (PIECES, OFFLOADED, LOGGED), READ)
            except RowsForgotten as forgotten:
                self._row = forgotten.row
                continue
            except Unreadable:  # the bus says so in the log
                await asyncio.sleep(RETRY_S)
                continue
            for row, told in read_rows(rows):
                self._take(row, told)
            if any(row.topic == OFFLOADED for row in rows):
                self._report_offloaded()
            if len(rows) < READ:
                return

    def _take(self, row: Row, told: Told | None) -> None:
        if row.topic != ENDED:
            self._row = max(self._row, row.id)
        with suppress(ValueError, TypeError):  # of another version, where only the fold shows that
            match told:
                case Offload():
                    ended = self._offloaded.add(told)
                    self._end_offloaded([ended] if ended is not None else [])
                case Taken(piece, kept_by) if self._news is None or kept_by != self._worker:
                    self._fold(piece)
                case tuple():
                    self.hear(told)
                case Subject():
                    self._ledger.close(told)
                    self._offloaded.forget_all_of(told)

    def _end_offloaded(self, pieces: Sequence[Piece]) -> None:
        if pieces and not self.take(pieces):
            for piece in pieces:
                self._fold(piece)

    def _report_offloaded(self) -> None:
        self._ledger.report(OFFLOADED, self._offloaded, math.inf)

    def _fold(self, piece: Piece) -> None:
        self._offloaded.forget(piece)
        self._now_s()
        self._ledger.take(piece)

    def _tell_ended(self) -> None:
        for transfer, outcome in self._ledger.end(self._now_s()):
            told, subject = told_of_end(transfer, outcome), transfer.subject
            self.ended[outcome.value] += 1
            self._bus.append(ENDED, json.dumps(told))
            what = (subject.client, subject.route, subject.path, outcome.value, told["sent"], told["seconds"])
            extra = {"fields": told, "request_id": next(reversed(transfer.requests), "")}
            log.info("%s: %s of %s: %s, %d bytes in %.1f s", *what, extra=extra)
        if self._ledger.refused:
            log.info("%d more responses, of too many transfers at once", self._ledger.refused)
            self._ledger.refused = 0

    def _now_s(self) -> float:
        """Return what time it is. The ledger is told first: the times of what it is told next are of this clock."""
        now_s = time.time()
        self._ledger.set_clock(now_s, time.monotonic())
        return now_s

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do, if nothing happens; ``None``: for ever."""
        pause_s = min(self._ledger.next_end_s(), self._offloaded.next_end_s()) - self._now_s()
        pause_s = min(pause_s, self._showing.pause_s())
        return max(0.01, pause_s) if pause_s < math.inf else None
