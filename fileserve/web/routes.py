"""Dispatch of the routes that carry a file's name, on the raw path, before FastAPI's router.

A name is bytes. The router matches decoded text: it answers 404 to a name with a newline, sees U+FFFD for a byte that
is no UTF-8, and cannot tell ``%2F`` from ``/``. Here the path is split first and each component is decoded once, by
``storage.names``.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from starlette.types import ASGIApp, Receive, Scope, Send

from fileserve.semantics.fields import combine_fields
from fileserve.storage.errors import Busy, StorageError
from fileserve.storage.names import Name, parse_name, parse_new_name
from fileserve.web.access import Action, authorize
from fileserve.web.clients import client_of
from fileserve.web.presence import ClientLeft
from fileserve.web.problems import Problem, allow_only, failure, problem_of
from fileserve.web.site import Site, site_of

log = logging.getLogger("fileserve.web")

CACHED_DATE_NS = 2_000_000_000
_READING = ("GET", "HEAD")


@dataclass(slots=True)
class NameRequest:
    """A request whose path ends in a name beneath the served root."""

    scope: Scope
    receive: Receive
    site: Site
    name: Name
    trailing_slash: bool
    now_ns: int
    _fields: Mapping[str, str] | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """The values of its header fields by lower-case name. Combined when first asked for: a plain GET needs none."""
        if self._fields is None:
            self._fields = combine_fields(self.scope["headers"])
        return self._fields

    @property
    def now_s(self) -> int:
        """The instant of the request, in whole seconds since 1970: what Date says."""
        return self.now_ns // 1_000_000_000

    @property
    def address(self) -> str | None:
        """The client's address; ``None`` where it has none, on a Unix socket."""
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def client(self) -> str | None:
        """What stands for the client where clients are counted; ``None`` where it has no address, on a Unix socket."""
        return client_of(self.scope)

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one, the last."""
        return dict(self.parameters)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's parameters in their order, repeated ones too."""
        return parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)


Handler = Callable[[NameRequest], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method does with a name, and the right that it needs."""

    action: Action
    handler: Handler


class NameRoutes:
    """An ASGI application that answers ``{prefix}/{name}`` for its routes and passes everything else on.

    *routes* are read by GET and HEAD; *changes* tells by prefix and method what else is done with a name.
    """

    def __init__(
        self, app: ASGIApp, routes: Mapping[bytes, Handler], changes: Mapping[tuple[bytes, str], Operation]
    ) -> None:
        self.app = app
        self.routes = routes
        reads = {(prefix, method): Operation(Action.READ, routes[prefix]) for prefix in routes for method in _READING}
        self._operations: Mapping[tuple[bytes, str], Operation] = {**reads, **changes}
        prefixes = sorted({prefix for prefix, _ in self._operations}, key=len, reverse=True)  # the longest that fits
        self._path = re.compile(rb"(%b)(?:/(.*))?" % b"|".join(map(re.escape, prefixes)), re.DOTALL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a route's path; let the application answer any other."""
        path = self._path.fullmatch(site_path(scope)) if scope["type"] == "http" else None
        if path is None:
            return await self.app(scope, receive, send)
        operation = self._operations.get((path[1], scope["method"])) or self._refusing(path[1])
        response = await answer(operation, scope, receive, path[2] or b"")
        await response(scope, receive, send)

    def _refusing(self, prefix: bytes) -> Operation:
        """Return what answers a method that names under *prefix* do not have."""
        allowed = [method for at, method in self._operations if at == prefix]

        async def refuse(request: NameRequest) -> ASGIApp:
            raise allow_only(*allowed)

        return Operation(Action.READ, refuse)


async def answer(operation: Operation, scope: Scope, receive: Receive, encoded_name: bytes) -> ASGIApp:
    """Return what the handler of *operation* answers, or the problem document of the error that it ended in."""
    try:
        await authorize(scope, operation.action)
        gives_name = operation.action is Action.UPLOAD
        name, trailing_slash = (parse_new_name if gives_name else parse_name)(encoded_name)
        # An upload may take hours; the instant of its response is then not that of its request.
        now_ns = time.time_ns() if operation.action.changes else instant(scope)
        request = NameRequest(scope, receive, site_of(scope), name, trailing_slash, now_ns)
        return await operation.handler(request)
    except StorageError as error:
        return problem_of(error).response(scope)
    except Problem as problem:
        return problem.response(scope)
    except ClientLeft:
        return problem_of(Busy("the client has left")).response(scope)  # which nobody reads
    except Exception:
        log.exception("a request failed")
        return failure().response(scope)


def instant(scope: Scope) -> int:
    """Return the instant of the response, in nanoseconds since 1970: that of its Date, or one that is not later.

    Our protocol tells its own. Another server's Date may be cached, uvicorn's for up to two seconds, and
    Last-Modified must not pass it (RFC 9110 §8.8.2.1).
    """
    extension = scope.get("extensions", {}).get("fileserve")
    if extension is None:
        return time.time_ns() - CACHED_DATE_NS
    now_ns: int = extension["now_ns"]()
    return now_ns


def site_path(scope: Scope) -> bytes:
    """Return the undecoded path beneath the root path under which a proxy publishes the site."""
    raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    root_path = scope.get("root_path")
    return raw_path.removeprefix(root_path.encode()) if root_path and _is_beneath(raw_path, root_path) else raw_path


def _is_beneath(raw_path: bytes, root_path: str) -> bool:
    return raw_path.startswith(root_path.encode() + b"/")
