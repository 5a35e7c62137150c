"""Applications that use their messages in ways that ASGI leaves open: nothing wrong is sent, and nothing stays."""

import asyncio
import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fileserve import disk
from fileserve.server import zerocopy
from fileserve.server.zerocopy import Disconnected, FileEnded
from tests.server.apps import Send, body, hello, region, start
from tests.server.harness import Served, serving, wait_until

MIB = 1 << 20


class OpenFileApp:
    """Answers ``/hello``, and all else by *answer*, which gets the file's descriptor and says how it went."""

    def __init__(self, path: Path, answer: Any) -> None:
        self.path = path
        self.answer = answer
        self.told: queue.Queue[Any] = queue.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/hello":
            return await hello(scope, receive, send)
        fd = os.open(self.path, os.O_RDONLY)
        try:
            self.told.put(await self.answer(fd, send))
        finally:
            os.close(fd)


class HeldThreads:
    """Lets the disk threads begin to send, and go on when told."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.go_on.wait(10)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldThreads]:
    """Threads that are held, which everything goes through."""
    threads, send_until_full = HeldThreads(), zerocopy._send_until_full

    def held_send(out: int, file: int, offset: int, count: int) -> int:
        threads.wait()
        return send_until_full(out, file, offset, count)

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(zerocopy, "_send_until_full", held_send)
    yield threads
    threads.go_on.set()


@contextmanager
def answering(file: Path, answer: Any, loop: str) -> Iterator[tuple[Served, OpenFileApp]]:
    app = OpenFileApp(file, answer)
    with serving(app, loop) as served:
        yield served, app


@pytest.mark.parametrize("second", [region, body], ids=["region", "body"])
def test_a_message_that_does_not_wait_for_a_region_is_refused(
    loop: str, file: Path, content: bytes, second: Any
) -> None:
    async def answer(fd: int, send: Send) -> Any:
        await send(start(2 * MIB + 5))
        behind = body(b"first", more=True) if second is body else region(fd, 0, 5, more=True)
        results = await asyncio.gather(send(region(fd, 0, 2 * MIB, more=True)), send(behind), return_exceptions=True)
        await send(body(b"later"))
        return results

    with answering(file, answer, loop) as (served, app), served.connect() as client:
        assert client.get().response().content == content[: 2 * MIB] + b"later"
        first, refused = app.told.get(timeout=10)
        assert first is None
        assert isinstance(refused, RuntimeError)
        assert client.get("/hello").response().content == b"hello"


def test_a_chunk_that_the_file_cannot_fill_ends_the_connection(loop: str, file: Path, content: bytes) -> None:
    """Whatever followed would be taken for the rest of the chunk, the next response too."""

    async def answer(fd: int, send: Send) -> Any:
        await send(start())
        try:
            await send(region(fd, 24 * MIB - 3, 1000, more=True))
        except FileEnded as error:
            await send(body(b"the rest"))
            return error

    with answering(file, answer, loop) as (served, app), served.connect() as client:
        client.get().get("/hello")
        client.head()
        assert client.rest() == b"3e8\r\n" + content[-3:]
        assert isinstance(app.told.get(timeout=10), FileEnded)


def test_nothing_follows_a_region_that_was_cancelled(loop: str, file: Path, held: HeldThreads) -> None:
    """A disk thread goes on with it, so what it has sent in the end is not known."""

    async def answer(fd: int, send: Send) -> None:
        await send(start(1000))
        sending = asyncio.ensure_future(send(region(fd, 0, 1000, more=True)))
        await asyncio.to_thread(held.begun.wait, 10)
        sending.cancel()
        await asyncio.wait([sending])
        await send(body(b"x" * 1000))

    with answering(file, answer, loop) as (served, app), served.connect() as client:
        client.get().get("/hello")
        client.head()
        app.told.get(timeout=10)
        held.go_on.set()
        assert b"x" not in client.rest()[:1]
        wait_until(lambda: not served.connections())


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "content_length"])
def test_a_client_that_leaves_under_a_disk_thread_s_last_bytes_is_an_oserror(
    loop: str, file: Path, held: HeldThreads, chunked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(fd: int, send: Send) -> Any:
        await send(start(None if chunked else 1000))
        try:
            await send(region(fd, 0, 1000))
        except OSError as error:
            return error

    with answering(file, answer, loop) as (served, app), served.connect() as client:
        client.get()
        assert held.begun.wait(10)
        served.call(lambda: [protocol.transport.close() for protocol in served.protocols()])
        wait_until(lambda: not served.connections())
        held.go_on.set()
        assert isinstance(app.told.get(timeout=10), Disconnected)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_region_does_not_overtake_what_a_half_closed_client_has_not_taken(
    loop: str, file: Path, content: bytes
) -> None:
    is_half_closed = threading.Event()

    async def answer(fd: int, send: Send) -> Any:
        await send(start())
        await send(body(b"a" * 8 * MIB, more=True))
        await asyncio.to_thread(is_half_closed.wait, 10)
        try:
            await send(region(fd, 0, 1000))
        except OSError as error:
            return error

    with answering(file, answer, loop) as (served, app), served.connect(receive_buffer=4096) as client:
        client.get().head()
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: all(protocol.transport.is_closing() for protocol in served.protocols()))
        is_half_closed.set()
        assert isinstance(app.told.get(timeout=10), Disconnected)
        assert content[:1000] not in client.rest()


def test_a_negative_count_is_refused(loop: str, file: Path) -> None:
    async def answer(fd: int, send: Send) -> Any:
        await send(start())
        try:
            await send(region(fd, 0, -1, more=True))
        except ValueError as error:
            await send(body(b"none"))
            return error

    with answering(file, answer, loop) as (served, app), served.connect() as client:
        assert client.get().response().content == b"none"
        assert isinstance(app.told.get(timeout=10), ValueError)


@pytest.mark.parametrize("length", [True, False], ids=["content_length", "chunked"])
@pytest.mark.parametrize("kind", [iter, tuple], ids=["iterator", "tuple_of_lists"])
def test_fields_may_come_as_any_iterable(shared: Served, kind: Any, length: bool) -> None:
    fields = [[b"x-a", b"1"]] + [[b"content-length", b"4"]] * length

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": kind(fields)})
        await send(body(b"text"))

    shared.app = app
    with shared.connect() as client:
        response = client.get().response()
        assert (response.field(b"x-a"), response.content) == (b"1", b"text")
