"""``Ledger``: pieces folded into logical transfers: all that one client has of one representation, and how that ended.

A logical transfer begins with its first response. It ends when everything that the client wanted is covered and none of
its responses is under way; when content failed; or some time after its last response, so that a download which is
resumed soon is still the same one. What comes later is a new one, which tells from which byte on.

Strategy: pure; what happens is told with its time. Pieces that ended add to a `Coverage` and are gone; those under way
are kept as each worker last reported them, and are added anew whenever somebody looks.

Bounded: ``most`` logical transfers at once, each with some hundred bytes, or 20 KiB where its bytes lie in 256 places.
Where there are more, the one without a response for the longest time ends early; where all have one, the new are told
of as ``refused``, for the caller to count.
"""

import math
from collections.abc import Iterable, Iterator

from fileserve.web.transfers.logical import LogicalTransfer, Outcome, Pace, State
from fileserve.web.transfers.pieces import End, Piece, Subject

__all__ = ["Ledger"]

MOST = 1000
SILENCE_S = 10.0  # a worker that reports nothing for so long is dead
SET_S = 1.0  # a clock that differs by more was set, and not merely slow


_OUTCOMES = {
    End.TAKEN: Outcome.EXPIRED,
    End.LEFT: Outcome.ABORTED,
    End.STALLED: Outcome.STALLED,
    End.FAILED: Outcome.FAILED,
    End.UNKNOWN: Outcome.UNKNOWN,
}


class Ledger:
    """The logical transfers under way. *window_s* is how long one without a response goes on."""

    def __init__(self, window_s: float, *, most: int = MOST) -> None:
        self.refused = 0  # pieces that found no room
        self._window_s = window_s
        self._most = most
        self._is_full = False  # until the next `end`, so that nobody looks for room again and again
        self._open: dict[Subject, LogicalTransfer] = {}
        self._ended_early: list[tuple[LogicalTransfer, Outcome]] = []
        self._reports: dict[str, tuple[float, dict[str, Piece]]] = {}  # of each worker: when, and by their ids
        self._clock: float | None = None  # what the clock is ahead of one that is never set

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, subject: Subject) -> bool:
        return subject in self._open

    def set_clock(self, now_s: float, steady_s: float) -> None:
        """Say what time it is, before anything that is told with it. What a clock is set by is no time that passes."""
        ahead_s = now_s - steady_s
        set_by_s = ahead_s - self._clock if self._clock is not None else 0.0
        if self._clock is not None and abs(set_by_s) < SET_S:
            return
        self._clock = ahead_s
        self._reports = {worker: (heard_s + set_by_s, pieces) for worker, (heard_s, pieces) in self._reports.items()}
        for transfer in self._open.values():
            transfer.last = transfer.last[0] + set_by_s, transfer.last[1]
            transfer.pace.at_s += set_by_s

    def take(self, piece: Piece) -> None:
        """Take a piece that has ended."""
        for _, pieces in self._reports.values():
            for id in piece.ids:
                pieces.pop(id, None)
        transfer = self._of(piece)
        if transfer is None:
            self.refused += 1
        else:
            transfer.add(piece)

    def report(self, worker: str, pieces: Iterable[Piece], now_s: float) -> None:
        """Take the pieces under way in *worker*, each with one id, in place of those that it reported before.

        At *now_s* it was alive; with infinity, it is taken to be so for ever.
        """
        self._reports.pop(worker, None)
        reported = {piece.ids[0]: piece for piece in pieces}
        if reported:
            self._reports[worker] = now_s, reported
        for piece in reported.values():
            transfer = self._of(piece)
            if transfer is not None:
                transfer.widen(piece)

    def close(self, subject: Subject) -> None:
        """Forget the logical transfer of *subject*: its end has been told."""
        self._open.pop(subject, None)

    def end(self, now_s: float) -> Iterator[tuple[LogicalTransfer, Outcome]]:
        """Yield the logical transfers that have ended, and how; they are forgotten."""
        self._bury_silent(now_s)
        self._is_full = False
        busy = self._under_way()
        for subject, transfer in list(self._open.items()):
            if subject in busy:
                transfer.last = max(now_s, transfer.last[0]), transfer.last[1]
            elif outcome := self._outcome(transfer, now_s):
                del self._open[subject]
                yield transfer, outcome
        while self._ended_early:
            yield self._ended_early.pop()

    def next_end_s(self) -> float:
        """Return when the next one may end although nothing happens."""
        silence = min((heard_s for heard_s, _ in self._reports.values()), default=math.inf) + SILENCE_S
        return min([silence, *(transfer.last[0] + self._window_s for transfer in self._open.values())])

    def states(self, now_s: float) -> Iterator[tuple[LogicalTransfer, State]]:
        """Yield all logical transfers and how far they have come, those under way included."""
        busy = self._under_way()
        for subject, transfer in self._open.items():
            yield transfer, transfer.state(busy.get(subject, ()), now_s)

    def _of(self, piece: Piece) -> LogicalTransfer | None:
        """Return the logical transfer that *piece* belongs to; ``None``: there is no room for it."""
        found = self._open.get(piece.subject)
        if found is None and (len(self._open) < self._most or self._made_room()):
            begin_s = piece.times[0]
            pace, last = Pace(0, begin_s), (begin_s, End.TAKEN)
            found = LogicalTransfer(piece.subject, begin_s, piece.first, piece.floor, pace, last)
            self._open[piece.subject] = found
        return found

    def _made_room(self) -> bool:
        busy = {} if self._is_full else self._under_way()
        idle = [] if self._is_full else [transfer for subject, transfer in self._open.items() if subject not in busy]
        if not idle:
            self._is_full = True
            return False
        longest = min(idle, key=lambda transfer: transfer.last[0])
        del self._open[longest.subject]
        self._ended_early.append((longest, self._outcome(longest, math.inf) or Outcome.EXPIRED))
        return True

    def _outcome(self, transfer: LogicalTransfer, now_s: float) -> Outcome | None:
        """Return how *transfer* has ended, of which nothing is under way; ``None``: it may still go on."""
        last_s, end = transfer.last
        if transfer.is_covered():
            return Outcome.COMPLETE
        return _OUTCOMES[end] if end is End.FAILED or now_s >= last_s + self._window_s else None

    def _under_way(self) -> dict[Subject, list[Piece]]:
        busy: dict[Subject, list[Piece]] = {}
        for _, pieces in self._reports.values():
            for piece in pieces.values():
                busy.setdefault(piece.subject, []).append(piece)
        return busy

    def _bury_silent(self, now_s: float) -> None:
        """Forget what was under way in workers that have died: its bytes are not known."""
        for worker, (heard_s, pieces) in list(self._reports.items()):
            if now_s > heard_s + SILENCE_S:
                del self._reports[worker]
                for piece in pieces.values():
                    if piece.subject in self._open:
                        self._open[piece.subject].last = heard_s, End.LEFT
