"""``LogicalTransfer``: what the responses to one client of one representation make up, its rate, and how it ended.

Left out: when it begins and ends (``ledger``).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from fileserve.semantics.coverage import Coverage
from fileserve.semantics.ranges import Span
from fileserve.web.transfers.pieces import REQUESTS, End, Piece, Subject

__all__ = ["LogicalTransfer", "Outcome", "Pace", "State"]

PLACES = 256
SMOOTHING_S = 3.0  # a rate forgets what was longer ago than this
TOGETHER_S = 1.0  # connections that end within this time end together


class Outcome(Enum):
    """How a logical transfer ended."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    STALLED = "stalled"
    FAILED = "failed"
    EXPIRED = "expired"  # each response was taken, and the rest was never asked for
    UNKNOWN = "unknown"  # a proxy has sent it, and never said how that ended


@dataclass(slots=True)
class Pace:
    """The smoothed rate of what grows."""

    sent: int
    at_s: float
    rate: float = 0.0  # bytes a second

    def step(self, sent: int, now_s: float) -> float:
        """Take in that it is *sent* now, and return the rate."""
        passed_s = now_s - self.at_s
        if passed_s > 0:
            weight = 1 - math.exp(-passed_s / SMOOTHING_S) if self.rate else 1.0
            self.rate += weight * (max(0, sent - self.sent) / passed_s - self.rate)
            self.sent, self.at_s = sent, now_s
        return self.rate


@dataclass(frozen=True, slots=True)
class State:
    """How far a logical transfer has come."""

    sent: int
    coverage: Coverage
    connections: int
    offloaded: int  # of the connections: of those it is not known how far they are
    rate: float


@dataclass(slots=True)
class LogicalTransfer:
    """What the pieces that have ended make up, and how and when the last one did.

    More fields than elsewhere: all that is kept of a transfer while it may go on, folded from those of pieces.
    """

    subject: Subject
    began_s: float
    first: int
    floor: int
    pace: Pace
    last: tuple[float, End]
    sent: int = 0
    coverage: Coverage = field(default_factory=lambda: Coverage(most=PLACES))
    requests: tuple[str, ...] = ()  # the last ones

    @property
    def id(self) -> str:
        """What tells it from others, in whichever worker it is folded."""
        return hashlib.sha256(repr((self.subject, self.began_s)).encode()).hexdigest()[:16]

    def state(self, under_way: Sequence[Piece], now_s: float) -> State:
        """Return how far it has come with the pieces *under_way*."""
        coverage = self.coverage.copy() if under_way else self.coverage
        for piece in under_way:
            for span in piece.spans:
                coverage.add(span)
        sent = self.sent + sum(piece.sent for piece in under_way)
        rate = self.pace.step(sent, now_s)
        offloaded = sum(piece.is_offloaded for piece in under_way)
        return State(sent, coverage, len(under_way), offloaded, rate if under_way and not offloaded else 0.0)

    def add(self, piece: Piece) -> None:
        """Take in a piece that has ended."""
        at_s, end = piece.times[1], piece.end or End.LEFT
        self.sent += piece.sent
        self.requests = (*self.requests, *piece.requests)[-REQUESTS:]
        for span in piece.spans:
            self.coverage.add(span)
        self.widen(piece)
        last_s, last_end = self.last
        if end is End.TAKEN and at_s < last_s + TOGETHER_S:
            end = last_end
        self.last = max(at_s, last_s), end

    def widen(self, piece: Piece) -> None:
        """Take in where *piece* begins: before the floor it wants more; of those that begin together, one is first."""
        if piece.times[0] < self.began_s + TOGETHER_S:
            self.first = min(self.first, piece.first)
        if piece.first < self.floor:
            self.floor = piece.floor

    def is_covered(self) -> bool:
        """Tell whether the client has everything that it wanted."""
        return self.coverage.covers(Span(self.floor, self.subject.length))
