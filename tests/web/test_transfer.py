"""The life of a transfer: it ends truthfully, and whatever happens it closes what it owns."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Scope

from fileserve.semantics.plan import plan_download
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag
from fileserve.storage.reader import OpenFile
from fileserve.web.transfer import FIRST_CHUNK, FIRST_PIECE, LAST_PIECE, ONE_MESSAGE, SLICE, Transfer
from tests.asgi import ZERO_COPY, content_of

CHUNK = 65536
MIB = 1024 * 1024
SIZE = 2 * SLICE + 4 * MIB


CHUNKS: Scope = {"type": "http", "method": "GET", "headers": []}
SLICES: Scope = {**CHUNKS, "extensions": {ZERO_COPY: {}}}


@pytest.fixture(params=[pytest.param(CHUNKS, id="chunks"), pytest.param(SLICES, id="zero_copy")])
def scope(request: pytest.FixtureRequest) -> Scope:
    """A request to a server that offers zero-copy, or does not."""
    asked: Scope = request.param
    return asked


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(content)
    return path


def transfer_of(path: Path, method: str = "GET", chunk_size: int = CHUNK, **fields: str) -> Transfer:
    opened = OpenFile(os.open(path, os.O_RDONLY))
    representation = Representation(opened.status.size, EntityTag("tag"), 0, "text/plain", "file")
    plan = plan_download(method, fields, representation, boundary="boundary", now_s=10)
    return Transfer(plan, opened, chunk_size)


def is_closed(transfer: Transfer) -> bool:
    try:
        assert isinstance(transfer.content, OpenFile)
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
        self._content = bytearray()
        self.after = after
        self.action = action

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] != "http.response.start":
            self._content += content_of(message)
        if len(self.messages) == self.after:
            self.action()

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    @property
    def finished(self) -> bool:
        return not self.messages[-1].get("more_body", self.messages[-1]["type"] == "http.response.start")


async def test_a_whole_file_is_sent_and_closed(scope: Scope, path: Path) -> None:
    transfer, send = transfer_of(path), Recorder()
    await transfer(scope, stay, send)
    assert send.content == path.read_bytes()
    assert send.finished
    assert is_closed(transfer)


async def test_chunks_grow_up_to_the_size_that_was_set_while_the_client_is_quick(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileserve.web.transfer.QUICK_S", 60)
    send = Recorder()
    transfer = transfer_of(path, chunk_size=4 * FIRST_CHUNK)
    await transfer(CHUNKS, stay, send)
    sizes = [len(message["body"]) for message in send.messages[1:]]
    assert sizes == sorted(sizes)
    assert set(sizes) == {FIRST_CHUNK, 2 * FIRST_CHUNK, 4 * FIRST_CHUNK}


async def test_chunks_stay_small_for_a_slow_client(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fileserve.web.transfer.QUICK_S", 0)
    send = Recorder()
    await transfer_of(path, chunk_size=4 * FIRST_CHUNK)(CHUNKS, stay, send)
    assert {len(message["body"]) for message in send.messages[1:]} == {FIRST_CHUNK}


async def test_chunks_stay_small_under_tls(path: Path) -> None:
    send = Recorder()
    await transfer_of(path, chunk_size=4 * FIRST_CHUNK)({**CHUNKS, "scheme": "https"}, stay, send)
    assert {len(message["body"]) for message in send.messages[1:]} == {FIRST_CHUNK}


async def test_zero_copy_comes_in_slices_and_the_first_and_last_bytes_are_read(path: Path) -> None:
    send = Recorder()
    await transfer_of(path)(SLICES, stay, send)
    rest = 4 * MIB - FIRST_PIECE - LAST_PIECE
    assert [message.get("count") for message in send.messages[1:]] == [None, SLICE, SLICE, rest, None]
    assert [len(send.messages[at]["body"]) for at in (1, -1)] == [FIRST_PIECE, LAST_PIECE]


async def test_first_bytes_that_the_page_cache_lacks_are_left_to_zero_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the disk in a thread, and the client has the head meanwhile."""
    monkeypatch.setattr("fileserve.storage.reader.OpenFile.read_at_once", lambda opened, offset, count: None)
    send = Recorder()
    await transfer_of(path)(SLICES, stay, send)
    assert [message.get("offset") for message in send.messages[1:4]] == [0, SLICE, 2 * SLICE]


