"""``Keeper``: the one worker that folds all pieces into logical transfers, shows them, and records how each ended.

Pieces come as rows of the bus, from all workers; what is under way, as reports. A logical transfer that has ended
becomes one row of the topic ``transfers`` and one log record. While somebody watches, all of them are shown four
times a second, less often where they are many: of two hundred, nobody has to read more a second than of fifty.

Only the elected worker keeps. One that takes over folds the rows that are still there, and goes on with what has no end
among them; that is also how a server goes on after a restart.
"""

import asyncio
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fileserve.storage.errors import Unreadable
from fileserve.web.transfers.ledger import Ledger, LogicalTransfer, Outcome, State
from fileserve.web.transfers.pieces import Others, Piece, Subject, read_piece
from fileserve.web.workers.bus import Bus, Row, RowsForgotten
from fileserve.web.workers.subscriptions import Subscription

__all__ = ["ENDED", "PIECES", "WATCH_S", "Keeper", "Show"]

PIECES, ENDED = "pieces", "transfers"  # topics of the bus
ELECTION_S = 0.5
PACE_S = 0.25
WATCH_S = 3.0  # who watches says so more often than this
AT_PACE = 50  # logical transfers that are shown at the full pace
SLOWEST_S = 2.0
RETRY_S = 1.0
READ = 500
ALL = 1_000_000
RANGES = 16  # told of where an incomplete one got to

Show = Callable[[Sequence[tuple[str, str]]], None]  # takes the ids and the JSON of all logical transfers

log = logging.getLogger("fileserve.transfers")


@dataclass(slots=True)
class Watch:
    """Until when somebody watches, and when all is shown next, in seconds of the monotonic clock."""

    until_s: float = -math.inf
    show_at_s: float = -math.inf


