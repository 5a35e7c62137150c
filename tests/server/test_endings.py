"""How transfers end that do not end well: clients that leave, stall or half-close, files that change."""

import asyncio
import logging
import os
import queue
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from fileserve import disk
from fileserve.server import Limits, sockets
from fileserve.server.zerocopy import Disconnected, FileEnded
from tests.server.apps import Send, body, file_app, hello, region, start
from tests.server.harness import descriptors, serving, wait_until

MIB = 1 << 20


class Reporting:
    """An application that says how another one ended: with what exception, or ``None``."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.ends: queue.Queue[BaseException | None] = queue.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            self.ends.put(error)
            raise
        self.ends.put(None)


def endless(path: Path, *, chunked: bool = False) -> Any:
    """Return an application that announces far more than a socket can hold and sends the file again and again."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            await send(start(None if chunked else 1 << 40))
            while True:
                await send(region(fd, 0, 8 * MIB, more=True))
        finally:
            os.close(fd)

    return app


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_leaves_is_an_oserror_to_the_application(
    loop: str, file: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Reporting(endless(file))
    with serving(app, loop) as served:
        client = served.connect().get()
        client.exactly(MIB)
        client.reset() if way == "reset" else client.sock.close()
        assert isinstance(app.ends.get(timeout=10), Disconnected)
        wait_until(lambda: not served.connections())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_left_between_two_slices_is_an_oserror_too(loop: str, file: Path) -> None:
    gone = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        with file.open("rb") as opened:
            await send(start(2))
            await send(region(opened, 0, 1, more=True))
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
            await send(region(opened, 1, 1))

    reporting = Reporting(app)
    with serving(reporting, loop) as served:
        client = served.connect().get()
        client.head()
        client.exactly(1)
        client.reset()
        assert gone.wait(10)
        assert isinstance(reporting.ends.get(timeout=10), Disconnected)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_the_running_request_of_a_pipeline_hears_of_the_disconnect(loop: str, way: str) -> None:
    """The loop does not read while requests wait, and uvicorn tells only the newest of them."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        while (await receive())["type"] != "http.disconnect":
            pass

    reporting = Reporting(app)
    with serving(reporting, loop, Limits(stall_timeout_s=0.4)) as served:
        client = served.connect().get()
        client.head()
        client.get().get()
        wait_until(lambda: any(protocol.flow.read_paused for protocol in served.protocols()))
        client.reset() if way == "reset" else client.sock.close()
        assert reporting.ends.get(timeout=10) is None


def test_two_hundred_clients_that_leave_leave_no_descriptor(loop: str, file: Path) -> None:
    with serving(endless(file), loop) as served:
        wait_until(lambda: served.server.started)
        before = descriptors()
        for _ in range(4):
            clients = [served.connect().get() for _ in range(60)]
            for number, client in enumerate(clients):
                client.exactly(1 + number * 1000)
                client.reset() if number % 2 else client.sock.close()
        wait_until(lambda: not served.connections() and descriptors() <= before)


def test_a_connection_that_ends_is_forgotten_by_all_who_knew_it(loop: str) -> None:
    with serving(hello, loop, Limits(connections_per_client=9)) as served:
        with served.connect() as client:
            assert client.get().response().status == 200
            edge = served.protocols()[0].edge
            free_places = edge.free_places
            assert (len(edge.connections_by_client), len(edge.stalls)) == (1, 1)
        wait_until(lambda: not served.connections())
        assert edge.free_places == free_places + 1
        assert (len(edge.connections_by_client), len(edge.stalls)) == (0, 0)


def test_a_client_that_leaves_while_a_disk_thread_sends_leaves_no_descriptor(
    loop: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread sends on descriptors of its own, which nobody closes or reuses under it."""
    in_thread, go_on = threading.Event(), threading.Event()
    sendfile = os.sendfile

    def slow_sendfile(out: int, source: int, offset: int, count: int) -> int:
        if threading.current_thread().name.startswith("disk"):
            in_thread.set()
            assert go_on.wait(10)
            assert os.fstat(source).st_size == file.stat().st_size  # still the file
            os.fstat(out)  # still open
        return sendfile(out, source, offset, count)

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(os, "sendfile", slow_sendfile)
    app = Reporting(file_app(file))
    with serving(app, loop) as served:
        wait_until(lambda: served.server.started)
        before = descriptors()
        client = served.connect().get()
        assert in_thread.wait(10)
        client.reset()
        wait_until(lambda: not served.connections())
        go_on.set()
        assert isinstance(app.ends.get(timeout=10), Disconnected)
        wait_until(lambda: descriptors() <= before)


def test_a_cancelled_application_leaves_the_thread_its_descriptors(
    loop: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_thread, go_on = threading.Event(), threading.Event()
    valid: queue.Queue[bool] = queue.Queue()
    sendfile = os.sendfile

    def slow_sendfile(out: int, source: int, offset: int, count: int) -> int:
        if threading.current_thread().name.startswith("disk"):
            in_thread.set()
            assert go_on.wait(10)
            valid.put(os.fstat(source).st_size == file.stat().st_size)
        return sendfile(out, source, offset, count)

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(os, "sendfile", slow_sendfile)
    app = Reporting(file_app(file))
    with serving(app, loop) as served, served.connect() as client:
        client.get()
        assert in_thread.wait(10)
        served.call(lambda: [task.cancel() for task in served.server.server_state.tasks])
        assert isinstance(app.ends.get(timeout=10), asyncio.CancelledError)  # the file is closed now
        go_on.set()
        assert valid.get(timeout=10)


def test_a_file_cut_in_mid_transfer_ends_the_connection_short(
    loop: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Reporting(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=4096) as client:
        assert client.get().get("/?0-1").head().field(b"content-length") == b"%d" % (24 * MIB)
        client.exactly(MIB)
        os.truncate(file, 3 * MIB)
        assert len(client.rest()) < 23 * MIB  # nor anything of the pipelined request
        assert isinstance(app.ends.get(timeout=10), FileEnded)
        assert app.ends.empty()
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "file ended" in lines[0]
    assert "Traceback" not in caplog.text


def test_a_file_cut_under_a_disk_thread_ends_the_connection_short(
    loop: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    app = Reporting(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        client.exactly(MIB)
        os.truncate(file, 3 * MIB)
        assert len(client.rest()) < 23 * MIB
        assert isinstance(app.ends.get(timeout=10), FileEnded)


def test_a_file_that_grows_in_mid_transfer_is_cut_at_the_length(loop: str, file: Path, content: bytes) -> None:
    with serving(file_app(file), loop) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        received = client.exactly(MIB)
        with file.open("ab") as log:
            log.write(b"more" * MIB)
        assert received + client.exactly(23 * MIB) == content
        assert client.get("/?0-3").response().content == content[:3]


def test_an_application_that_returns_early_costs_one_line(
    loop: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That is how an application says that it cannot finish truthfully."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        with file.open("rb") as opened:
            await send(start(MIB))
            await send(region(opened, 0, 1000, more=True))

    with serving(app, loop) as served, served.connect() as client:
        client.get().head()
        assert len(client.rest()) == 1000
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "left unfinished" in lines[0]


def test_a_stream_to_http_1_0_that_stops_short_is_a_reset(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its end is the connection's end, so a proper close would make it look whole."""
    sent = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"some", more=True))
        await asyncio.get_running_loop().run_in_executor(None, sent.wait)
        raise RuntimeError("no more")

    with serving(app, loop) as served, served.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n").head()
        assert client.exactly(4) == b"some"
        sent.set()
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)


def test_a_stream_to_http_1_0_ends_with_the_connection_and_has_no_chunks(loop: str, file: Path) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        with file.open("rb") as opened:
            await send(start())
            await send(body(b"some ", more=True))
            await send(region(opened, 0, 10, more=True))
            await send(body(b" more"))

    with serving(app, loop) as served, served.connect() as client:
        response = client.send(b"GET / HTTP/1.0\r\n\r\n").response()
    assert response.field(b"transfer-encoding") is None
    assert response.content == b"some " + file.read_bytes()[:10] + b" more"


@pytest.mark.parametrize("ordinary", [True, False], ids=["body_messages", "zero_copy"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_client_that_stops_reading_is_reset(
    loop: str, file: Path, tmp_path: Path, ordinary: bool, unix: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def chunks(scope: Any, receive: Any, send: Send) -> None:
        await send(start(1 << 40))
        for _ in range(100):
            await send(body(b"x" * MIB, more=True))

    app = Reporting(chunks if ordinary else endless(file))
    uds = tmp_path / "socket" if unix else None
    with serving(app, loop, Limits(stall_timeout_s=0.3), uds=uds) as served, served.connect() as client:
        client.get().head()
        wait_until(lambda: not served.connections())
        if not ordinary:
            assert isinstance(app.ends.get(timeout=10), Disconnected)
    assert "stalled for 0.3 s" in caplog.text


def test_a_client_that_stops_reading_the_last_bytes_is_reset(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """The response is complete for the application, and most of it still in the process."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(16 * MIB))
        await send(body(b"x" * (16 * MIB)))

    limits = Limits(stall_timeout_s=0.3, keep_alive_s=0.1)
    with serving(app, loop, limits) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        wait_until(lambda: not served.connections())
    assert "stalled" in caplog.text


@pytest.mark.parametrize("is_refilled", [False, True], ids=["emptied", "refilled"])
def test_a_slow_client_that_still_reads_is_not_stalled(
    loop: str, file: Path, content: bytes, is_refilled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a little in every quarter of the timeout; between two writes of ours passes more than the timeout.

    Or we fill up at once what it has taken: then as much waits at each look, and yet it takes.
    """
    if is_refilled:
        monkeypatch.setattr(sockets, "unacknowledged", lambda sock: 256 * 1024)
    paused = threading.Event()
    with (
        serving(file_app(file), loop, Limits(stall_timeout_s=0.4)) as served,
        served.connect(receive_buffer=4096) as client,
    ):
        client.get().head()
        received = b""
        for _ in range(40):
            received += client.exactly(8 * 1024)
            paused.wait(0.03)  # the pace of a slow reader is the thing tested
        assert received + client.exactly(len(content) - len(received)) == content


def test_a_stream_that_has_nothing_to_say_is_not_stalled(loop: str) -> None:
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 1.0)
        await send(body(b"two"))

    with serving(app, loop, Limits(stall_timeout_s=0.1)) as served, served.connect() as client:
        assert client.get().response().content == b"onetwo"


def test_a_half_closed_client_gets_an_answer_with_a_length(loop: str, file: Path, content: bytes) -> None:
    with serving(file_app(file), loop) as served, served.connect() as client:
        client.get().get("/?1-100000")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.response().content == content
        assert client.response().content == content[1:100_000]
        assert client.rest() == b""


def test_a_client_that_half_closes_before_the_answer_gets_it(loop: str) -> None:
    half_closed = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(None, half_closed.wait)
        await send(start(3))
        await send(body(b"yes"))

    with serving(app, loop) as served, served.connect() as client:
        client.get()
        client.sock.shutdown(socket.SHUT_WR)
        half_closed.set()
        assert client.response().content == b"yes"


@pytest.mark.parametrize("before_start", [True, False])
def test_a_half_close_is_a_disconnect_to_a_stream(loop: str, before_start: bool) -> None:
    proceed = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if before_start:
            await asyncio.get_running_loop().run_in_executor(None, proceed.wait)
        await send(start())
        await send(body(b": hello\n\n", more=True))
        while (await receive())["type"] != "http.disconnect":
            pass

    reporting = Reporting(app)
    with serving(reporting, loop) as served, served.connect() as client:
        client.get()
        if not before_start:
            client.head()
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: not before_start or served.connections() == 1)
        proceed.set()
        assert reporting.ends.get(timeout=10) is None
        wait_until(lambda: not served.connections())


def test_a_half_close_is_a_disconnect_before_all_that_was_sent_is_taken(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"a" * 8 * MIB, more=True))
        while (await receive())["type"] != "http.disconnect":
            pass

    reporting = Reporting(app)
    with serving(reporting, loop) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        client.sock.shutdown(socket.SHUT_WR)
        assert reporting.ends.get(timeout=10) is None
        assert served.connections() == 1  # which takes what it can get


def test_a_half_close_in_the_middle_of_the_content_is_a_disconnect(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    reporting = Reporting(app)
    with serving(reporting, loop) as served, served.connect() as client:
        client.get("/", "Content-Length: 10", method="PUT").send(b"12345")
        client.sock.shutdown(socket.SHUT_WR)
        assert reporting.ends.get(timeout=10) is None


def test_a_client_that_still_sends_hears_the_refusal_of_its_content(loop: str) -> None:
    """A close with unread bytes would be a reset, and the client would not learn why."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(4, 403))
        await send(body(b"none"))

    with serving(app, loop) as served, served.connect() as client:
        client.get("/", f"Content-Length: {64 * MIB}", method="PUT")
        for _ in range(64):
            client.send(b"x" * (256 * 1024))
        response = client.response()
        assert (response.status, response.content) == (403, b"none")
        assert response.field(b"connection") == b"close"
        assert client.rest() == b""


def test_the_application_learns_how_much_the_peer_has_not_taken(loop: str, file: Path) -> None:
    counts: queue.Queue[int] = queue.Queue()
    taken = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        unacknowledged = scope["extensions"]["fileserve"]["unacknowledged"]
        with file.open("rb") as opened:
            await send(start(2 * MIB))
            await send(region(opened, 0, 2 * MIB - 1, more=True))
            counts.put(unacknowledged())
            await asyncio.get_running_loop().run_in_executor(None, taken.wait)
            counts.put(unacknowledged())
            await send(region(opened, 0, 1))

    with serving(app, loop) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        received = 0
        while counts.empty():
            received += len(client.exactly(1024))
        left = counts.get(timeout=10)
        assert 0 < left < 2 * MIB
        client.exactly(2 * MIB - 1 - received)
        taken.set()
        assert counts.get(timeout=10) < left
