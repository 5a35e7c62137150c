"""``Progress``: the responses of one worker that are under way, and what was taken of those that have ended.

In the path of a request there is little: of small answers only some are looked at, a large one is entered when it
begins and closed when it ends. One whose client has left is settled there and then, so that nothing of it is kept; all
else is done in turns for all of them together, while there are any: whether the last bytes are with the client, and
what others are told. How far a response has come is asked of the server then (`Account`), and counted nowhere.

Bounded: small answers and ended pieces beyond what is kept for a turn are counted, and told in one record of the log.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.live import Live, Origin, Sent
from fileserve.web.transfers.pieces import Backlog, End, Piece

__all__ = ["Progress", "Rhythm", "Teller"]

log = logging.getLogger("fileserve.transfers")

SMALL = 16  # small answers looked at in a turn


class Teller(Protocol):
    """Who is told."""

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to know at once."""

    def tell_ended(self, pieces: Sequence[Piece]) -> None:
        """Take what has ended."""

    def tell_under_way(self, pieces: Sequence[Piece]) -> None:
        """Take all that is under way, in place of what was told before."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often there is a turn, and in each how manieth something is told."""

    pace_s: float
    under_way: int
    ended: int
    counted: int


WATCHED = Rhythm(0.05, under_way=5, ended=1, counted=20)
UNWATCHED = Rhythm(0.25, under_way=8, ended=8, counted=8)


class Progress:
    """The responses of this worker. *teller* is told of them; the ids begin with *worker*.

    More attributes than elsewhere: what is under way and what has ended wait for the same turn. *counts*, for the
    metrics, are of what ends here and nowhere else.
    """

    def __init__(self, teller: Teller, worker: str) -> None:
        self.counts = TransferCounts()
        self._teller = teller
        self._ids = map(f"{worker}-{{:x}}".format, itertools.count())
        self._live: dict[Live, None] = {}  # in the order of their beginning
        self._sent: list[Live] = []  # of those the ones that are sent, and not settled
        self._ended: list[Live] = []  # others know of them as under way, and have not been told of their end
        self._small = 0  # small answers looked at in this turn
        self._backlog = Backlog()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._has_told = False  # that anything is under way

    @property
    def live(self) -> int:
        """How many responses are under way."""
        return len(self._live)

    def under_way(self) -> dict[str, tuple[int, int]]:
        """Return how many responses of each route are under way, and how many bytes they have taken until now."""
        told = dict.fromkeys(self.counts, (0, 0))
        for live in self._live:
            count, sent = told.get(live.subject.route, (0, 0))
            told[live.subject.route] = count + 1, sent + live.account.taken
        return told

    def note(self, sent: Sent, origin: Origin) -> None:
        """Take note of a small answer that was handed over whole."""
        if self._small < SMALL:
            self._small += 1
            self.finish(self.begin(sent, origin), End.TAKEN)
            return
        length = sent.plan.content_length
        self._backlog.count(1, length)
        self.counts[origin[1]].add(End.TAKEN, length, 0.0)
        if self._timer is None:
            self._wait()

    def begin(self, sent: Sent, origin: Origin) -> Live:
        """Enter a response whose head was sent. It is to be finished, however its sending ends."""
        live = Live(sent, origin, next(self._ids))
        self._live[live] = None
        if self._timer is None:
            self._wait()
        return live

    def finish(self, live: Live, end: End) -> None:
        """Note that the sending has ended, and how. Of what was sent, less may have been taken."""
        live.account.close(end)
        if live not in self._live:  # all was told: what a server cancels at the end of its drain may end after that
            return
        live.ended_s = time.time()
        if not self._settle(live, live.ended_s):
            self._sent.append(live)

    def close(self) -> None:
        """Tell all that is known. What is still on its way counts as not taken."""
        now_s = time.time()
        self._end_settled(now_s)
        for live in self._live:
            self._end(live, End.LEFT, now_s)
        self._live.clear()
        while self._backlog:
            self._tell_ended(with_counted=True)
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        # In a context of its own: what is logged in a turn is not of the request that happened to begin it.
        loop, turn = asyncio.get_running_loop(), self._take_turn
        self._timer = loop.call_later(self._rhythm.pace_s, turn, context=Context())

    @property
    def _rhythm(self) -> Rhythm:
        return WATCHED if self._teller.is_watched else UNWATCHED

    def _take_turn(self) -> None:
        now_s, rhythm = time.time(), self._rhythm
        self._end_settled(now_s)
        self._small = 0
        self._turn += 1
        if self._turn % rhythm.under_way == 0:
            self._tell_under_way(now_s)
        if self._turn % rhythm.ended == 0:
            self._tell_ended(with_counted=self._turn % rhythm.counted == 0)
        if self._live or self._backlog:
            self._wait()
        else:
            self._timer = None

    def _end_settled(self, now_s: float) -> None:
        """Take the responses out whose end is known by now."""
        sent, self._sent = self._sent, []
        for live in sent:
            if not self._settle(live, live.ended_s or now_s):
                live.ended_s = None
                self._sent.append(live)

    def _settle(self, live: Live, at_s: float) -> bool:
        """Take *live* out where its end is known; return whether it is."""
        end = live.account.settle()
        if end is None:
            return False
        del self._live[live]
        self._end(live, end, at_s)
        if live.is_told:
            self._ended.append(live)
        return True

    def _end(self, live: Live, end: End, now_s: float) -> None:
        piece = live.piece(end, now_s)
        self._backlog.add(piece)
        self.counts[piece.subject.route].add(end, piece.sent, max(0.0, now_s - live.began_s))

    def _tell_under_way(self, now_s: float) -> None:
        """Tell of all responses under way, and once more of those that were: the rows of their ends come later."""
        pieces = [live.piece(None, now_s) for live in (*self._live, *self._ended)]
        for live in self._live:
            live.is_told = True
        if pieces or self._has_told:
            self._teller.tell_under_way(pieces)
        self._has_told = bool(pieces)

    def _tell_ended(self, *, with_counted: bool) -> None:
        self._ended.clear()
        if pieces := self._backlog.take():
            self._teller.tell_ended(pieces)
        count, sent = self._backlog.take_counted() if with_counted else (0, 0)
        if count:
            log.info("%d more responses with %d bytes, too many at once", count, sent)
