"""The life of a transfer: it ends truthfully, and whatever happens it closes what it owns."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from fileserve.semantics.plan import plan_download
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag
from fileserve.storage.reader import OpenFile
from fileserve.web.transfer import Transfer

CHUNK = 65536
MIB = 1024 * 1024
SIZE = 16 * CHUNK
SCOPE = {"type": "http", "method": "GET", "headers": []}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


def transfer_of(path: Path, method: str = "GET", **fields: str) -> Transfer:
    opened = OpenFile(os.open(path, os.O_RDONLY))
    representation = Representation(opened.status.size, EntityTag("tag"), 0, "text/plain", "file")
    plan = plan_download(method, fields, representation, boundary="boundary", now_s=10)
    return Transfer(plan, opened, CHUNK)


def is_closed(transfer: Transfer) -> bool:
    try:
        return transfer.content.fd < 0
    except ValueError:
        return True


async def stay() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


class Recorder:
    """A ``send`` that keeps what it is sent, and does something after a number of messages."""

    def __init__(self, after: int = 0, action: Callable[[], Any] = lambda: None) -> None:
        self.messages: list[Message] = []
        self.after = after
        self.action = action

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)
        if len(self.messages) == self.after:
            self.action()

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def finished(self) -> bool:
        return not self.messages[-1].get("more_body", self.messages[-1]["type"] == "http.response.start")


async def test_a_whole_file_is_sent_in_chunks_and_closed(path: Path) -> None:
    transfer, send = transfer_of(path), Recorder()
    await transfer(SCOPE, stay, send)
    assert send.content == path.read_bytes()
    assert send.finished
    assert len(send.messages) >= SIZE // CHUNK
    assert is_closed(transfer)


async def test_a_small_range_is_one_message(path: Path) -> None:
    transfer, send = transfer_of(path, range="bytes=10-19"), Recorder()
    await transfer(SCOPE, stay, send)
    assert [message["type"] for message in send.messages] == ["http.response.start", "http.response.body"]
    assert send.content == path.read_bytes()[10:20]
    assert is_closed(transfer)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        pytest.param("HEAD", {}, id="head"),
        pytest.param("GET", {"if-none-match": '"tag"'}, id="304"),
        pytest.param("GET", {"if-match": '"other"'}, id="412"),
        pytest.param("GET", {"range": f"bytes={SIZE}-"}, id="416"),
    ],
)
async def test_an_answer_without_content_reads_nothing_and_closes(
    path: Path, method: str, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the file was read")

    transfer, send = transfer_of(path, method, **fields), Recorder()
    monkeypatch.setattr(OpenFile, "read", fail)
    await transfer(SCOPE, stay, send)
    assert (send.content, send.finished, is_closed(transfer)) == (b"", True, True)


async def test_a_client_that_leaves_ends_the_reading_at_once(path: Path) -> None:
    gone = asyncio.Event()
    os.truncate(path, 64 * MIB)
    transfer, send = transfer_of(path), Recorder(after=3, action=gone.set)

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    await transfer(SCOPE, receive, send)
    assert len(send.content) <= 2 * MIB  # the loop turns once each MiB, and then it is known
    assert not send.finished
    assert is_closed(transfer)


async def test_content_of_the_request_is_not_taken_for_a_disconnect(path: Path) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request"}]

    async def receive() -> Message:
        return messages.pop() if messages else await stay()

    send = Recorder()
    await transfer_of(path)(SCOPE, receive, send)
    assert send.content == path.read_bytes()


async def test_cancellation_is_raised_on_and_the_file_closed(path: Path) -> None:
    transfer, reached = transfer_of(path), asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(transfer(SCOPE, stay, send))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_closed(transfer)


async def test_an_error_of_send_is_raised_on_and_the_file_closed(path: Path) -> None:
    transfer = transfer_of(path)

    async def send(message: Message) -> None:
        raise RuntimeError("the server is broken")

    with pytest.raises(RuntimeError):
        await transfer(SCOPE, stay, send)
    assert is_closed(transfer)


@pytest.mark.parametrize("left", [pytest.param(0, id="to_nothing"), pytest.param(SIZE - 1, id="by_one_byte")])
async def test_a_file_that_shrinks_leaves_the_response_unfinished(path: Path, left: int) -> None:
    transfer, send = transfer_of(path), Recorder(after=3, action=lambda: os.truncate(path, left))
    await transfer(SCOPE, stay, send)
    assert not send.finished
    assert len(send.content) < SIZE
    assert is_closed(transfer)


async def test_a_file_rewritten_in_place_leaves_the_response_unfinished(path: Path) -> None:
    def rewrite() -> None:
        path.write_bytes(os.urandom(SIZE))
        os.utime(path, (1, 1))

    transfer, send = transfer_of(path), Recorder(after=3, action=rewrite)
    await transfer(SCOPE, stay, send)
    assert not send.finished
    assert len(send.content) < SIZE


async def test_a_rewrite_is_noticed_in_several_ranges_too(path: Path) -> None:
    def rewrite() -> None:
        os.utime(path, (1, 1))

    transfer = transfer_of(path, range=f"bytes=0-{4 * CHUNK},{8 * CHUNK}-")
    send = Recorder(after=3, action=rewrite)
    await transfer(SCOPE, stay, send)
    assert not send.finished


async def test_a_file_that_grows_is_cut_at_the_announced_length(path: Path) -> None:
    original = path.read_bytes()

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more" * CHUNK)

    transfer, send = transfer_of(path), Recorder(after=3, action=grow)
    await transfer(SCOPE, stay, send)
    assert send.content == original
    assert send.finished


async def test_a_small_file_that_shrank_before_it_was_sent_is_a_problem(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"0123456789")
    transfer, send = transfer_of(small), Recorder()
    os.truncate(small, 5)
    await transfer(SCOPE, stay, send)
    assert send.messages[0]["status"] == 503
    assert is_closed(transfer)


async def test_others_get_their_turn_while_a_resident_file_is_sent(path: Path) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    big = path.with_name("big")
    big.write_bytes(bytes(8 * MIB))
    await transfer_of(big)(SCOPE, stay, Recorder())
    counting.cancel()
    assert turns >= 7  # between eight MiB
