"""A head leaves together with the first content, or alone when there is none yet."""

import asyncio
import inspect
import re

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fileserve.server.joining import JoiningTransport


class Recorder(asyncio.Transport):
    """A transport that keeps each call to it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: object) -> None:
        assert isinstance(list_of_data, list)
        assert all(list_of_data), "from Python 3.12 on, asyncio waits for ever for an empty piece at the end to be sent"
        self.calls.append(b"".join(list_of_data))

    def close(self) -> None:
        self.calls.append("close")

    def is_closing(self) -> bool:
        return "close" in self.calls


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def joining(recorder: Recorder) -> JoiningTransport:
    joining = JoiningTransport(asyncio.get_running_loop())
    joining.stand_before(recorder)
    return joining


async def test_a_head_and_its_content_are_one_write(recorder: Recorder, joining: JoiningTransport) -> None:
    joining.hold()
    joining.write(b"head ")
    joining.write(b"content")
    joining.write(b"more")
    assert recorder.calls == [b"head content", b"more"]
    await asyncio.sleep(0)
    assert recorder.calls == [b"head content", b"more"]


async def test_a_head_and_no_content_are_one_write_of_the_head_alone(
    recorder: Recorder, joining: JoiningTransport
) -> None:
    joining.hold()
    joining.write(b"head")
    joining.write(b"")
    assert recorder.calls == [b"head"]


async def test_a_head_without_content_leaves_at_the_next_turn(recorder: Recorder, joining: JoiningTransport) -> None:
    joining.hold()
    joining.write(b"head")
    assert recorder.calls == []
    await asyncio.sleep(0)
    assert recorder.calls == [b"head"]
    joining.write(b"event")
    assert recorder.calls == [b"head", b"event"]


async def test_what_is_kept_is_written_before_the_end(recorder: Recorder, joining: JoiningTransport) -> None:
    joining.hold()
    joining.write(b"head")
    joining.close()
    assert recorder.calls == [b"head", "close"]


async def test_a_head_that_is_kept_when_the_connection_is_lost_is_dropped(
    recorder: Recorder, joining: JoiningTransport
) -> None:
    joining.hold()
    joining.write(b"head")
    recorder.close()
    await asyncio.sleep(0)
    assert recorder.calls == ["close"]


async def test_what_is_not_a_head_is_written_at_once(recorder: Recorder, joining: JoiningTransport) -> None:
    joining.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert recorder.calls == [b"HTTP/1.1 100 Continue\r\n\r\n"]


def test_uvicorns_cycle_uses_no_more_of_a_transport() -> None:
    used = set(re.findall(r"self\.transport\.(\w+)", inspect.getsource(RequestResponseCycle)))
    assert used == {"write", "is_closing", "close"}
