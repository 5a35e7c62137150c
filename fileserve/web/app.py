"""Puts the application together: lifespan, routes, and what FastAPI refuses as problem documents."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import fileserve
from fileserve.records import new_request_ids, request_id
from fileserve.settings import Settings, load_settings
from fileserve.storage.archives.archive import Format
from fileserve.web import operations
from fileserve.web.access import Action
from fileserve.web.archives import archive, archive_of_root
from fileserve.web.changes.changing import delete, make_directory, move
from fileserve.web.changes.forms import post
from fileserve.web.changes.putting import put
from fileserve.web.changes.resumable import METHODS, resumable
from fileserve.web.chat.questions import chat_routes
from fileserve.web.digests.checksums import checksum
from fileserve.web.downloads import download
from fileserve.web.files import files
from fileserve.web.openapi import document as openapi
from fileserve.web.openapi.changes import OPERATIONS
from fileserve.web.openapi.uploads import UPLOADS
from fileserve.web.opening import open_site
from fileserve.web.operator import behind_link
from fileserve.web.pages import assets, docs
from fileserve.web.pages.browse import browse, home
from fileserve.web.pages.live import live
from fileserve.web.pages.offering import sign_in
from fileserve.web.probing import probing_routes
from fileserve.web.problems import Problem, failure
from fileserve.web.routes import NameRoutes, Operation
from fileserve.web.streams.topics import TOPICS, events, stream_of

NAME_ROUTES = {
    b"/": home,
    b"/browse": browse,
    b"/download": download,
    b"/api/files": files,
    b"/archive": archive,
    b"/archive.tar": archive_of_root(Format.TAR),
    b"/archive.zip": archive_of_root(Format.ZIP),
    b"/checksum": checksum,
}
ASKED_WITHIN = {  # routes that know only by their topic or their query whether to ask for the operator
    **{f"/events/{name}".encode(): stream_of(topic) for name, topic in TOPICS.items()},
    b"/events": events,
    b"/live": behind_link(live),
}
CHANGES = {
    (b"/upload", "PUT"): Operation(Action.UPLOAD, put),
    (b"/upload", "POST"): Operation(Action.UPLOAD, post),
    (b"/sign-in", "GET"): Operation(Action.UPLOAD, sign_in),
    (b"/api/files", "DELETE"): Operation(Action.DELETE, delete),
    (b"/api/files", "MKCOL"): Operation(Action.UPLOAD, make_directory),
    (b"/api/files", "MOVE"): Operation(Action.MOVE, move),
    **{(b"/uploads", method): Operation(Action.PROBE, resumable) for method in METHODS},  # asks within
}


NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


class Application(FastAPI):
    """FastAPI with the name routes in front.

    A request for bytes passes none of FastAPI's layers, which together take as long as planning the answer and
    opening the file. Middleware that is added to the application therefore does not see it; wrap the application from
    outside to reach every request.
    """

    def __init__(self, published_under: str, **options: Any) -> None:
        super().__init__(**options)
        self._published_under = published_under
        asked_within = {
            (prefix, method): Operation(Action.PROBE, handler)
            for prefix, handler in ASKED_WITHIN.items()
            for method in ("GET", "HEAD")
        }
        self._request_ids = new_request_ids()
        self.server_state: dict[str, Any] = {}  # of the lifespan, which server and application share
        self._entrance = NameRoutes(self._answer_others, NAME_ROUTES, asked_within | CHANGES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: those for names here, every other by FastAPI."""
        if self._published_under:
            scope["root_path"] = self._published_under
        if scope["type"] != "lifespan" and "fileserve" not in scope.get("extensions", ()):
            request_id.set(next(self._request_ids))  # our server gives each request an id itself
        await self._entrance(scope, receive, send)

    async def _answer_others(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.server_state = scope.get("state", {})
            self._request_ids = new_request_ids()  # a server may have forked since the application was made
        await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None, *, telemetry: TelemetryConfig | None = None) -> FastAPI:
    """Return the ASGI application; without *settings*, with those of the environment and ``fileserve.toml``.

    *telemetry* is FastAPI's own configuration of OpenTelemetry, for its routes.

    Policy: without it there is none, though FastAPI's default would be to use whatever providers the process has: what
    a request holds, and stack traces, are sent to nobody unless the host application asks for it here.
    """
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        state = app.server_state if isinstance(app, Application) else {}
        async with open_site(chosen, state) as site:
            yield {"site": site}

    app = Application(
        chosen.root_path,
        title="fileserve",
        version=fileserve.__version__,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY if telemetry is None else telemetry,
        docs_url=None,  # pages.docs
        redoc_url=None,
        redirect_slashes=False,  # the router would redirect to the host that the client claims
        exception_handlers={
            Problem: _raised_problem,
            Exception: _failure_problem,
            HTTPException: _http_problem,
            RequestValidationError: _validation_problem,
        },
    )
    app.include_router(operations.router)
    app.include_router(assets.router)
    app.include_router(docs.router)
    app.include_router(chat_routes(chosen))
    app.include_router(probing_routes(chosen))
    openapi.describe_routes(app, OPERATIONS | UPLOADS)
    return app


async def _raised_problem(request: Request, error: Problem) -> Response:
    return error.response(request.scope)


async def _failure_problem(request: Request, error: Exception) -> Response:
    """Answer a fault of ours, which Starlette raises on for the server to log."""
    return failure().response(request.scope)


async def _http_problem(request: Request, error: HTTPException) -> Response:
    """Answer what the router refuses: no such route, or no such method of it."""
    detail = "There is nothing at this address." if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    return Problem(HTTPStatus(error.status_code), detail, fields=error.headers).response(request.scope)


async def _validation_problem(request: Request, error: RequestValidationError) -> Response:
    reasons = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, reasons).response(request.scope)
