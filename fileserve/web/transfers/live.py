"""``Live``: one response with content, from its beginning until all is known of its end.

It tells as a `Piece` what its client has taken, of what, and from where on the client wants it. How far that has come
is asked of its `Account`. Left out: when that is told, and to whom (``progress``).
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

from starlette.types import Scope

from fileserve.records import request_id
from fileserve.semantics.coverage import goes_on, taken_spans
from fileserve.semantics.plan import ResponsePlan, Segment
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.storage.names import Name, display_name
from fileserve.web.transfers.account import Account, Handed
from fileserve.web.transfers.pieces import End, Piece, Subject

__all__ = ["Live", "Origin", "Request", "Sent", "begun"]

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
    def address(self) -> str | None:
        """The client's address."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Its header fields."""


Origin: TypeAlias = tuple[Request, str]  # who asked, and by which route


class Sent(Handed, Protocol):
    """A response."""

    plan: ResponsePlan


class Live:
    """One response with content, until all is known of its end.

    More attributes than elsewhere: a second object would cost each response memory, and its request time.
    """

    __slots__ = ("_segments", "account", "began_s", "ended_s", "floor", "id", "is_told", "request", "subject")

    def __init__(self, sent: Sent, origin: Origin, id: str) -> None:
        request, plan = origin[0], sent.plan
        self.id = id
        self.request = request_id.get()
        self.account = Account(request.scope, sent, plan.content_length)
        self.began_s = time.time()
        self.ended_s: float | None = None  # unless its last bytes took longer, which shows in the next turn
        self.subject = _subject_of(origin, plan)
        self.floor = _floor_of(origin, plan)
        self.is_told = False
        self._segments = plan.segments

    def piece(self, end: End | None, now_s: float) -> Piece:
        """Return what was taken until now."""
        taken = self.account.taken
        ids = (self.id,) if self.is_told or end is None else ()
        first, spans = _first(self._segments), tuple(taken_spans(self._segments, taken))
        requests = (self.request,) if self.request else ()
        return Piece(self.subject, ids, (self.began_s, now_s), first, self.floor, taken, spans, end, requests)


def begun(plan: ResponsePlan, origin: Origin, id: str, now_s: float) -> Piece:
    """Return the piece of a response that others send, when it begins: nothing is known of it before it ends."""
    subject, floor, first = _subject_of(origin, plan), _floor_of(origin, plan), _first(plan.segments)
    requests = (request_id.get(),) if request_id.get() else ()
    return Piece(subject, (id,), (now_s, now_s), first, floor, 0, (), requests=requests, is_offloaded=True)


def _subject_of(origin: Origin, plan: ResponsePlan) -> Subject:
    request, route = origin
    assert plan.representation is not None, "a response without content is no transfer"
    client = request.scope.get("fileserve.user") or request.address or UNIX
    return _subject(client, route, request.name, plan.representation)


def _floor_of(origin: Origin, plan: ResponsePlan) -> int:
    resumes = plan.status == 206 and goes_on(origin[0].fields.get("range"))
    return _first(plan.segments) if resumes else 0


@lru_cache(maxsize=1024)
def _subject(client: str, route: str, name: Name, representation: Representation) -> Subject:
    path = "/".join(map(display_name, name)) or representation.filename
    return Subject(client, route, path, str(representation.etag), representation.length)


def _first(segments: Sequence[Segment]) -> int:
    """Return the first byte of the representation that is among *segments*."""
    return min(segment.start for segment in segments if isinstance(segment, Span))
