"""Whose response it is, and of what: from a request and its plan to the subject and the first piece of a transfer."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

from starlette.types import Scope

from fileserve.semantics.coverage import goes_on
from fileserve.semantics.plan import ResponsePlan, Segment
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.storage.names import Name, display_name
from fileserve.web.transfers.pieces import Piece, Subject

__all__ = ["Origin", "Request", "begun", "first_of", "floor_of", "subject_of"]

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
    def client(self) -> str | None:
        """The client's address."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Its header fields."""


Origin: TypeAlias = tuple[Request, str]  # who asked, and by which route


def begun(plan: ResponsePlan, origin: Origin, id: str, now_s: float) -> Piece:
    """Return the piece of a response that others send, when it begins: nothing is known of it before it ends."""
    subject, floor = subject_of(origin, plan), floor_of(origin, plan)
    return Piece(subject, (id,), (now_s, now_s), first_of(plan.segments), floor, 0, (), is_offloaded=True)


def subject_of(origin: Origin, plan: ResponsePlan) -> Subject:
    """Return who downloads what."""
    request, route = origin
    assert plan.representation is not None, "a response without content is no transfer"
    client = request.scope.get("fileserve.user") or request.client or UNIX
    return _subject(client, route, request.name, plan.representation)


def floor_of(origin: Origin, plan: ResponsePlan) -> int:
    """Return from which byte on the client wants everything."""
    resumes = plan.status == 206 and goes_on(origin[0].fields.get("range"))
    return first_of(plan.segments) if resumes else 0


@lru_cache(maxsize=1024)
def _subject(client: str, route: str, name: Name, representation: Representation) -> Subject:
    path = "/".join(map(display_name, name)) or representation.filename
    return Subject(client, route, path, str(representation.etag), representation.length)


def first_of(segments: Sequence[Segment]) -> int:
    """Return the first byte of the representation that is among *segments*."""
    return min(segment.start for segment in segments if isinstance(segment, Span))
