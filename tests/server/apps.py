"""Small ASGI applications for the tests of the server."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Send = Callable[[Any], Awaitable[None]]
App = Callable[..., Awaitable[None]]


async def hello(scope: Any, receive: Any, send: Send) -> None:
    """Answer ``hello`` with a length."""
    await send(start(5))
    await send(body(b"hello"))


async def echo_target(scope: Any, receive: Any, send: Send) -> None:
    """Answer with method, path, query and Host as the application sees them."""
    host = dict(scope["headers"]).get(b"host", b"-")
    content = b" ".join([scope["method"].encode(), scope["raw_path"], scope["query_string"] or b"-", host])
    await send(start(len(content)))
    await send(body(content))


async def echo_content(scope: Any, receive: Any, send: Send) -> None:
    """Answer with the request's content."""
    content, more = b"", True
    while more:
        message = await receive()
        content, more = content + message.get("body", b""), message.get("more_body", False)
    await send(start(len(content)))
    await send(body(content))


async def begin_and_wait(scope: Any, receive: Any, send: Send) -> None:
    """Answer with ``one`` of a hundred bytes, and wait until the client is gone."""
    await send(start(100))
    await send(body(b"one", more=True))
    while (await receive())["type"] != "http.disconnect":
        pass


def start(length: int | None = None, status: int = 200, *fields: tuple[bytes, bytes]) -> dict[str, Any]:
    headers = list(fields)
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def region(file: Any, offset: int | None = None, count: int | None = None, more: bool = False) -> dict[str, Any]:
    message = {"type": "http.response.zerocopysend", "file": file, "more_body": more}
    if offset is not None:
        message["offset"] = offset
    if count is not None:
        message["count"] = count
    return message


def file_app(path: Path, *, slices: int = 8 << 20) -> App:
    """Return an application that sends *path*, or the part that ``?first-stop`` asks for, by zero-copy in slices."""

    async def send_file(scope: Any, receive: Any, send: Send) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            first, stop = 0, os.fstat(fd).st_size
            if scope["query_string"]:
                first, stop = map(int, scope["query_string"].split(b"-"))
            await send(start(stop - first))
            for offset in range(first, stop, slices):
                count = min(slices, stop - offset)
                await send(region(fd, offset, count, more=offset + count < stop))
            if first == stop:
                await send(body())
        finally:
            os.close(fd)

    return send_file


def file_or_hello(path: Path) -> App:
    """Return an application that answers ``/hello`` with ``hello``, and all else as that of `file_app`."""

    async def answer(scope: Any, receive: Any, send: Send) -> None:
        await (hello if scope["path"] == "/hello" else file_app(path))(scope, receive, send)

    return answer
