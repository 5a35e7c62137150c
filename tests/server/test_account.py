"""What an application learns of how far its response has come, and how the connection ended."""

import array
import asyncio
import fcntl
import gc
import math
import socket
import termios
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fileserve.server import Limits, rests
from fileserve.server.edge import edge_of
from tests.server.apps import Send, body, file_app, hello, region, start
from tests.server.harness import Client, Served, serving, wait_until

MIB = 1 << 20
SIZE = 24 * MIB


class Accounted:
    """An application that keeps what it is told of each response, and passes the request on."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.told: list[dict[str, Callable[[], Any]]] = []
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        self.told.append(scope["extensions"]["fileserve"])
        try:
            await self.app(scope, receive, send)
        finally:
            self.ended += 1


def taken(told: dict[str, Callable[[], Any]], length: int = SIZE) -> int:
    return int(length - told["unsent"]() - told["unacknowledged"]())


def ask_loop(served: Served, function: Callable[[], Any]) -> Any:
    """Return what *function* says in the server's loop."""
    assert served.server.loop is not None

    async def call() -> Any:
        return function()

    return asyncio.run_coroutine_threadsafe(call(), served.server.loop).result(10)


def waiting(sock: socket.socket) -> int:
    """Return how many bytes wait in the kernel to be read from *sock*."""
    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    return count[0]


def in_messages(path: Path) -> Any:
    async def send_file(scope: Any, receive: Any, send: Send) -> None:
        await send(start(SIZE))
        with path.open("rb") as file:
            for offset in range(0, SIZE, MIB):
                await send(body(file.read(MIB), more=offset + MIB < SIZE))

    return send_file


def by_regions_and_messages(path: Path) -> Any:
    async def send_file(scope: Any, receive: Any, send: Send) -> None:
        await send(start(SIZE))
        with path.open("rb") as file:
            await send(region(file.fileno(), 0, SIZE - 4, more=True))
        await send(body(b"last"))

    return send_file


@pytest.fixture(params=[file_app, by_regions_and_messages, in_messages])
def app(request: pytest.FixtureRequest, file: Path) -> Accounted:
    return Accounted(request.param(file))


def test_unsent_shrinks_in_the_middle_of_a_region(loop: str, file: Path) -> None:
    app = Accounted(file_app(file, slices=SIZE))
    with serving(app, loop) as served, served.connect(receive_buffer=4096) as client:
        client.get().head()
        client.exactly(MIB)
        told = app.told[0]
        wait_until(lambda: 0 < ask_loop(served, told["unsent"]) <= SIZE - MIB)
        assert app.ended == 0
        client.exactly(SIZE - MIB)
        wait_until(lambda: app.ended == 1)
        assert told["unsent"]() == 0


def test_a_whole_response_is_taken_when_nothing_is_unacknowledged(loop: str, app: Accounted) -> None:
    with serving(app, loop) as served, served.connect() as client:
        client.get().response()
        wait_until(lambda: ask_loop(served, lambda: taken(app.told[0])) == SIZE)
        assert app.told[0]["lost"]() is None


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "close"])
def test_of_a_lost_connection_it_is_known_what_the_client_had_taken(loop: str, app: Accounted, reset: bool) -> None:
    """To the byte where the kernel has it all; what a transport held is dropped before anybody can count it."""
    with serving(app, loop) as served, served.connect(receive_buffer=65536) as client:
        client.get().head()
        client.exactly(100_000)
        told = app.told[0]
        marks: list[tuple[int, int]] = []

        def is_at_rest() -> bool:
            marks.append((ask_loop(served, lambda: taken(told)), 100_000 + len(client.buffer) + waiting(client.sock)))
            return marks[-50:] == [(marks[-1][1], marks[-1][1])] * 50

        wait_until(is_at_rest)
        has = marks[-1][1]
        client.reset() if reset else client.sock.close()
        wait_until(lambda: served.connections() == 0 and app.ended == 1)
        held = 2 * MIB if app.app.__qualname__.startswith("in_messages") else 0
        assert has <= taken(told) <= has + held
        assert taken(told) < SIZE
        assert told["lost"]() == "left"


def test_the_next_request_tells_that_the_response_was_taken(loop: str, file: Path) -> None:
    """Even when that one is broken off."""
    app = Accounted(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=65536) as client:
        client.get("/?0-10").response()
        client.get().head()
        wait_until(lambda: len(app.told) == 2 and ask_loop(served, app.told[1]["unacknowledged"]) > 0)
        assert ask_loop(served, lambda: taken(app.told[0], 10)) == 10
        client.reset()
        wait_until(lambda: served.connections() == 0)
        assert taken(app.told[0], 10) == 10
        assert app.told[1]["unacknowledged"]() > 0


