"""The real application with event streams of a test's own: it tells, breaks off, refuses and falls silent as told."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from fileserve import Settings, create_app
from tests.server.harness import Served, serving

BREAK = b""
STALL = b"stall"  # in an answer: say nothing more until the page leaves
STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


@dataclass
class Stage:
    """What the page gets. Used from the test's thread, but for ``__call__``."""

    app: ASGIApp
    statuses: list[int] = field(default_factory=list)  # of the next answers to /events; then 200
    greeting: list[bytes] = field(default_factory=list)  # what each stream begins with
    asked: list[dict[str, list[str]]] = field(default_factory=list)  # the queries of the streams
    answer: list[bytes] | None = None  # what POST /chat says; None: the application's own answer
    _served: Served | None = None
    _streams: set[asyncio.Queue[bytes]] = field(default_factory=set)

    @property
    def url(self) -> str:
        assert self._served is not None
        return f"http://127.0.0.1:{self._served.address[1]}"

    def tell(self, *events: bytes) -> None:
        """Send *events* to every page that listens."""
        assert self._served is not None
        self._served.call(lambda: self._put(b"".join(events)))

    def _put(self, news: bytes) -> None:
        for stream in self._streams:
            stream.put_nowait(news)

    def break_off(self, *statuses: int) -> None:
        """End all streams without a word, and answer those who come back with *statuses* first."""
        self.statuses += statuses
        self.tell(BREAK)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == "/events":
            await self._events(scope, receive, send)
        elif path == "/chat" and self.answer is not None:
            await self._chat(receive, send)
        else:
            await self.app(scope, receive, send)

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        status = self.statuses[0] if self.statuses else 200
        if status != 200:
            if scope["method"] == "GET":
                self.statuses.pop(0)
            await self._refuse(status, send)
            return
        self.asked.append(query)
        stream: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams.add(stream)
        gone = asyncio.ensure_future(_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": STREAM})
            await _say(send, b"retry: 1000\nid: begun\n\n" + b"".join(self.greeting))
            while (news := await _first(gone, stream)) != BREAK:
                await _say(send, news)
        finally:
            gone.cancel()
            self._streams.discard(stream)

    async def _refuse(self, status: int, send: Send) -> None:
        content = json.dumps({"title": "No", "status": status, "detail": "No."}).encode()
        head = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})

    async def _chat(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM})
        for piece in self.answer or ():
            if piece == STALL:
                await _left(receive)
                return
            await _say(send, piece)
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})


def event(data: Any, name: str = "", id: str = "") -> bytes:
    """Return an event of the stream; *data* that is no text as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    fields = [f"event: {name}"] * bool(name) + [f"id: {id}"] * bool(id) + [f"data: {text}"]
    return ("\n".join(fields) + "\n\n").encode()


def transfer(id: str, **given: Any) -> dict[str, Any]:
    """Return a transfer as the events of "transfers" have it: half a GiB of one, over one connection."""
    length = given.get("length", 2**30)
    covered = given.get("covered", length // 2)
    return {
        "id": id,
        "client": "192.0.2.17",
        "path": f"films/{id}.mkv",
        "route": "download",
        "length": length,
        "sent": covered,
        "covered": covered,
        "share": covered / length if length else 1.0,
        "rate": 52_428_800.0,
        "left_s": 10.2,
        "connections": 1,
        "offloaded": 0,
        "began": 1_790_000_000.0,
        "from": 0,
        "outcome": None,
        "seconds": 10.0,
    } | given


def record(message: str, level: str = "INFO", **given: Any) -> dict[str, Any]:
    """Return a log record as the events of "logs" have it."""
    fields = {"time": 1_790_000_000.0, "level": level, "logger": "fileserve.web", "pid": 7, "message": message}
    return fields | given


@contextmanager
def staging(root: Path, **settings: Any) -> Iterator[Stage]:
    """Serve the files of *root*, with streams as the test tells them."""
    stage = Stage(create_app(Settings(root=root, **settings)))
    with serving(stage, lifespan="on") as served:
        stage._served = served
        yield stage


async def _say(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(gone: "asyncio.Future[None]", stream: "asyncio.Queue[bytes]") -> bytes:
    """Return the next news, or the sign to end when the page has left."""
    news = asyncio.ensure_future(stream.get())
    await asyncio.wait((gone, news), return_when=asyncio.FIRST_COMPLETED)
    if news.done():
        return news.result()
    news.cancel()
    return BREAK
