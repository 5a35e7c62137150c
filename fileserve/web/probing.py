"""``/check-proxy``: what ``fileserve check-proxy`` asks to find out what stands between a client and this server.

Whoever may read may ask. Each answer tells a client of its own request alone: nothing of files, of others, or of
credentials that a proxy adds. Streams are few at once in a worker, fewer of one client, and end within minutes.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fileserve.semantics.fields import combine_fields
from fileserve.settings import Settings
from fileserve.web.access import Action, authorize
from fileserve.web.clients import client_of
from fileserve.web.openapi.parts import PRIVATE, problems
from fileserve.web.places import Places
from fileserve.web.presence import while_present
from fileserve.web.problems import Problem
from fileserve.web.streams.events import Event, EventStream, Streamed

log = logging.getLogger("fileserve.probing")

AT_ONCE = 8
OF_ONE_CLIENT = 2  # it asks one thing at a time; that it has left the one before is not always known at once
MOST_EVENTS = 20
LONGEST_MS = 120_000  # of a whole stream: longer than the silence of 60 s that proxies bear as they are shipped
CONTENT_S = 150  # fileserve check-proxy gives up before
BLOCK = 64 * 1024
BLOCKS = 1024  # 64 MiB: several times what the kernel holds on the way to a client that does not read
STAMP_DIGITS = 8
_FILLING = bytes(BLOCK - STAMP_DIGITS)
_CONTENT_FIELDS = [
    (b"content-type", b"application/octet-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),  # as downloads say it
]


class Arrival(BaseModel):  # so many fields, as the document has them
    """A request as it has arrived."""

    http_version: str = Field(description="Of the last hop.")
    path: str = Field(description="As it stood in the request line.")
    scheme: str = Field(description="That the site takes for the client's.")
    host: str | None
    connection: str | None = Field(description="The field of the last hop.")
    hops: int = Field(description="How many addresses stand in X-Forwarded-For.")
    is_forwarded_proto: bool = Field(description="Whether X-Forwarded-Proto has arrived.")
    client: str | None = Field(description="The address that is believed of X-Forwarded-For; null if none is.")
    request_id: str | None = Field(description="X-Request-ID.")


def _answers(media_type: str, *statuses: str) -> dict[int | str, dict[str, Any]]:
    refusals = PRIVATE | problems(*statuses)
    return {200: {"content": {media_type: {}}}, **{int(status): refusal for status, refusal in refusals.items()}}


def probing_routes(settings: Settings) -> APIRouter:
    """Return the routes of ``/check-proxy``."""
    router = APIRouter(prefix="/check-proxy", tags=["operations"])
    places = Places(AT_ONCE, OF_ONE_CLIENT, settings.retry_after, "questions about the proxy")

    @router.get("/request/{path:path}", responses=_answers("application/json"))
    async def request(request: Request) -> Arrival:
        """Tell how this request has arrived."""
        await authorize(request.scope, Action.READ)
        return _arrival(request.scope)

    @router.get("/events", response_class=Response, responses=_answers("text/event-stream", "422", "429", "503"))
    async def events(
        request: Request,
        count: Annotated[int, Query(ge=1, le=MOST_EVENTS)] = 5,
        interval_ms: Annotated[int, Query(ge=1, le=LONGEST_MS)] = 200,
    ) -> Response:
        """Send *count* events, *interval_ms* apart, and nothing between them; each tells when it was sent.

        All come within two minutes.
        """
        await authorize(request.scope, Action.READ)
        if (count - 1) * interval_ms > LONGEST_MS:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"The events have to come within {LONGEST_MS} ms.")
        return Streamed(SilentStream(Ticks(count, interval_ms / 1000, places.held(client_of(request.scope)))))

    @router.get("/content", response_class=Response, responses=_answers("application/octet-stream", "429", "503"))
    async def content(request: Request) -> Response:
        """Send 64 MiB in blocks, each of which begins with the milliseconds at which it was sent, in eight digits."""
        await authorize(request.scope, Action.READ)
        return Streamed(Stamped(places.held(client_of(request.scope))))

    return router


def _arrival(scope: Scope) -> Arrival:
    fields = combine_fields(scope["headers"])
    client = scope.get("client")
    return Arrival(
        http_version=scope["http_version"],
        path=scope["raw_path"].decode("latin-1"),
        scheme=scope["scheme"],
        host=fields.get("host"),
        connection=fields.get("connection"),
        hops=len(list(filter(None, fields.get("x-forwarded-for", "").split(",")))),
        is_forwarded_proto="x-forwarded-proto" in fields,
        client=client[0] if client and not client[1] else None,  # a port goes with the address of a peer
        request_id=fields.get("x-request-id"),
    )


class SilentStream(EventStream):
    """A stream without comments: how long a proxy bears its silence is the question."""

    keep_alive_s = None


class Ticks:
    """Events at known instants, as the source of a stream. Holds a place, which it was given, until it is closed."""

    start = "0"

    def __init__(self, count: int, interval_s: float, place: ExitStack) -> None:
        self._count = count
        self._interval_s = interval_s
        self._place = place
        self._begin_s = time.monotonic()
        self._sent = 0

    async def next(self) -> Sequence[Event]:
        """Wait for the next instant; the first is now."""
        if self._sent == self._count:
            return ()
        await asyncio.sleep(self._begin_s + self._sent * self._interval_s - time.monotonic())
        self._sent += 1
        return (Event(str(_milliseconds_since(self._begin_s)), str(self._sent)),)

    async def close(self) -> None:
        """Give the place back."""
        self._place.close()


class Stamped:
    """The response with the blocks. Holds a place, which it was given, until its end."""

    def __init__(self, place: ExitStack) -> None:
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the blocks as fast as they are taken; those that are not taken in time are left out.

        By ASGI the server then has to break the connection.
        """
        try:
            with suppress(ConnectionError):  # the client has left; a server that tells so expects no answer
                async with asyncio.timeout(CONTENT_S):
                    await while_present(receive, self._send_blocks(send))
        except TimeoutError:
            log.info("the content for a check of the proxy was not taken within %s s", CONTENT_S)
        finally:
            self._place.close()

    async def _send_blocks(self, send: Send) -> None:
        fields = [*_CONTENT_FIELDS, (b"content-length", b"%d" % (BLOCK * BLOCKS))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        begin_s = time.monotonic()
        for number in range(1, BLOCKS + 1):
            body = b"%0*d" % (STAMP_DIGITS, _milliseconds_since(begin_s)) + _FILLING
            await send({"type": "http.response.body", "body": body, "more_body": number < BLOCKS})
            await asyncio.sleep(0)  # where nothing has to be waited for, others have their turn


def _milliseconds_since(begin_s: float) -> int:
    return int((time.monotonic() - begin_s) * 1000)
