"""The short way of a response says the same on the wire as uvicorn's, and takes nothing that uvicorn refuses."""

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fileserve.server.writing import judge, write_body, write_head

Fields = list[tuple[bytes, bytes]]

LENGTH = (b"content-length", b"4")
CONTENT = {"type": "http.response.body", "body": b"text"}


class Recorder(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def cycle_of(*, method: str = "GET", keep_alive: bool = True) -> RequestResponseCycle:
    transport = Recorder()
    scope: Any = {"type": "http", "method": method, "http_version": "1.1"}
    completed: list[None] = []
    cycle = RequestResponseCycle(
        scope=scope,
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[(b"date", b"now")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: completed.append(None),
    )
    scope["completed"] = completed
    return cycle


def state_of(cycle: RequestResponseCycle) -> tuple[object, ...]:
    transport, completed = cycle.transport, cycle.scope["completed"]  # type: ignore[typeddict-item]
    assert isinstance(transport, Recorder)
    return (
        transport.written,
        transport.closed,
        len(completed),
        cycle.response_started,
        cycle.response_complete,
        cycle.chunked_encoding,
        cycle.expected_content_length,
        cycle.message_event.is_set(),
    )


def write_ours(cycle: RequestResponseCycle, fields: Fields, *messages: dict[str, Any], status: int = 200) -> list[bool]:
    head = write_head(cycle, status, judge(fields))
    return [head, *(write_body(cycle, message) for message in messages)]


async def write_theirs(
    cycle: RequestResponseCycle, fields: Fields, *messages: dict[str, Any], status: int = 200
) -> None:
    await cycle.send({"type": "http.response.start", "status": status, "headers": fields})
    for message in messages:
        await cycle.send(message)  # type: ignore[arg-type]


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "closed"])
@pytest.mark.parametrize(
    ("status", "fields", "messages"),
    [
        pytest.param(200, [LENGTH, (b"etag", b'"a"')], [CONTENT], id="whole"),
        pytest.param(
            206, [LENGTH], [CONTENT | {"body": b"te", "more_body": True}, CONTENT | {"body": b"xt"}], id="two"
        ),
        pytest.param(416, [(b"content-length", b"0")], [{"type": "http.response.body"}], id="empty"),
        pytest.param(200, [LENGTH, (b"x", b"tab\tand \xff")], [CONTENT], id="any_visible_byte_5_5"),
        pytest.param(200, [LENGTH, (b"!#$%&'*+-.^_`|~09", b"")], [CONTENT], id="any_token_5_6_2"),
    ],
)
async def test_what_is_written_is_what_uvicorn_writes(
    status: int, fields: Fields, messages: list[dict[str, Any]], keep_alive: bool
) -> None:
    ours, theirs = cycle_of(keep_alive=keep_alive), cycle_of(keep_alive=keep_alive)
    assert all(write_ours(ours, fields, *messages, status=status))
    await write_theirs(theirs, fields, *messages, status=status)
    assert state_of(ours) == state_of(theirs)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="no_length"),
        pytest.param([(b"content-length", b"+4")], id="length_with_a_sign"),
        pytest.param([LENGTH, LENGTH], id="two_lengths"),
        pytest.param([LENGTH, (b"transfer-encoding", b"chunked")], id="transfer_coding"),
        pytest.param([LENGTH, (b"connection", b"close")], id="connection"),
        pytest.param([LENGTH, (b"ETag", b'"a"')], id="capitals"),
        pytest.param([LENGTH, (b"etag ", b'"a"')], id="space_in_a_name"),
        pytest.param([LENGTH, (b"", b"a")], id="empty_name"),
        pytest.param([LENGTH, (b"x", b"a\r\nset-cookie: b")], id="line_break_that_makes_a_field"),
        pytest.param([LENGTH, (b"x", b"a\nb")], id="bare_line_feed"),
        pytest.param([LENGTH, (b"x", b"a\0b")], id="nul"),
        pytest.param([LENGTH, (b"x\r\ny", b"a")], id="line_break_in_a_name"),
    ],
)
async def test_an_unusual_head_is_left_to_uvicorn(fields: Fields) -> None:
    cycle = cycle_of()
    before = state_of(cycle)
    assert not write_head(cycle, 200, judge(fields))
    assert state_of(cycle) == before


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(CONTENT | {"body": b"too long"}, id="longer_than_announced"),
        pytest.param(CONTENT | {"body": b"te"}, id="shorter_than_announced"),
    ],
)
async def test_content_of_another_length_is_left_to_uvicorn_which_refuses_it(message: dict[str, Any]) -> None:
    cycle = cycle_of()
    assert write_ours(cycle, [LENGTH], message) == [True, False]
    with pytest.raises(RuntimeError, match="Content-Length"):
        await cycle.send(message)  # type: ignore[arg-type]


async def test_nothing_is_written_while_the_client_has_to_take_more_or_has_left() -> None:
    held_up, left, second = cycle_of(), cycle_of(), cycle_of()
    held_up.flow.pause_writing()
    left.disconnected = True
    assert not write_head(held_up, 200, judge([LENGTH]))
    assert not write_head(left, 200, judge([LENGTH]))
    assert write_ours(second, [LENGTH], CONTENT, CONTENT) == [True, True, False]


async def test_content_of_head_is_left_to_uvicorn_which_drops_it() -> None:
    cycle = cycle_of(method="HEAD")
    assert write_ours(cycle, [LENGTH], CONTENT) == [True, False]