@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "reads_on"])
def test_what_is_on_its_way_when_the_server_closes_is_looked_at(loop: str, file: Path, leaves: bool) -> None:
    """A connection that is not kept alive is closed when the last bytes are with the kernel."""
    app = Accounted(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=65536) as client:
        client.get("/", "Connection: close").head()
        client.exactly(SIZE - 128 * 1024)
        wait_until(lambda: served.connections() == 0)
        told = app.told[0]
        assert 0 < taken(told) < SIZE
        assert told["lost"]() is None
        if leaves:
            client.reset()
        else:
            client.rest()
        wait_until(lambda: told["lost"]() == "left")
        assert (taken(told) == SIZE) is not leaves


def shut_down(client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)


def wait_idle(client: Client) -> None:
    """Nothing: the idle time runs out."""


@pytest.mark.parametrize("act", [shut_down, wait_idle])
def test_an_answer_is_looked_after_however_its_connection_comes_to_be_closed(
    act: Callable[[Client], None], loop: str, file: Path
) -> None:
    """A half-closed one after the answer, one that is kept alive after the idle time."""
    app = Accounted(file_app(file))
    with serving(app, loop, Limits(keep_alive_s=0.2)) as served, served.connect(receive_buffer=65536) as client:
        client.get()
        act(client)
        client.head()
        client.exactly(SIZE - 128 * 1024)
        wait_until(lambda: served.connections() == 0)
        told = app.told[0]
        assert 0 < taken(told) < SIZE
        assert told["lost"]() is None
        client.rest()
        wait_until(lambda: told["lost"]() == "left")
        assert taken(told) == SIZE


def test_a_connection_is_not_idle_while_its_client_takes_the_last_answer(loop: str, file: Path) -> None:
    app = Accounted(file_app(file))
    with serving(app, loop, Limits(keep_alive_s=0.2)) as served, served.connect(receive_buffer=4096) as client:
        client.get("/").head()
        client.exactly(SIZE - 512 * 1024)
        until_s = math.inf
        while time.monotonic() < until_s:  # three times as long as it may idle
            client.exactly(1024)
            if app.ended and until_s == math.inf:
                until_s = time.monotonic() + 0.6
            time.sleep(0.005)
        assert served.connections() == 1
        client.rest()  # and idle it is in the end


def test_who_takes_nothing_after_the_server_has_closed_is_reset(
    loop: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rests, "PATIENCE_S", 0.5)
    app = Accounted(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=65536) as client:
        client.get("/", "Connection: close").head()
        client.exactly(SIZE - 128 * 1024)
        wait_until(lambda: app.told[0]["lost"]() == "stalled")
        assert taken(app.told[0]) < SIZE
        assert len(client.rest()) < 128 * 1024  # and what the kernel held is gone


def test_rests_are_let_go_when_the_server_drains(loop: str, file: Path) -> None:
    """The kernel sends them all the same."""
    app = Accounted(file_app(file))
    with serving(app, loop) as served, served.connect(receive_buffer=65536) as client:
        client.get("/", "Connection: close").head()
        client.exactly(SIZE - 128 * 1024)
        wait_until(lambda: served.connections() == 0)
        edge = edge_of(served.server.server_state, Limits())
        ask_loop(served, edge.drain)
        assert app.told[0]["lost"]() == "left"
        assert len(client.rest()) == 128 * 1024


def test_a_stalled_client_is_told_from_one_that_left(loop: str, app: Accounted) -> None:
    with serving(app, loop, Limits(stall_timeout_s=0.3)) as served, served.connect(receive_buffer=65536) as client:
        client.get().head()
        wait_until(lambda: served.connections() == 0 and app.ended == 1)
        told = app.told[0]
        assert told["lost"]() == "stalled"
        assert 0 < taken(told) < SIZE


def test_a_response_leaves_nothing_for_the_collector(loop: str) -> None:
    """What an application is told of it may be kept; the request itself is gone at once."""

    class Request:
        pass

    told: list[Any] = []
    requests: list[weakref.ref[Request]] = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        scope["request"] = Request()
        requests.append(weakref.ref(scope["request"]))
        told.append(scope["extensions"]["fileserve"]["now_ns"])
        await hello(scope, receive, send)

    gc.disable()
    try:
        with serving(app, loop) as served, served.connect() as client:
            for _ in range(3):
                client.get().response()
            wait_until(lambda: sum(request() is not None for request in requests) <= 1)  # the newest may be kept
    finally:
        gc.enable()
