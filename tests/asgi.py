"""An ASGI client of bare ``receive`` and ``send``: it sees each message, asks for any raw path, and can leave early."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.types import Message

from fileserve import Settings, create_app

ZERO_COPY = "http.response.zerocopysend"


@dataclass
class Answer:
    """What came back: *finished* tells whether the application said that the content was all of it."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    finished: bool = False
    messages: int = 0
    chunks_read: int = 0

    def __getitem__(self, name: str) -> str:
        return self.fields[name]


@dataclass
class Client:
    """Asks one application whose lifespan has begun."""

    app: FastAPI
    state: Mapping[str, Any]
    root_path: str = ""
    zero_copy: bool = False
    is_proxied: bool = False
    address: str = "127.0.0.1"
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, path: str, fields: Mapping[str, str] | None = None, **options: Any) -> Answer:
        """Send a GET for the raw *path*, which may carry a query."""
        return await self.request("GET", path, fields, **options)

    async def request(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        content: Sequence[bytes] = (),
        breaks_off: bool = False,
        leave_after: int | None = None,
        meanwhile: tuple[int, Callable[[], None]] | None = None,
    ) -> Answer:
        """Return the answer; with *leave_after*, the client leaves once it has got so many bytes of content.

        *meanwhile* says what happens, once, when so many bytes have come. *content* is sent in these chunks; a client
        that *breaks_off* leaves behind the last one.
        """
        answer, gone = Answer(), asyncio.Event()
        chunks = list(content)

        async def receive() -> Message:
            if answer.chunks_read < len(chunks) or not (answer.chunks_read or breaks_off):
                body = chunks[answer.chunks_read] if chunks else b""
                answer.chunks_read += 1
                return {
                    "type": "http.request",
                    "body": body,
                    "more_body": answer.chunks_read < len(chunks) or breaks_off,
                }
            if not breaks_off:
                await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if gone.is_set():
                return  # as uvicorn does: silence
            record(answer, message)
            nonlocal meanwhile
            if meanwhile is not None and len(answer.content) >= meanwhile[0]:
                meanwhile[1]()
                meanwhile = None
            if leave_after is not None and len(answer.content) >= leave_after:
                gone.set()

        await self.app(self._scope(method, path, fields or {}), receive, send)
        return answer

    def _scope(self, method: str, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
        raw_path, _, query = path.partition("?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode("latin-1"),
            "root_path": self.root_path,
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()],
            "server": ("127.0.0.1", 80),
            "client": (self.address, 1),
            "state": dict(self.state),
            "extensions": {
                "fileserve": {"now_ns": time.time_ns, "leaving": self.leaving, "is_proxied": self.is_proxied}
            }
            | ({ZERO_COPY: {}} if self.zero_copy else {}),
        }


def record(answer: Answer, message: Message) -> None:
    """Add what *message* says to *answer*."""
    answer.messages += 1
    if message["type"] == "http.response.start":
        answer.status = message["status"]
        answer.fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
    else:
        answer.content += content_of(message)
        answer.finished = not message.get("more_body", False)


def content_of(message: Message) -> bytes:
    """Return the content that a message carries, or that it names in a file."""
    if message["type"] == ZERO_COPY:
        return os.pread(message["file"], message["count"], message["offset"])
    body: bytes = message.get("body", b"")
    return body


@asynccontextmanager
async def client_of(settings: Settings, *, zero_copy: bool = False) -> AsyncIterator[Client]:
    """Make the application of *settings* and run its lifespan for the length of the block."""
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        yield Client(app, state or {}, zero_copy=zero_copy)
