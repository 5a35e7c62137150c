"""What stands behind and inside a request: pipelines, trailers, an Upgrade. RFC 9110 §6.5, §7.8, RFC 9112 §9.3."""

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserve.server import Limits
from fileserve.server.intake import PIECE_BYTES
from tests.server.apps import Send, begin_and_wait, body, echo_content, echo_target, hello, start
from tests.server.harness import Client, Served, serving, wait_until

HOST = b"Host: test\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
CHUNKED = GET + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
KIB = 1024


async def report(scope: Any, receive: Any, send: Send) -> None:
    """Answer with the method, the path and the content."""
    content, more = scope["method"].encode() + scope["raw_path"], True
    while more:
        message = await receive()
        content, more = content + message.get("body", b""), message.get("more_body", False)
    await send(start(len(content)))
    await send(body(content))


async def fields(scope: Any, receive: Any, send: Send) -> None:
    """Read the content, then answer with the names of the fields."""
    while (await receive()).get("more_body"):
        pass
    names = b" ".join(name for name, _ in scope["headers"])
    await send(start(len(names)))
    await send(body(names))


def is_silent(client: Client) -> bool:
    """Tell whether nothing comes, and the connection stays."""
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)
    return True


@pytest.mark.parametrize("reads", [False, True], ids=["application_that_answers", "application_that_reads"])
def test_few_requests_of_a_pipeline_wait_and_all_are_answered(loop: str, reads: bool) -> None:
    """One segment may hold ten thousand requests; each that waits costs memory."""
    count, waiting = 6000, list[int]()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        waiting.extend(len(protocol.pipeline) for protocol in served.protocols())
        await (report if reads else echo_target)(scope, receive, send)

    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost:a\r\n\r\n" % number for number in range(count))
    with serving(app, loop) as served, served.connect() as client:
        sending = threading.Thread(target=client.send, args=(requests,))
        sending.start()
        for number in range(count):
            assert (b"/%d" % number) in client.response().content
        sending.join()
        assert is_silent(client)
    assert len(waiting) == count
    assert max(waiting) <= PIECE_BYTES // len(b"GET /0 HTTP/1.1\r\nHost:a\r\n\r\n")


def test_a_pipeline_behind_a_long_response_stays_with_the_client(loop: str) -> None:
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()  # at this uvicorn would read on
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await hello(scope, receive, send)

    with serving(app, loop) as served, served.connect() as client:
        client.sock.settimeout(0.2)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 << 20:
                sent += client.sock.send((GET + b"\r\n") * 1000)
        (protocol,) = served.protocols()
        waiting, unparsed = len(protocol.pipeline), len(protocol.unparsed)
        client.reset()
        go_on.set()
    assert sent < 64 << 20
    assert 0 < unparsed <= 512 * KIB
    assert 0 < waiting <= PIECE_BYTES // len(GET)


MIXTURE = [
    (GET + b"\r\n", b"GET/"),
    (b"PUT /1 HTTP/1.1\r\n" + HOST + b"Content-Length: 5000\r\n\r\n" + GET[:10] * 500, b"PUT/1" + GET[:10] * 500),
    (b"PUT /2 HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 3\r\n\r\nabc", b"PUT/2abc"),
    (b"GET /3 HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n", b"GET/3"),
    (
        b"PUT /4 HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n",
        b"PUT/4abcd",
    ),
    (
        b"PUT /5 HTTP/1.1\r\n" + HOST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"PUT/5abc",
    ),
    (b"GET /6 HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 6000 + b"\r\n\r\n", b"GET/6"),
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(range(len(MIXTURE))), min_size=1, max_size=30), st.sampled_from([13, 700, 5000, 1 << 20])
)
def test_the_answers_do_not_depend_on_how_the_bytes_arrive(shared: Served, order: list[int], piece: int) -> None:
    shared.app = report
    data = b"".join(MIXTURE[number][0] for number in order)
    with shared.connect() as client:
        for position in range(0, len(data), piece):
            client.send(data[position : position + piece])
        for number in order:
            assert client.response().content == MIXTURE[number][1]


