"""``Progress``: the responses of one worker that are under way, and what was taken of those that have ended.

In the path of a request there is next to nothing: a small answer is appended to a list, a large one is entered when it
begins and marked when it ends. All else is done four times a second for all of them together, while there are any:
whether all bytes are with the client, how many are where it left, and what others are told. How far a response has come
is asked of the server then, and counted nowhere. Servers other than ours tell nothing; there, what was handed to them
counts as taken.

Bounded: small answers and ended pieces beyond what is kept for a turn are counted, and not told one by one.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from starlette.types import Scope

from fileserve.semantics.coverage import goes_on, taken_spans
from fileserve.semantics.plan import ResponsePlan
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.storage.names import Name, display_name
from fileserve.web.pieces import Backlog, End, Others, Piece, Subject

__all__ = ["PACE_S", "Live", "Progress", "Sent", "Teller"]

PACE_S = 0.25
UNWATCHED = 8  # turns between two reports of what is under way while nobody watches
SMALL = 256  # small answers kept for a turn
COUNTED = 4  # turns between two rows of what was only counted
UNIX = "unix"  # what a client without an address is called


class Request(Protocol):
    """What is asked of a request."""

    @property
    def scope(self) -> Scope:
        """ASGI's."""

    @property
    def name(self) -> Name:
        """What it names."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Its header fields."""

    @property
    def client(self) -> str | None:
        """The client's address."""


Origin: TypeAlias = tuple[Request, Representation, str]  # who asked, for what, and by which route


class Sent(Protocol):
    """What is asked of a response."""

    plan: ResponsePlan
    left: int  # bytes of content that were not handed over yet


class Teller(Protocol):
    """Who is told."""

    @property
    def is_watched(self) -> bool:
        """Whether anybody wants to know four times a second."""

    def tell_ended(self, pieces: Sequence[Piece | Others]) -> None:
        """Take what has ended."""

    def tell_under_way(self, pieces: Sequence[Piece]) -> None:
        """Take all that is under way, in place of what was told before."""


class Live:
    """One response with content, until all is known of its end."""

    __slots__ = ("_extension", "_origin", "_subject", "began_s", "end", "id", "is_told", "sent")

    def __init__(self, sent: Sent, origin: Origin, id: str) -> None:
        self.sent = sent
        self._origin = origin
        self.id = id
        self.began_s = time.time()
        self.end: End | None = None  # how the sending ended; of what was sent, less may have been taken
        self.is_told = False
        self._extension = origin[0].scope.get("extensions", {}).get("fileserve")
        self._subject: Subject | None = None

    def taken(self) -> int:
        """Return how many bytes of content are with the client."""
        length = self.sent.plan.content_length
        if self._extension is None or "unsent" not in self._extension:
            return length - self.sent.left
        unsent: int | None = self._extension["unsent"]()
        return max(0, length - unsent - self._extension["unacknowledged"]()) if unsent is not None else 0

    def settle(self) -> End | None:
        """Return how it ended; ``None``: its last bytes are on their way."""
        if self.end is End.FAILED or self.end is None:
            return self.end
        if self._extension is None or "lost" not in self._extension:
            return self.end
        if self.taken() == self.sent.plan.content_length:
            return End.TAKEN
        lost = self._extension["lost"]()
        if lost is None:
            return None if self.end is End.TAKEN else self.end
        return End(lost)

    def piece(self, end: End | None, now_s: float) -> Piece:
        """Return what was taken until now."""
        request, _, _ = self._origin
        plan, taken = self.sent.plan, self.taken()
        first = min(segment.start for segment in plan.segments if isinstance(segment, Span))
        is_resumed = plan.status == 206 and goes_on(request.fields.get("range"))
        ids = (self.id,) if self.is_told or end is None else ()
        spans = tuple(taken_spans(plan.segments, taken))
        return Piece(self.subject, ids, (self.began_s, now_s), first, first if is_resumed else 0, taken, spans, end)

    @property
    def subject(self) -> Subject:
        """Who downloads what."""
        if self._subject is None:
            request, representation, route = self._origin
            path = "/".join(map(display_name, request.name)) or representation.filename
            etag, length = str(representation.etag), representation.length
            self._subject = Subject(request.client or UNIX, route, path, etag, length)
        return self._subject


class Progress:
    """The responses of this worker. *teller* is told of them; the ids begin with *worker*."""

    def __init__(self, teller: Teller, worker: str) -> None:
        self._teller = teller
        self._ids = map(f"{worker}-{{:x}}".format, itertools.count())
        self._small: list[tuple[Sent, Origin]] = []
        self._live: dict[Live, None] = {}  # in the order of their beginning
        self._backlog = Backlog()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = 0
        self._has_told = False  # that anything is under way

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is under way or to be told, and nothing runs."""
        return self._timer is None

    def note(self, sent: Sent, origin: Origin) -> None:
        """Take note of a small answer that was handed over whole."""
        if len(self._small) < SMALL:
            self._small.append((sent, origin))
        else:
            self._backlog.count(1, sent.plan.content_length)
        if self._timer is None:
            self._wait()

    def begin(self, sent: Sent, origin: Origin) -> Live:
        """Enter a response whose head was sent. Its end is to be set, however it ends."""
        live = Live(sent, origin, next(self._ids))
        self._live[live] = None
        if self._timer is None:
            self._wait()
        return live

    def close(self) -> None:
        """Tell all that is known. What is still on its way counts as not taken."""
        now_s = time.time()
        self._end_settled(now_s)
        for live in self._live:
            self._backlog.add(live.piece(End.LEFT, now_s))
        self._live.clear()
        while self._backlog:
            self._tell_ended(with_others=True)
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PACE_S, self._take_turn)

    def _take_turn(self) -> None:
        now_s = time.time()
        ended = self._end_settled(now_s)
        self._turn += 1
        if self._teller.is_watched or self._turn % UNWATCHED == 0:
            self._tell_under_way(ended, now_s)
        self._tell_ended(with_others=self._turn % COUNTED == 0)
        if self._live or self._small or self._backlog:
            self._wait()
        else:
            self._timer = None

    def _end_settled(self, now_s: float) -> list[Live]:
        """Take the responses out whose end is known, and return them."""
        small, self._small = self._small, []
        for sent, origin in small:
            live = Live(sent, origin, next(self._ids))
            live.end = End.TAKEN
            self._live[live] = None
        settled = [(live, end) for live in self._live if live.end is not None and (end := live.settle()) is not None]
        for live, end in settled:
            del self._live[live]
            self._backlog.add(live.piece(end, now_s))
        return [live for live, _ in settled]

    def _tell_under_way(self, ended: Sequence[Live], now_s: float) -> None:
        """Tell of all responses under way, and once more of those that were and *ended*: their rows take a moment."""
        pieces = [live.piece(None, now_s) for live in (*self._live, *(live for live in ended if live.is_told))]
        for live in self._live:
            live.is_told = True
        if pieces or self._has_told:
            self._teller.tell_under_way(pieces)
        self._has_told = bool(pieces)

    def _tell_ended(self, *, with_others: bool) -> None:
        pieces = self._backlog.take(with_others=with_others)
        if pieces:
            self._teller.tell_ended(pieces)
