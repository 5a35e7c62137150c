"""Event streams: what every route of ``/events`` shares, whatever its events tell of.

Implements the event stream format and the reconnection of Server-Sent Events (HTML, §9.2), framed by FastAPI's
``format_sse_event``. A stream begins with ``retry:`` and an id before there is any event, so that a client which is
cut off early misses nothing either; each event carries its id; a comment keeps silent streams alive.

Strategy: a ``Source`` is asked for its next events when the last ones were taken by ``send``, so that a slow subscriber
costs the memory of one batch. One task writes; beside it the client and the server's draining are watched, and
whichever comes first ends the stream. The source is closed in every case, and cancellation goes on to the caller.

Left out: where events come from, and who may see them.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fileserve.storage.errors import StorageError
from fileserve.web.presence import disconnected
from fileserve.web.problems import problem_of
from fileserve.web.routes import NameRequest

log = logging.getLogger("fileserve.events")

KEEP_ALIVE_S = 15.0  # HTML §9.2.7: proxies drop what is silent for longer than some seconds
RETRY_MS = 1000
DRAIN_RETRY_MS = 2000  # a restart takes a moment
FAREWELL_S = 0.5  # how long a draining server waits for a subscriber to take the last words

_HEAD: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
    ],
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. *id* is where a client that has it goes on; *name* is its type, ``None`` that of unnamed messages.

    Neither contains a line break or NUL. A line break in *data*, CR and CRLF too, reaches the client as LF.
    """

    data: str
    id: str
    name: str | None = None
    _lines: dict[str | None, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """Return the event as it stands in the stream."""
        return b"%bid: %b\n\n" % (self.lines(self.name), self.id.encode())

    def lines(self, name: str | None) -> bytes:
        """Return the event's lines under *name*, all but that of its id; once for all streams that it is sent on."""
        lines = self._lines.get(name)
        if lines is None:
            lines = self._lines[name] = format_sse_event(data_str=self.data, event=name)[:-1]
        return lines


class Batch(tuple[Event, ...]):
    """Events for many subscribers, encoded once for all of them."""

    @cached_property
    def encoded(self) -> bytes:
        """The events as they stand in the stream."""
        return _encode(tuple(self))


class Encoded(Protocol):
    """One event or more, as they stand in the stream."""

    @property
    def id(self) -> str:
        """Where a client that has them goes on."""

    def encode(self) -> bytes:
        """Return the bytes."""


class Streamable(Protocol):
    """What a stream can be made of."""

    @property
    def start(self) -> str:
        """The id of a client that has got no event yet."""

    async def next(self) -> Sequence[Encoded]:
        """Wait for the next events and return them; none: there will be no more.

        Raises ``StorageError`` when there can be no more, which the client is told.
        """

    async def close(self) -> None:
        """Give back what is held."""


class Source(Streamable, Protocol):
    """Where the events of one topic come from."""

    async def next(self) -> Sequence[Event]:
        """Wait for the next events, as ``Streamable`` says."""


class EventStream:
    """The response with the events of *source*, which it owns from its making on: whoever makes one calls it."""

    keep_alive_s: ClassVar[float | None] = KEEP_ALIVE_S
    """After so many seconds without an event comes a comment; ``None``: never."""

    def __init__(self, source: Streamable) -> None:
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end, the client leaves, or the server drains."""
        try:
            await send(_HEAD)
            await self._stream(scope, receive, send)
        except ConnectionError:
            pass  # the client has left; a server that tells so expects no answer
        finally:
            await self._source.close()

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.ensure_future(self._write(send))
        gone = asyncio.ensure_future(disconnected(receive))
        ending = [asyncio.ensure_future(draining.wait()) for draining in _draining_of(scope)]
        try:
            await asyncio.wait((writing, gone, *ending), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
            elif not gone.done():
                await _stop(writing)
                await _take_leave(send)
        finally:
            await _stop(writing, gone, *ending)

    async def _write(self, send: Send) -> None:
        # Its own field first, and in one block with the id: a block without one would forget the id that a client has.
        await _send(send, b"retry: %d\n" % RETRY_MS + format_sse_event(id=self._source.start))
        last = self._source.start
        try:
            while events := await self._next(send):
                await _send(send, _encode(events))
                last = events[-1].id
        except StorageError as error:
            log.warning("event stream ended: %s", error)
            await _send(send, Event(json.dumps({"detail": problem_of(error).detail}), last, "error").encode())
        await _send(send, b"", more_body=False)

    async def _next(self, send: Send) -> Sequence[Encoded]:
        """Return the next events, and send comments until there are some.

        The wait is a task, so every round of the stream lets the loop turn, however fast source and client are.
        """
        waiting = asyncio.ensure_future(self._source.next())
        try:
            while not (await asyncio.wait((waiting,), timeout=self.keep_alive_s))[0]:
                await _send(send, KEEPALIVE_COMMENT)
            return waiting.result()
        finally:
            await _stop(waiting)


class Streamed(Response):
    """A stream as FastAPI takes it from a route."""

    def __init__(self, stream: ASGIApp) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        await self._stream(scope, receive, send)


async def answer_head(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer HEAD: the fields of an event stream alone."""
    await send(_HEAD)
    await _send(send, b"", more_body=False)


def last_event_id(request: NameRequest) -> str | None:
    """Return the id of the last event that the client has got.

    ``Last-Event-ID`` comes before ``?last_event_id=``: an EventSource that was made with the parameter goes on sending
    it when it reconnects, while the field grows.
    """
    return request.fields.get("last-event-id") or request.query.get("last_event_id") or None


def reset(start: str) -> Event:
    """Return the event that says: the id was not understood, or is of something that has changed; all is told anew."""
    return Event("{}", start, "reset")


def _draining_of(scope: Scope) -> list[asyncio.Event]:
    """Return what our protocol sets when the server drains; other servers have nothing of the kind."""
    extension = scope.get("extensions", {}).get("fileserve", {})
    return [extension["draining"]] if "draining" in extension else []


def _encode(events: Sequence[Encoded]) -> bytes:
    return events.encoded if isinstance(events, Batch) else b"".join([event.encode() for event in events])


async def _send(send: Send, body: bytes, *, more_body: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more_body})


async def _take_leave(send: Send) -> None:
    """End the stream of a server that drains.

    Policy: a subscriber that does not take the last words in time is left with an unfinished stream, which breaks its
    connection. It reconnects either way.
    """
    try:
        async with asyncio.timeout(FAREWELL_S):
            await _send(send, b"retry: %d\n\n" % DRAIN_RETRY_MS, more_body=False)
    except TimeoutError:
        log.info("a subscriber does not read; its stream is broken off")


async def _stop(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what still runs, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
