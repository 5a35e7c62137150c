"""What the server itself answers, in place of the application.

One table: why a request or a connection is refused, with its status and the sentence that the client gets, as a problem
document (RFC 9457). A refused head ends its connection, because where the next request would begin is not known any
more (RFC 9112 §9.3); a refused transfer does not.

Left out: everything that the application answers, 404 and the like.
"""

import json
from enum import Enum
from http import HTTPStatus

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from fileserve.server.clock import format_date


class Refusal(Enum):
    """A reason to refuse: status, what the client is told, and whether to come back later makes sense."""

    MALFORMED = 400, "The request is not well-formed HTTP/1.1.", False  # RFC 9112 §2.2, §6.3
    OLD_FRAMING = 400, "A request of HTTP/1.0 has no Transfer-Encoding.", False  # RFC 9112 §6.1
    BAD_HOST = 400, "The request needs exactly one valid Host field.", False  # RFC 9112 §3.2
    BAD_TARGET = 400, "The request target is not one that this method can have.", False  # RFC 9112 §3.2
    SLOW_HEAD = 408, "The request head did not arrive in time.", False  # RFC 9110 §15.5.9
    SLOW_CONTENT = 408, "The request's content arrived too slowly, or not at all.", False  # RFC 9110 §15.5.9
    LONG_TARGET = 414, "The request target is too long.", False  # RFC 9110 §15.5.15
    EXPECTATION = 417, "No expectation but 100-continue is met here.", False  # RFC 9110 §10.1.1, §15.5.18
    LARGE_HEAD = 431, "The request's head or trailers have too many bytes or fields.", False  # RFC 6585 §5
    CONNECTIONS = 429, "This client has too many connections.", True  # RFC 6585 §4
    TRANSFERS = 429, "This client has too many transfers at once.", True  # RFC 6585 §4
    TUNNEL = 501, "This server is no proxy and opens no tunnels.", False  # RFC 9110 §9.3.6, §15.6.2
    FULL = 503, "The server has too many connections.", True  # RFC 9110 §15.6.4
    BAD_VERSION = 505, "This server speaks HTTP/1.1.", False  # RFC 9110 §15.6.6

    def __init__(self, status: int, detail: str, temporary: bool) -> None:
        self.status = status
        self.detail = detail
        self.temporary = temporary

    def content(self) -> bytes:
        """Return the problem document. RFC 9457 §3."""
        title = HTTPStatus(self.status).phrase
        return json.dumps({"title": title, "status": self.status, "detail": self.detail}).encode()

    def fields(self, retry_after_s: int) -> list[tuple[bytes, bytes]]:
        """Return the header fields that go with `content`."""
        fields = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(self.content())),
            (b"cache-control", b"no-store"),
        ]
        if self.temporary:
            fields.append((b"retry-after", b"%d" % retry_after_s))
        return fields

    def response(self, now_s: int, retry_after_s: int) -> bytes:
        """Return a whole last response of a connection, as it goes on the wire."""
        phrase = HTTPStatus(self.status).phrase.encode()
        fields = [(b"date", format_date(now_s)), *self.fields(retry_after_s), (b"connection", b"close")]
        lines = [b"HTTP/1.1 %d %s" % (self.status, phrase), *(b"%s: %s" % field for field in fields)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.content()

    def application(self, retry_after_s: int) -> ASGI3Application:
        """Return an ASGI application that answers each request with this refusal and keeps the connection."""

        async def refuse(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            headers = self.fields(retry_after_s)
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": self.content(), "more_body": False})

        return refuse
