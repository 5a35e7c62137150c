"""``Piece``: what one client has taken of one representation, in one response or in several at one time.

Workers tell each other pieces: of responses that have ended, as rows of the event log, and of those under way, in
reports that are not kept. Both are JSON, which is read here alone.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from fileserve.semantics.coverage import Coverage
from fileserve.semantics.ranges import Span

__all__ = ["Backlog", "End", "Piece", "Subject", "read_piece"]

WAITING = 1000  # subjects whose pieces wait to be told
TOLD = 25  # of them at a time
REQUESTS = 8  # whose ids are told of what one client takes of one representation


class End(Enum):
    """How a response ended, as far as its bytes are concerned."""

    TAKEN = "taken"  # all of its content is with the client
    LEFT = "left"
    STALLED = "stalled"
    FAILED = "failed"  # the content changed, or could not be read
    UNKNOWN = "unknown"  # it was sent by somebody else, who never said


@dataclass(frozen=True, slots=True)
class Subject:
    """Who downloads what: pieces with the same subject are one logical transfer. *length* is the complete length."""

    client: str
    route: str
    path: str
    etag: str
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What was taken: *sent* bytes of content, and with them *spans* of the representation.

    *first* is the first byte that was asked for. *floor* is the byte from which on the client wants everything: *first*
    where it went on with an earlier download, else 0. *ids* are those of the responses. Times are seconds since 1970.
    Of one under way that *is_offloaded*, sent by a proxy, nothing more is known. So many fields, as one row has them.
    """

    subject: Subject
    ids: tuple[str, ...]
    times: tuple[float, float]  # begin and end; of one under way, now
    first: int
    floor: int
    sent: int
    spans: tuple[Span, ...]
    end: End | None = None  # None: it is under way
    requests: tuple[str, ...] = ()  # the last of the requests that it is of, by their ids
    is_offloaded: bool = False  # which is not told: who keeps the piece knows it

    def to_json(self) -> dict[str, Any]:
        """Return it as values that JSON has."""
        subject = self.subject
        return {
            "subject": [subject.client, subject.route, subject.path, subject.etag, subject.length],
            "ids": self.ids,
            "times": self.times,
            "from": [self.first, self.floor],
            "sent": self.sent,
            "spans": [(span.start, span.stop) for span in self.spans],
            "end": self.end.value if self.end else None,
            "requests": self.requests,
        }


def read_piece(values: Any) -> Piece | None:
    """Return what ``to_json`` made *values* of; ``None`` where they are something else, of another version."""
    try:
        first, floor = values["from"]
        begin, end = values["times"]
        return Piece(
            Subject(*values["subject"]),
            tuple(values["ids"]),
            (begin, end),
            first,
            floor,
            values["sent"],
            tuple(Span(start, stop) for start, stop in values["spans"]),
            End(values["end"]) if values["end"] else None,
            tuple(values.get("requests", ())),
        )
    except (KeyError, TypeError, ValueError):
        return None


class _Joined:
    """Pieces of one subject that ended in one way, as one piece: the earliest, with all of the others."""

    __slots__ = ("_coverage", "_earliest", "_ended_s", "_floor", "_ids", "_requests", "_sent")

    def __init__(self, piece: Piece) -> None:
        self._earliest = piece
        self._ids = list(piece.ids)
        self._requests = piece.requests
        self._ended_s = piece.times[1]
        self._floor = piece.floor
        self._sent = piece.sent
        self._coverage = Coverage(piece.spans)

    def add(self, piece: Piece) -> None:
        """Take in one more, and keep nothing of it but what it adds."""
        if piece.times < self._earliest.times:
            self._earliest = piece
        self._ids += piece.ids
        self._requests = (*self._requests, *piece.requests)[-REQUESTS:]
        self._ended_s = max(self._ended_s, piece.times[1])
        self._floor = min(self._floor, piece.floor)
        self._sent += piece.sent
        for span in piece.spans:
            self._coverage.add(span)

    def piece(self) -> Piece:
        """Return the one."""
        earliest = self._earliest
        times = (earliest.times[0], self._ended_s)
        return Piece(
            earliest.subject,
            tuple(self._ids),
            times,
            earliest.first,
            self._floor,
            self._sent,
            self._coverage.spans,
            earliest.end,
            self._requests,
        )


class Backlog:
    """What has ended and is not told yet. Bounded: of more subjects than are kept, responses are only counted."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[Subject, End | None], _Joined] = {}
        self._counted = 0
        self._sent = 0  # in those

    def __bool__(self) -> bool:
        return bool(self._pieces or self._counted)

    def add(self, piece: Piece) -> None:
        """Take in a piece that has ended."""
        known = self._pieces.get((piece.subject, piece.end))
        if known is not None:
            known.add(piece)
        elif len(self._pieces) < WAITING:
            self._pieces[piece.subject, piece.end] = _Joined(piece)
        else:
            self.count(1, piece.sent)

    def count(self, count: int, sent: int) -> None:
        """Count *count* responses in which *sent* bytes were sent."""
        self._counted += count
        self._sent += sent

    def take(self) -> list[Piece]:
        """Return what is to be told now, one piece for each subject and end."""
        return [self._pieces.pop(key).piece() for key in list(islice(self._pieces, TOLD))]

    def take_counted(self) -> tuple[int, int]:
        """Return how many responses were only counted since the last time, and the bytes that were sent in them."""
        counted = self._counted, self._sent
        self._counted = self._sent = 0
        return counted
