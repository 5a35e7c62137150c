"""Content that comes too slowly, or stops: 408, and the connection ends; a slow line is not cut."""

import asyncio
import queue
import threading
from typing import Any

import pytest

from fileserve.server import Limits
from tests.server.apps import Send, body, start
from tests.server.harness import serving


class Counting:
    """Takes content, and notes how much came before it ended, and by what message."""

    def __init__(self) -> None:
        self.ends: queue.Queue[tuple[int, str]] = queue.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        count, more = 0, True
        while more:
            message = await receive()
            count, more = count + len(message.get("body", b"")), message.get("more_body", False)
        self.ends.put((count, message["type"]))
        await send(start(2))
        await send(body(b"ok"))


@pytest.mark.parametrize(
    ("pieces", "pause_s"),
    [
        pytest.param([b"12345"], 0, id="stops"),
        pytest.param([b"x"] * 200, 0.05, id="a_byte_now_and_then"),
        pytest.param([b"x" * 5000, *[b"x"] * 200], 0.05, id="a_byte_now_and_then_after_a_good_beginning"),
    ],
)
def test_a_client_that_sends_its_content_too_slowly_is_told_and_cut(
    loop: str, pieces: list[bytes], pause_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    app, paused = Counting(), threading.Event()
    limits = Limits(stall_timeout_s=0.4, content_rate=1000)
    with serving(app, loop, limits) as served, served.connect() as client:
        client.get("/", "Content-Length: 10000", method="PUT")
        for piece in pieces:
            client.send(piece)
            paused.wait(pause_s)  # the pace of the client is the thing tested
            if not app.ends.empty():
                break
        response = client.response()
        assert (response.status, response.field(b"connection")) == (408, b"close")
        assert client.rest() == b""
        count, end = app.ends.get(timeout=10)
        assert end == "http.disconnect"
        assert count >= len(pieces[0])
    assert "too slow" in caplog.text


def test_a_client_on_a_slow_line_that_goes_on_sending_is_not_cut(loop: str) -> None:
    """Its line is silent for most of each timeout, and brings what is asked for in the rest of it."""
    app, paused = Counting(), threading.Event()
    limits = Limits(stall_timeout_s=0.8, content_rate=250)
    with serving(app, loop, limits) as served, served.connect() as client:
        client.get("/", "Content-Length: 1600", method="PUT")
        for _ in range(8):
            paused.wait(0.3)  # the pace of the line is the thing tested
            client.send(b"x" * 200)
        assert client.response().status == 200
    assert app.ends.get(timeout=10) == (1600, "http.request")


def test_a_client_that_waits_for_100_is_not_slow(loop: str) -> None:
    """The application has not asked for the content yet: it is our turn, not the client's."""
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await asyncio.to_thread(go_on.wait, 10)
        await Counting()(scope, receive, send)

    with serving(app, loop, Limits(stall_timeout_s=0.1)) as served, served.connect() as client:
        client.get("/", "Content-Length: 4", "Expect: 100-continue", method="PUT")
        go_on.wait(0.5)
        go_on.set()
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        assert client.send(b"1234").response().status == 200
