"""``Offloaded``: the responses that nginx sends, from when they are left to it until its log says how each has ended.

The log names a response by its id, and says which part of the file was sent, how many bytes of it, and whether that was
the end. What it says is compared with what was decided: a line that does not fit it is one of another file, or of none.

Strategy: pure; times are told. The rows that say what was left to nginx and the lines of its log come by two ways, so a
line may be there before its row, and waits for it. A line whose id nobody waits for is forgotten: a log can be read
from an earlier place once more.

Bounded: ``most`` responses, each with some hundred bytes; of more, the one that was left to nginx first is given up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fileserve.semantics.ranges import Span, content_range
from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.pieces import End, Piece, Subject, read_piece

__all__ = ["LogLine", "Offload", "Offloaded", "read_offload"]

MOST = 4000
LINES = 1000  # that wait for their rows
# Policy: after a day no line is waited for any more: nginx was killed, or its log is another one. That it is still
# sending cannot be told from that; then the download has ended with what is not known.
PATIENCE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Offload:
    """A response that is left to nginx: *piece* as it begins, and the *span* that it sends."""

    piece: Piece
    span: Span

    @property
    def id(self) -> str:
        """What nginx calls it in its log."""
        return self.piece.ids[0]

    def to_json(self) -> dict[str, Any]:
        """Return it as values that JSON has."""
        return self.piece.to_json() | {"span": [self.span.start, self.span.stop]}

    def ended(self, sent: int, end: End, at_s: float, *, is_ours: bool = True) -> Piece:
        """Return the piece that it has become; *is_ours*: what was *sent* is of the representation."""
        began_s = self.piece.times[0]
        start = self.span.start
        spans = (Span(start, start + sent),) if sent and is_ours else ()
        return replace(
            self.piece, times=(began_s, max(began_s, at_s)), sent=sent, spans=spans, end=end, is_offloaded=False
        )


@dataclass(frozen=True, slots=True)
class LogLine:
    """What nginx has logged of the response *id*: *status* 0 where it has given the sending back."""

    id: str
    at_s: float
    status: int = 0
    content_range: str = ""
    sent: int = 0
    is_completed: bool = False
    is_same: bool = False  # the file that it opened, and the one that was decided on

    def to_json(self) -> list[Any]:
        """Return it as values that JSON has; ``LogLine(*values)`` is what they were made of."""
        return [self.id, self.at_s, self.status, self.content_range, self.sent, self.is_completed, self.is_same]


def read_offload(values: Any) -> Offload | None:
    """Return what ``to_json`` made *values* of; ``None`` where they are something else, of another version."""
    piece = read_piece(values)
    try:
        if isinstance(piece, Piece) and len(piece.ids) == 1:
            return Offload(replace(piece, is_offloaded=True), Span(*values["span"]))
    except (KeyError, TypeError):
        pass
    return None


class Offloaded:
    """The responses that a line is waited for. How they end is added to *counts*, for the metrics."""

    def __init__(self, counts: TransferCounts, *, most: int = MOST) -> None:
        self._counts = counts
        self._most = most
        self._waiting: dict[str, Offload] = {}  # by their ids, in the order of their beginning
        self._lines: dict[str, LogLine] = {}  # that nobody has waited for yet

    def __iter__(self) -> Iterator[Piece]:
        return (offload.piece for offload in self._waiting.values())

    def add(self, offload: Offload) -> Piece | None:
        """Wait for the line of *offload*; return what has ended by it, or because it is one too many."""
        line = self._lines.pop(offload.id, None)
        if line is not None:
            return self._counted(_ended(offload, line), line)
        self._waiting[offload.id] = offload
        return self._give_up(next(iter(self._waiting))) if len(self._waiting) > self._most else None

    def hear(self, line: LogLine) -> Piece | None:
        """Return what has ended by *line*."""
        offload = self._waiting.pop(line.id, None)
        if offload is not None:
            return self._counted(_ended(offload, line), line)
        self._lines[line.id] = line
        if len(self._lines) > LINES:
            del self._lines[next(iter(self._lines))]
        return None

    def expire(self, now_s: float) -> Iterator[Piece]:
        """Yield those whose line has not come in time."""
        while self.next_end_s() <= now_s:
            yield self._give_up(next(iter(self._waiting)))

    def next_end_s(self) -> float:
        """Return when the next one is given up; infinity: there is none."""
        first = next(iter(self._waiting.values()), None)
        return first.piece.times[0] + PATIENCE_S if first is not None else float("inf")

    def forget(self, piece: Piece) -> None:
        """Wait no more for what *piece* tells the end of."""
        for id in piece.ids:
            self._waiting.pop(id, None)

    def forget_all_of(self, subject: Subject) -> None:
        """Wait no more for what belongs to a logical transfer that has ended."""
        self._waiting = {id: offload for id, offload in self._waiting.items() if offload.piece.subject != subject}

    def _give_up(self, id: str) -> Piece:
        offload = self._waiting.pop(id)
        return self._counted(offload.ended(0, End.UNKNOWN, offload.piece.times[0]))

    def _counted(self, piece: Piece, line: LogLine | None = None) -> Piece:
        if line is None or line.status:  # what was given back is counted where it is sent
            began_s, ended_s = piece.times
            self._counts[piece.subject.route].add(piece.end or End.UNKNOWN, piece.sent, ended_s - began_s)
        return piece


def _ended(offload: Offload, line: LogLine) -> Piece:
    """Return what *line* says of *offload*.

    Policy: bytes count that nginx's kernel has taken. Where a client has left, some of them have never reached it.
    """
    span, length = offload.span, offload.piece.subject.length
    if line.status == 0:  # fileserve has sent it, as a response of its own
        return offload.ended(0, End.TAKEN, line.at_s)
    if line.status == 499:  # nothing was sent yet when the client left
        return offload.ended(0, End.LEFT, line.at_s)
    is_whole = line.status == 200 and span.length == length
    is_part = line.status == 206 and line.content_range == content_range(span, length)
    if not line.is_same or not (is_whole or is_part):
        return offload.ended(line.sent, End.FAILED, line.at_s, is_ours=False)
    sent = min(line.sent, span.length)
    return offload.ended(sent, End.TAKEN if line.is_completed and sent == span.length else End.LEFT, line.at_s)