def test_trailers_are_not_fields_of_the_request(shared: Served) -> None:
    """RFC 9110 §6.5.1."""
    shared.app = fields
    with shared.connect() as client:
        client.send(CHUNKED + b"1\r\na\r\n0\r\nRange: bytes=0-0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
        assert client.response().content == b"host transfer-encoding"
        assert client.get("/", "A: b").response().content == b"host a"


@pytest.mark.parametrize(
    ("trailers", "status"),
    [
        pytest.param(b"A: bcd\r\n" * 100 + b"\r\n", 200, id="just_few_enough"),
        pytest.param(b"A: bcd\r\n" * 101 + b"\r\n", 431, id="too_many"),
        pytest.param(b"A: bcd\r\n" * 110, 431, id="too_many_still_arriving"),
        pytest.param(b"A: " + b"a" * 63 * KIB + b"\r\n\r\n", 200, id="long"),
        pytest.param(b"A: " + b"a" * 70 * KIB + b"\r\n\r\n", 431, id="too_long"),
        pytest.param(b"A: " + b"a" * 1000 * KIB, 431, id="a_field_without_end"),
    ],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["at_once", "in_pieces"])
def test_trailers_have_a_size(shared: Served, trailers: bytes, status: int, piece: int) -> None:
    """RFC 6585 §5."""
    shared.app = echo_content
    data = CHUNKED + b"1\r\na\r\n0\r\n" + trailers
    with shared.connect() as client:
        for position in range(0, len(data), piece):
            try:
                client.send(data[position : position + piece])
            except (BrokenPipeError, ConnectionResetError):
                break
        assert client.response().status == status


def test_an_extension_of_a_chunk_has_a_size(shared: Served) -> None:
    """It is bytes without content, as trailers are. RFC 9112 §7.1.1."""
    shared.app = echo_content
    with shared.connect() as client:
        client.send(CHUNKED + b"1;" + b"a" * 100 * KIB)
        assert client.response().status == 431


def test_trailers_without_end_under_a_response_break_it_off(shared: Served) -> None:
    shared.app = begin_and_wait
    with shared.connect() as client:
        client.send(CHUNKED + b"0\r\n").head()
        client.send(b"A: " + b"a" * 100 * KIB)
        assert client.rest() == b"one"


@pytest.mark.parametrize(
    "upgrade", [UPGRADE, b"Connection: upgrade\r\nUpgrade: websocket\r\n"], ids=["h2c", "websocket"]
)
def test_what_follows_an_upgrade_that_nobody_speaks_is_the_next_request(
    shared: Served, upgrade: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A parser that stops at the Upgrade loses the head of the POST, and takes its content for a request."""
    shared.app = report
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    post = b"POST /post HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(smuggled)
    with shared.connect() as client:
        client.send(GET + upgrade + b"\r\n" + post)
        assert client.response().content == b"GET/"
        assert client.send(smuggled).response().content == b"POST/post" + smuggled
        assert client.get("/3").response().content == b"GET/3"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_ignored_upgrade_is_not_told_to_the_application(shared: Served) -> None:
    shared.app = fields
    with shared.connect() as client:
        assert client.get("/", "Connection: Upgrade", "Upgrade: h2c").response().content == b"host connection"


def test_a_malformed_request_with_an_upgrade_is_refused(shared: Served) -> None:
    shared.app = hello
    with shared.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n" + UPGRADE + b"\r\n" + GET + b"\r\n")
        assert client.response().status == 400
        assert client.rest() == b""


def test_a_tunnel_is_refused_with_all_that_is_sent_through_it(shared: Served) -> None:
    """RFC 9110 §9.3.6."""
    shared.app = hello
    with shared.connect() as client:
        client.send(b"CONNECT test:80 HTTP/1.1\r\n" + HOST + b"\r\n" + GET + b"\r\n")
        response = client.response()
        assert (response.status, response.field(b"connection")) == (501, b"close")
        assert client.rest() == b""


def test_a_connection_that_ends_after_a_response_answers_nothing_behind_it(loop: str) -> None:
    """RFC 9112 §9.6; the requests behind it may be kept and unparsed."""
    with serving(hello, loop, Limits()) as served, served.connect() as client:
        client.send(GET + b"Connection: close\r\n\r\n" + (GET + b"\r\n") * 1000)
        assert client.response().field(b"connection") == b"close"
        assert b"HTTP/1.1" not in client.rest()
        wait_until(lambda: not served.connections())
