"""The ASGI extension ``http.response.zerocopysend`` on a real socket: every byte, in order, however it is asked for."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from fileserve import disk
from fileserve.server.sockets import NOTSENT_LOWAT
from fileserve.server.zerocopy import SPAN
from tests.server.apps import App, Send, body, file_app, file_or_hello, region, start
from tests.server.harness import Served, serving

MIB = 1 << 20


def messages_app(*messages: Any) -> App:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def test_a_file_arrives_whole(shared: Served, file: Path, content: bytes) -> None:
    shared.app = file_app(file)
    with shared.connect() as client:
        assert client.get().response().content == content


@pytest.mark.parametrize(
    ("first", "stop"),
    [
        pytest.param(0, 0, id="nothing"),
        pytest.param(0, 1, id="first_byte"),
        pytest.param(SPAN - 1, SPAN + 1, id="over_a_span's_edge"),
        pytest.param(1, 1 + SPAN, id="one_span_unaligned"),
        pytest.param(5, 3 * SPAN + 7, id="three_spans_and_a_bit"),
        pytest.param(24 * MIB - 1, 24 * MIB, id="last_byte"),
    ],
)
def test_a_region_arrives_exactly(shared: Served, file: Path, content: bytes, first: int, stop: int) -> None:
    shared.app = file_app(file)
    with shared.connect() as client:
        assert client.get(f"/?{first}-{stop}").response().content == content[first:stop]


@pytest.mark.parametrize("length", [pytest.param(True, id="content_length"), pytest.param(False, id="chunked")])
def test_body_and_zero_copy_messages_interleave(shared: Served, file: Path, content: bytes, length: bool) -> None:
    expected = b"head" + content[: 2 * MIB] + b"middle" * 20_000 + content[7:9] + b"" + content[-MIB:] + b"tail"
    fd = os.open(file, os.O_RDONLY)
    shared.app = messages_app(
        start(len(expected) if length else None),
        body(b"head", more=True),
        region(fd, 0, 2 * MIB, more=True),
        body(b"middle" * 20_000, more=True),
        region(fd, 7, 2, more=True),
        region(fd, 7, 0, more=True),
        region(fd, 23 * MIB, MIB, more=True),
        body(b"tail"),
    )
    try:
        with shared.connect() as client:
            for _ in range(3):
                assert client.get().response().content == expected
    finally:
        os.close(fd)


@pytest.mark.parametrize("as_object", [True, False], ids=["file_object", "descriptor"])
def test_offset_and_count_have_defaults(shared: Served, file: Path, content: bytes, as_object: bool) -> None:
    """Without ``offset`` it is the current position, which moves on; without ``count`` the rest of the file."""
    with file.open("rb", buffering=0) as opened:
        opened.seek(22 * MIB)
        source = opened if as_object else opened.fileno()
        shared.app = messages_app(start(2 * MIB), region(source, count=MIB, more=True), region(source))
        with shared.connect() as client:
            assert client.get().response().content == content[22 * MIB :]
        assert opened.tell() == 24 * MIB


def test_the_connection_stays_usable_after_zero_copy(shared: Served, file: Path, content: bytes) -> None:
    shared.app = file_or_hello(file)
    with shared.connect() as client:
        for _ in range(5):
            assert client.get("/?0-3000000").response().content == content[:3_000_000]
            assert client.get("/hello").response().content == b"hello"


def test_the_last_segment_is_pushed_when_the_response_is_complete(loop: str, file: Path, content: bytes) -> None:
    """A cork that stayed would hold it back for a fifth of a second."""
    with serving(file_app(file), loop) as served, served.connect() as client:
        assert client.get("/?0-100001").response().content == content[:100_001]
        (protocol,) = served.protocols()
        sock = protocol.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0
        assert sock.getsockopt(socket.IPPROTO_TCP, 25) == NOTSENT_LOWAT


def test_five_pipelined_requests_are_answered_in_order(shared: Served, file: Path, content: bytes) -> None:
    shared.app = file_or_hello(file)
    with shared.connect() as client:
        client.get("/?0-8388608").get("/hello").get("/?8388608-16777216").get("/?3-4").get("/?16777216-25165824")
        answers = [client.response().content for _ in range(5)]
    assert answers == [content[: 8 * MIB], b"hello", content[8 * MIB : 16 * MIB], content[3:4], content[16 * MIB :]]


def test_head_sends_nothing_of_the_file(shared: Served, file: Path, content: bytes) -> None:
    shared.app = file_app(file)
    with shared.connect() as client:
        head = client.get(method="HEAD").response(without_content=True)
        assert head.field(b"content-length") == b"%d" % len(content)
        assert client.get("/?0-4").response().content == content[:4]


def test_http_1_0_gets_the_file_and_the_end(shared: Served, file: Path, content: bytes) -> None:
    shared.app = file_app(file)
    with shared.connect() as client:
        response = client.send(b"GET /?0-1000000 HTTP/1.0\r\n\r\n").response()
        assert (response.content, client.rest()) == (content[:1_000_000], b"")


def test_what_is_not_in_the_page_cache_goes_through_the_disk_threads(
    loop: str, file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    submit = disk.submit

    def counted_submit(*arguments: Any) -> Any:
        jobs.append(arguments)
        return submit(*arguments)

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(disk, "submit", counted_submit)
    with serving(file_app(file), loop) as served, served.connect() as client:
        assert client.get().response().content == content
        assert client.get("/?5-6").response().content == content[5:6]
    assert len(jobs) >= len(content) / (4 * SPAN)


def test_a_half_cold_file_arrives_whole(loop: str, file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: offset // (3 * MIB) % 2 == 0)
    with serving(file_app(file), loop) as served, served.connect() as client:
        assert client.get().response().content == content


def test_more_than_announced_is_refused(shared: Served, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    fd = os.open(file, os.O_RDONLY)
    shared.app = messages_app(start(10), region(fd, 0, 11))
    with shared.connect() as client:
        assert client.get().head().status == 200
        assert client.rest() == b""
    os.close(fd)
    assert "longer than Content-Length" in caplog.text


def test_a_region_before_the_start_is_an_error(shared: Served, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    fd = os.open(file, os.O_RDONLY)
    shared.app = messages_app(region(fd, 0, 11))
    with shared.connect() as client:
        assert client.get().response().status == 500
    os.close(fd)
    assert "http.response.start" in caplog.text


def test_it_works_on_a_unix_socket(loop: str, file: Path, content: bytes, tmp_path: Path) -> None:
    with serving(file_app(file), loop, uds=tmp_path / "socket") as served, served.connect() as client:
        assert client.get().response().content == content


def test_the_extension_can_be_switched_off(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(1))
        await send(body(b"%d" % ("http.response.zerocopysend" in scope["extensions"])))

    for zero_copy in (True, False):
        with serving(app, loop, zero_copy=zero_copy) as served, served.connect() as client:
            assert client.get().response().content == b"%d" % zero_copy


def test_a_slow_reader_gets_every_byte_and_holds_nobody_up(loop: str, file: Path, content: bytes) -> None:
    with serving(file_app(file), loop) as served, served.connect(receive_buffer=4096) as slow:
        slow.get()
        slow.head()
        for _ in range(3):
            with served.connect() as fast:
                assert fast.get().response().content == content
        assert slow.exactly(len(content)) == content


def test_body_and_zero_copy_messages_stay_in_order_for_a_slow_reader(
    shared: Served, file: Path, content: bytes
) -> None:
    """What the transport still holds goes first; a socket that is full holds some of it back each time."""
    pieces = [content[start : start + 50_000] for start in range(0, 10_000_000, 50_000)]
    fd = os.open(file, os.O_RDONLY)
    messages = [
        body(piece, more=True) if number % 2 else region(fd, number * 50_000, 50_000, more=True)
        for number, piece in enumerate(pieces)
    ]
    shared.app = messages_app(start(len(pieces) * 50_000), *messages, body())
    with shared.connect(receive_buffer=4096) as client:
        assert client.get().response().content == b"".join(pieces)
    os.close(fd)
