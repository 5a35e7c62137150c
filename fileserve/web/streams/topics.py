"""``GET /events/{topic}`` and ``GET /events?topic=…&topic=…``: what can be watched, alone or several on one connection.

A browser allows six connections to a host, and a page wants more than that. On a common stream, a topic is written as
its address is beneath ``/events``, with a colon before the path: ``logs``, ``tail:app.log``, ``checksum:a%20b.bin``.
The query's other parameters are those of the topics. ``several`` says what becomes of names and ids of the events.

Rights are asked for each topic before any of them is opened. One that cannot be opened, or that ends, leaves the others
going; where none can be, the answer is what it would be for the first alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fileserve.storage.errors import NotFound
from fileserve.storage.names import Name, parse_name
from fileserve.web.access import Action, authorize, is_operator
from fileserve.web.metrics.counts import SiteCounts
from fileserve.web.problems import Problem
from fileserve.web.routes import Handler, NameRequest
from fileserve.web.streams.digesting import open_progress
from fileserve.web.streams.events import EventStream, Source, answer_head, last_event_id
from fileserve.web.streams.logs import open_logs
from fileserve.web.streams.several import open_several
from fileserve.web.streams.tail import open_lines
from fileserve.web.transfers.stream import open_transfers

MOST = 16
# Policy: a stream holds no more descriptors than a connection is counted for, its socket and two files; else few
# connections could take them from everybody.
FILES = 2

#: Opens the events after the id that the client was told last; ``None``: there is nothing left to be told.
Open = Callable[[NameRequest, str | None], Awaitable[Source | None]]


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of events: what a client must be allowed, how they are opened, and whether they are of a named file."""

    action: Action
    open: Open
    has_name: bool = False


TOPICS: Mapping[str, Topic] = {
    "checksum": Topic(Action.READ, open_progress, has_name=True),
    "logs": Topic(Action.OPERATE, open_logs),
    "tail": Topic(Action.READ, open_lines, has_name=True),
    "transfers": Topic(Action.OPERATE, open_transfers),
}


class Counted:
    """A *stream* that is counted for as long as it is sent."""

    def __init__(self, stream: ASGIApp, counts: SiteCounts) -> None:
        self._stream = stream
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        self._counts.streams += 1
        try:
            await self._stream(scope, receive, send)
        finally:
            self._counts.streams -= 1


def stream_of(topic: Topic) -> Handler:
    """Return the handler that answers with the events of *topic*. HEAD opens none of them."""

    async def answer(request: NameRequest) -> ASGIApp:
        await authorize(request.scope, topic.action)
        if request.name and not topic.has_name:
            raise NotFound
        if request.scope["method"] == "HEAD":
            if topic.has_name:
                (await request.site.root.open(request.name)).close()
            return answer_head
        source = await topic.open(request, last_event_id(request))
        return _nothing_left() if source is None else Counted(EventStream(source), request.site.measuring.counts)

    return answer


async def events(request: NameRequest) -> ASGIApp:
    """Answer with the events of all topics that the query names. HEAD opens none of them."""
    if request.name:
        raise NotFound
    asked = {text: _parse(text) for key, text in request.parameters if key == "topic"}
    if not 0 < len(asked) <= MOST:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"topic is given once or more, and for {MOST} topics at most.")
    if sum(topic.has_name for topic, _ in asked.values()) > FILES and not is_operator(request.scope):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"One stream tells of {FILES} files at most, and of more only to the operator, with the token.",
        )
    for topic, _ in asked.values():
        await authorize(request.scope, topic.action)
    if request.scope["method"] == "HEAD":
        return answer_head
    openers = {text: partial(topic.open, replace(request, name=name)) for text, (topic, name) in asked.items()}
    source = await open_several(openers, last_event_id(request))
    return _nothing_left() if source is None else Counted(EventStream(source), request.site.measuring.counts)


def _parse(text: str) -> tuple[Topic, Name]:
    """Return the topic that *text* names, and the name of its file. Raises a ``Problem`` or ``InvalidName``."""
    kind, colon, path = text.partition(":")
    topic = TOPICS.get(kind)
    if topic is None or topic.has_name != bool(colon) or not text.isprintable():
        known = ", ".join(f"{name}:{{path}}" if known.has_name else name for name, known in TOPICS.items())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"topic is one of {known}, with a percent-encoded path.")
    return topic, parse_name(path.encode())[0]


def _nothing_left() -> Response:
    """Return the answer that makes an EventSource stop coming back (HTML §9.2.3)."""
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"cache-control": "no-store"})