@pytest.mark.parametrize("size", [ONE_MESSAGE + 1, 900 * 1024, 9 * MIB], ids=str)
async def test_a_rewrite_after_the_last_slice_is_noticed(path: Path, size: int) -> None:
    """A slow client may take the last slice long after it was handed over."""
    os.truncate(path, size)
    slices = -(-(size - FIRST_PIECE - LAST_PIECE) // SLICE)
    transfer = transfer_of(path)
    send = Recorder(after=2 + slices, action=lambda: os.utime(path, (1, 1)))
    await transfer(SLICES, stay, send)
    assert len(send.content) == size - LAST_PIECE
    assert not send.finished


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
    scope: Scope, path: Path, method: str, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the file was read")

    transfer, send = transfer_of(path, method, CHUNK, **fields), Recorder()
    monkeypatch.setattr(OpenFile, "read", fail)
    await transfer(scope, stay, send)
    assert (send.content, send.finished, is_closed(transfer)) == (b"", True, True)


async def test_a_client_that_leaves_ends_the_reading_at_once(path: Path) -> None:
    gone = asyncio.Event()
    transfer, send = transfer_of(path), Recorder(after=3, action=gone.set)

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    await transfer(CHUNKS, receive, send)
    assert len(send.content) <= 2 * MIB  # the loop turns once each MiB, and then it is known
    assert not send.finished
    assert is_closed(transfer)


async def test_a_server_that_says_so_ends_the_transfer_without_an_error(path: Path) -> None:
    def leave() -> None:
        raise ConnectionResetError

    transfer, send = transfer_of(path), Recorder(after=2, action=leave)
    await transfer(SLICES, stay, send)
    assert len(send.messages) == 2
    assert is_closed(transfer)


async def test_content_of_the_request_is_not_taken_for_a_disconnect(scope: Scope, path: Path) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.request"}]

    async def receive() -> Message:
        return messages.pop() if messages else await stay()

    send = Recorder()
    await transfer_of(path)(scope, receive, send)
    assert send.content == path.read_bytes()


async def test_cancellation_is_raised_on_and_the_file_closed(scope: Scope, path: Path) -> None:
    transfer, reached = transfer_of(path), asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] != "http.response.start":
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(transfer(scope, stay, send))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_closed(transfer)


async def test_an_error_of_send_is_raised_on_and_the_file_closed(scope: Scope, path: Path) -> None:
    transfer = transfer_of(path)

    async def send(message: Message) -> None:
        raise RuntimeError("the server is broken")

    with pytest.raises(RuntimeError):
        await transfer(scope, stay, send)
    assert is_closed(transfer)


@pytest.mark.parametrize("left", [pytest.param(0, id="to_nothing"), pytest.param(SIZE - 1, id="by_one_byte")])
async def test_a_file_that_shrinks_leaves_the_response_unfinished(scope: Scope, path: Path, left: int) -> None:
    transfer, send = transfer_of(path), Recorder(after=2, action=lambda: os.truncate(path, left))
    await transfer(scope, stay, send)
    assert not send.finished
    assert len(send.content) < SIZE
    assert is_closed(transfer)


async def test_a_file_rewritten_in_place_leaves_the_response_unfinished(scope: Scope, path: Path) -> None:
    def rewrite() -> None:
        path.write_bytes(os.urandom(SIZE))
        os.utime(path, (1, 1))

    transfer, send = transfer_of(path), Recorder(after=2, action=rewrite)
    await transfer(scope, stay, send)
    assert not send.finished
    assert len(send.content) < SIZE


async def test_a_rewrite_that_ends_larger_is_noticed_while_it_is_shorter(scope: Scope, path: Path) -> None:
    """As ``cp larger file`` does it: at the end of the transfer nothing tells it from a file that grew."""
    transfer, send = transfer_of(path), Recorder(after=3, action=lambda: os.truncate(path, SIZE - 1))

    async def send_and_grow(message: Message) -> None:
        await send(message)
        if len(send.content) > SIZE - 2 * MIB:
            os.truncate(path, SIZE + 1)

    await transfer(scope, stay, send_and_grow)
    assert not send.finished
    assert is_closed(transfer)


async def test_a_rewrite_is_noticed_in_several_ranges_too(scope: Scope, path: Path) -> None:
    def rewrite() -> None:
        os.utime(path, (1, 1))

    transfer = transfer_of(path, range=f"bytes=0-{4 * CHUNK},{8 * CHUNK}-")
    send = Recorder(after=2, action=rewrite)
    await transfer(scope, stay, send)
    assert not send.finished


async def test_a_file_that_grows_is_cut_at_the_announced_length(scope: Scope, path: Path) -> None:
    original = path.read_bytes()

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"more" * CHUNK)

    transfer, send = transfer_of(path), Recorder(after=2, action=grow)
    await transfer(scope, stay, send)
    assert send.content == original
    assert send.finished


async def test_a_small_file_that_shrank_before_it_was_sent_is_a_problem(scope: Scope, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"0123456789")
    transfer, send = transfer_of(small), Recorder()
    os.truncate(small, 5)
    await transfer(scope, stay, send)
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
    await transfer_of(path)(CHUNKS, stay, Recorder())
    counting.cancel()
    assert turns >= SIZE // MIB - 1
