"""What is told of logical transfers: how far each has come, while somebody watches, and how it has ended."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fileserve.web.transfers.logical import LogicalTransfer, Outcome, State
from fileserve.web.transfers.pieces import Subject

__all__ = ["Show", "Showing", "read_subject", "told_of", "told_of_end"]

PACE_S = 0.25
WATCH_S = 3.0  # who watches says so more often than this
AT_PACE = 50  # logical transfers that are shown at the full pace
SLOWEST_S = 2.0
RANGES = 16  # told of where an incomplete one got to

Show = Callable[[Sequence[tuple[str, str]]], None]  # takes the ids and the JSON of all logical transfers


class Showing:
    """Gives all transfers to *show* while somebody watches: four times a second, less often where they are many.

    Of two hundred, nobody has to read more a second than of fifty.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._watched_until_s = self._due_s = -math.inf

    @property
    def is_watched(self) -> bool:
        """Whether anybody has said so lately."""
        return time.monotonic() < self._watched_until_s

    def watch(self) -> bool:
        """Show for a while; return whether that is new."""
        was_watched, self._watched_until_s = self.is_watched, time.monotonic() + WATCH_S
        if not was_watched:
            self._due_s = time.monotonic()
        return not was_watched

    def pause_s(self) -> float:
        """Return how long there is nothing to show; infinity: for ever."""
        return max(0.0, self._due_s - time.monotonic()) if self.is_watched else math.inf

    def show(self, transfers: Iterator[tuple[LogicalTransfer, State]]) -> None:
        """Show them, if it is time."""
        if self.pause_s() > 0:
            return
        states = [(transfer.id, json.dumps(told_of(transfer, state))) for transfer, state in transfers]
        self._due_s = time.monotonic() + min(PACE_S * max(1, len(states) / AT_PACE), SLOWEST_S)
        self._show(states)


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
        "offloaded": state.offloaded,
        "began": round(transfer.began_s, 3),
        "from": transfer.first,
        "outcome": outcome.value if outcome is not None else None,
        "seconds": round(passed_s, 3),
    }


def told_of_end(transfer: LogicalTransfer, outcome: Outcome) -> dict[str, Any]:
    """Return what is told of a logical transfer that has ended."""
    told = told_of(transfer, transfer.state((), transfer.last[0]), outcome)
    also = {"etag": transfer.subject.etag, "ranges": list(_ranges(transfer)), "requests": list(transfer.requests)}
    return told | also


def read_subject(values: Any) -> Subject | None:
    """Return the subject of what ``told_of_end`` made *values* of; ``None``: it was another version."""
    try:
        return Subject(values["client"], values["route"], values["path"], values["etag"], values["length"])
    except (KeyError, TypeError):
        return None


def _ranges(transfer: LogicalTransfer) -> Iterator[str]:
    """Yield the first of the ranges that are covered, as a Range field writes them."""
    for span in transfer.coverage.spans[:RANGES]:
        yield f"{span.start}-{span.stop - 1}"