class Keeper:
    """What the elected worker does. *window_s* is `Ledger`'s; *show* is called while somebody watches."""

    def __init__(self, bus: Bus, worker: str, window_s: float, show: Show) -> None:
        self._bus = bus
        self._worker = worker
        self._show = show
        self._ledger = Ledger(window_s)
        self._row = 0
        self._news: Subscription | None = None  # while this worker is the one
        self._watch = Watch()
        self.ended = Counter({outcome.value: 0 for outcome in Outcome})  # in this worker, while it is the one

    @property
    def is_watched(self) -> bool:
        """Whether anybody has said so lately."""
        return time.monotonic() < self._watch.until_s

    @property
    def kept(self) -> int:
        """How many logical transfers have not ended; 0 in a worker that is not the elected one."""
        return len(self._ledger) if self._news is not None else 0

    def watch(self) -> None:
        """Show for a while."""
        was_watched, self._watch.until_s = self.is_watched, time.monotonic() + WATCH_S
        if not was_watched and self._news is not None:
            self._watch.show_at_s = time.monotonic()
            self._news.tell(None)

    def take(self, pieces: Sequence[Piece | Others]) -> bool:
        """Take what has ended in this worker, and return whether this is the one that keeps.

        What ends at once needs no row; others do, for whoever takes over.
        """
        if self._news is None:
            return False
        for piece in pieces:
            self._fold(piece)
        self._tell_ended()
        for piece in pieces:
            if isinstance(piece, Piece) and piece.subject in self._ledger:
                self._bus.append(PIECES, json.dumps(piece.to_json() | {"kept": self._worker}))
        return True

    def report(self, worker: str, pieces: Sequence[Piece]) -> None:
        """Take what is under way in *worker*."""
        if self._news is not None:
            self._ledger.report(worker, pieces, self._now_s())
            self._news.tell(None)

    async def run(self) -> None:
        """Wait to be elected, and keep."""
        while not self._bus.is_elected:  # noqa: ASYNC110  the bus tells only who asks
            await asyncio.sleep(ELECTION_S)
        with self._bus.subscribe(PIECES) as news:
            await self._begin()
            self._news = news
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
        self._tell_ended()
        if self.is_watched and time.monotonic() >= self._watch.show_at_s:
            self._show_all()

    async def _begin(self) -> None:
        """Fold what is kept."""
        try:
            rows = [*await self._bus.last(PIECES, ALL), *await self._bus.last(ENDED, ALL)]
        except Unreadable:
            return
        for row in sorted(rows, key=lambda row: row.id):
            if row.topic == PIECES:
                self._take(row)
            elif (subject := _subject_of(row)) is not None:
                self._ledger.close(subject)

    async def _read(self) -> None:
        """Fold the rows that are there by now."""
        while True:
            try:
                rows = await self._bus.after(self._row, (PIECES,), READ)
            except RowsForgotten as forgotten:
                self._row = forgotten.row
                continue
            except Unreadable:  # the bus says so in the log
                await asyncio.sleep(RETRY_S)
                continue
            for row in rows:
                self._take(row)
            if len(rows) < READ:
                return

    def _take(self, row: Row) -> None:
        self._row = max(self._row, row.id)
        with suppress(ValueError):  # of another version
            values = json.loads(row.data)
            if self._news is None or values.get("kept") != self._worker:
                self._fold(read_piece(values))

    def _fold(self, piece: Piece | Others | None) -> None:
        if isinstance(piece, Piece):
            self._now_s()
            self._ledger.take(piece)
        elif piece is not None:
            log.info("%d more responses with %d bytes, too many at once", piece.count, piece.sent)

    def _tell_ended(self) -> None:
        for transfer, outcome in self._ledger.end(self._now_s()):
            told = told_of(transfer, transfer.state((), transfer.last[0]), outcome)
            subject = transfer.subject
            told |= {"etag": subject.etag, "ranges": list(_ranges(transfer)), "requests": list(transfer.requests)}
            self.ended[outcome.value] += 1
            self._bus.append(ENDED, json.dumps(told))
            what = (subject.client, subject.route, subject.path, outcome.value, told["sent"], told["seconds"])
            extra = {"fields": told, "request_id": next(reversed(transfer.requests), "")}
            log.info("%s: %s of %s: %s, %d bytes in %.1f s", *what, extra=extra)
        if self._ledger.refused:
            log.info("%d more responses, of too many transfers at once", self._ledger.refused)
            self._ledger.refused = 0

    def _show_all(self) -> None:
        states = [(transfer.id, json.dumps(told_of(transfer, state))) for transfer, state in self._states()]
        self._watch.show_at_s = time.monotonic() + min(PACE_S * max(1, len(states) / AT_PACE), SLOWEST_S)
        self._show(states)

    def _states(self) -> Iterator[tuple[LogicalTransfer, State]]:
        return self._ledger.states(self._now_s())

    def _now_s(self) -> float:
        """Return what time it is. The ledger is told first: the times of what it is told next are of this clock."""
        now_s = time.time()
        self._ledger.set_clock(now_s, time.monotonic())
        return now_s

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do, if nothing happens; ``None``: for ever."""
        pause_s = self._ledger.next_end_s() - self._now_s()
        if self.is_watched:
            pause_s = min(pause_s, self._watch.show_at_s - time.monotonic())
        return max(0.01, pause_s) if pause_s < math.inf else None


def told_of(transfer: LogicalTransfer, state: State, outcome: Outcome | None = None) -> dict[str, Any]:
    """Return what is told of a logical transfer."""
    subject, covered = transfer.subject, state.coverage.covered
    left_s = (subject.length - covered) / state.rate if state.rate else None
    now_s = time.time() if state.connections else transfer.last[0]
    passed_s = max(0.0, now_s - transfer.began_s)
    mean = state.sent / passed_s if passed_s else 0.0
    return {
        "id": transfer.id,
        "client": subject.client,
        "path": subject.path,
        "route": subject.route,
        "length": subject.length,
        "sent": state.sent,
        "covered": covered,
        "share": round(covered / subject.length, 4),
        "rate": round(state.rate if outcome is None else mean, 1),
        "left_s": round(left_s, 1) if left_s is not None and outcome is None else None,
        "connections": state.connections,
        "began": round(transfer.began_s, 3),
        "from": transfer.first,
        "outcome": outcome.value if outcome is not None else None,
        "seconds": round(passed_s, 3),
    }


def _ranges(transfer: LogicalTransfer) -> Iterator[str]:
    """Yield the first of the ranges that are covered, as a Range field writes them."""
    for span in transfer.coverage.spans[:RANGES]:
        yield f"{span.start}-{span.stop - 1}"


def _subject_of(row: Row) -> Subject | None:
    try:
        told = json.loads(row.data)
        return Subject(told["client"], told["route"], told["path"], told["etag"], told["length"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None
