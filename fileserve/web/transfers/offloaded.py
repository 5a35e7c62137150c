"""``Offloaded``: the responses that nginx sends, from when they are left to it until its log says how each has ended.

The log names a response by its id, and says which part of the file was sent, how many bytes of it, and whether that was
the end. What it says is compared with what was decided: a line that does not fit it is one of another file, or of none.

Strategy: pure; times are told. The rows that say what was left to nginx and the lines of its log come by two ways, so a
line may be there before its row, and waits for it. A line whose id nobody waits for is forgotten: a log can be read
from an earlier place once more.

A line may never come: nginx was killed, or its log is another one. From what is missing nobody can tell that nginx
sends no more, so what is waited for ends by what else is heard, and by time.

Bounded: ``most`` responses, each with some hundred bytes; of more, the one that was left to nginx first of those of the
client who has the most is given up.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fileserve.semantics.ranges import Span, content_range
from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.pieces import End, Piece, Subject, read_piece

__all__ = ["LogLine", "Offload", "Offloaded", "read_offload"]

MOST = 4000
LINES = 1000  # that wait for their rows
# Policy: after a day no line is waited for any more. That nginx is still sending cannot be told from that; then the
# download has ended with what is not known. Once the log has moved on (it told of a response that began later), nginx
# may have been started anew since: then only for as long as a slow client takes, and an hour.
PATIENCE_S = 86_400.0
HASTE_S = 3600.0
SLOW = 64 * 1024  # bytes a second
LOOK_S = 60.0  # between two looks at who has waited for too long


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
        if piece is not None and len(piece.ids) == 1:
            return Offload(replace(piece, is_offloaded=True), Span(*values["span"]))
    except (KeyError, TypeError):
        pass
    return None


class Offloaded:
    """The responses that a line is waited for. How they end is added to *counts*, for the metrics.

    A download that was gone on with and is whole waits for the lines of its earlier responses for *window_s* seconds.
    """

    def __init__(self, counts: TransferCounts, window_s: float = 60.0, *, most: int = MOST) -> None:
        self._counts = counts
        self._window_s = window_s
        self._most = most
        self._resumes: dict[Subject, tuple[float, Piece]] = {}  # that are whole, and until when they wait
        self._heard_s = 0.0  # the latest beginning of a response that a line has told of
        self._look_s = float("inf")
        self._waiting: dict[str, Offload] = {}  # by their ids, in the order of their beginning
        self._lines: dict[str, LogLine] = {}  # that nobody has waited for yet

    def __iter__(self) -> Iterator[Piece]:
        return (offload.piece for offload in self._waiting.values())

    def add(self, offload: Offload) -> Piece | None:
        """Wait for the line of *offload*; return what has ended by it, or because it is one too many."""
        line = self._lines.pop(offload.id, None)
        if line is not None:
            return self._counted(_ended(offload, line), line)
        if not self._waiting:
            self._look_s = offload.piece.times[0] + LOOK_S
        self._waiting[offload.id] = offload
        return self._give_up(self._first_of_the_most()) if len(self._waiting) > self._most else None

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
        for until_s, resume in list(self._resumes.values()):
            if until_s <= now_s:
                yield from self._end_before(resume, now_s)
        if self._look_s <= now_s:
            self._look_s = now_s + LOOK_S
            for id in [id for id, offload in self._waiting.items() if self._deadline_s(offload) <= now_s]:
                yield self._give_up(id)

    def next_end_s(self) -> float:
        """Return when some may be given up; infinity: there are none."""
        look_s = self._look_s if self._waiting else float("inf")
        return min([look_s, *(until_s for until_s, _ in self._resumes.values())])

    def forget(self, piece: Piece) -> None:
        """Wait no more for what *piece* tells the end of, and not for ever for what it has gone on with."""
        for id in piece.ids:
            self._waiting.pop(id, None)
        is_rest = piece.floor and piece.end is End.TAKEN and Span(piece.floor, piece.subject.length) in piece.spans
        if is_rest and any(self._of(piece.subject)):
            self._resumes[piece.subject] = piece.times[1] + self._window_s, piece

    def forget_all_of(self, subject: Subject) -> None:
        """Wait no more for what belongs to a logical transfer that has ended."""
        self._waiting = {id: offload for id, offload in self._waiting.items() if offload.piece.subject != subject}
        self._resumes.pop(subject, None)

    def _of(self, subject: Subject) -> Iterator[Offload]:
        return (offload for offload in self._waiting.values() if offload.piece.subject == subject)

    def _end_before(self, resume: Piece, now_s: float) -> Iterator[Piece]:
        """Yield those that began before *resume*, as far as the client has gone on with them.

        Policy: who asks for all from some byte on, and takes it, has what is before; so an earlier response of which
        nothing is heard for the resume window counts as left there. Many clients take one file in several open ranges
        at once, which looks alike: while a later one than *resume* is waited for, they may still be at it.
        """
        began_s = resume.times[0]
        waiting = sorted(self._of(resume.subject), key=lambda offload: offload.span.start)
        if any(offload.piece.times[0] >= began_s for offload in waiting):
            self._resumes[resume.subject] = now_s + self._window_s, resume
            return
        del self._resumes[resume.subject]
        left = [offload for offload in waiting if offload.span.start < resume.floor]
        stops = [*(offload.span.start for offload in left[1:]), resume.floor]
        for offload, stop in zip(left, stops, strict=False):
            del self._waiting[offload.id]
            sent = min(stop, offload.span.stop) - offload.span.start
            yield self._counted(offload.ended(sent, End.LEFT, began_s))

    def _deadline_s(self, offload: Offload) -> float:
        began_s = offload.piece.times[0]
        patience_s = HASTE_S + offload.span.length / SLOW if began_s < self._heard_s else PATIENCE_S
        return began_s + min(PATIENCE_S, patience_s)

    def _first_of_the_most(self) -> str:
        """Return the first response of the client of whose responses the most are waited for."""
        clients = Counter(offload.piece.subject.client for offload in self._waiting.values())
        [(client, _)] = clients.most_common(1)
        return next(id for id, offload in self._waiting.items() if offload.piece.subject.client == client)

    def _give_up(self, id: str) -> Piece:
        offload = self._waiting.pop(id)
        return self._counted(offload.ended(0, End.UNKNOWN, offload.piece.times[0]))

    def _counted(self, piece: Piece, line: LogLine | None = None) -> Piece:
        if line is not None:
            self._heard_s = max(self._heard_s, piece.times[0])
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
