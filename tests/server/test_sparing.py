"""What strangers cause at will is told with their address, and does not fill the log."""

import asyncio
import logging
from typing import Any

import pytest

from fileserve.records import request_id
from fileserve.server import Limits, sparing
from fileserve.server.sparing import RECORDS, Sparing
from tests.server.apps import App, Send, body, echo_content, hello, start
from tests.server.harness import serving

FLOOD = 5 * RECORDS
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"


async def echo_at_once(scope: Any, receive: Any, send: Send) -> None:
    """Begin to answer before the content is there."""
    await send(start(10))
    while (await receive())["type"] != "http.disconnect":
        await send(body(b"x", more=True))


@pytest.mark.parametrize(
    ("app", "sent", "text"),
    [
        pytest.param(hello, b"\x16\x03\x01 garbage\r\n\r\n", "not well-formed", id="garbage"),
        pytest.param(hello, b"GET / HTTP/1.1\r\n\r\n", "Host field", id="no_host"),
        pytest.param(echo_content, POST + b"Content-Length: 9\r\n\r\nx", "too slow", id="slow_content"),
        pytest.param(
            echo_at_once,
            POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            "malformed",
            id="malformed_content",
        ),
    ],
)
def test_a_flood_is_a_few_lines_with_addresses(
    app: App, sent: bytes, text: str, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(app, loop, Limits(stall_timeout_s=0.3)) as served:
        clients = [served.connect().send(sent) for _ in range(FLOOD)]
        if app is echo_at_once:
            for client in clients:
                client.head()
                client.send(b"no chunk\r\n")
        ports = {client.sock.getsockname()[1] for client in clients}
        for client in clients:
            with client:
                client.rest()
    told = [message for message in caplog.messages if text in message]
    assert len(told) == RECORDS
    assert {int(message.split(" ")[0].removeprefix("127.0.0.1:")) for message in told} <= ports


async def test_what_is_left_out_is_counted_and_each_kind_has_its_own_share(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sparing, "MINUTE_S", 0.1)
    records = Sparing(logging.getLogger("uvicorn.error"))
    for _ in range(FLOOD):
        records.warning("bad things", "%s was bad", "somebody")
    records.warning("odd things", "%s was odd", "somebody")
    for _ in range(500):
        if "more" not in caplog.text:
            await asyncio.sleep(0.02)
    assert caplog.messages == [
        *["somebody was bad"] * RECORDS,
        "somebody was odd",
        f"{FLOOD - RECORDS} more bad things in 0.1 s",
    ]
    records.warning("bad things", "%s was bad", "somebody else")
    assert caplog.messages[-1] == "somebody else was bad"


async def test_the_number_is_of_no_request(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sparing, "MINUTE_S", 0.1)
    ids: list[str] = []

    def keep_id(record: logging.LogRecord) -> bool:
        ids.append(request_id.get())
        return True

    caplog.handler.addFilter(keep_id)
    records = Sparing(logging.getLogger("uvicorn.error"))
    token = request_id.set("one")
    for _ in range(RECORDS + 1):
        records.warning("bad things", "%s was bad", "somebody")
    request_id.reset(token)
    for _ in range(500):
        if "more" not in caplog.text:
            await asyncio.sleep(0.02)
    caplog.handler.removeFilter(keep_id)
    assert ids == [*["one"] * RECORDS, ""]
