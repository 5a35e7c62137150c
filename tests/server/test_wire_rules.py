"""What the server answers to heads, well-formed and not, before any application: RFC 9112, RFC 9110 §10.1.1, §15."""

import re
import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from fileserve.server import Limits
from tests.server.apps import Send, begin_and_wait, body, echo_content, echo_target, hello, start
from tests.server.harness import Served, serving

HOST = b"Host: test\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="host_missing_9112_3.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, id="host_repeated_9112_3.2"),
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, id="host_repeated_in_1.0_9112_3.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, id="host_with_a_space_9112_3.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, id="host_with_a_slash_9112_3.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, id="host_with_user_information_9110_7.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, id="host_with_a_port_of_letters_9110_7.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, id="host_with_an_open_bracket_3986_3.2.2"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, id="host_empty_9110_4.2.1"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", 200, id="host_missing_in_1.0"),
        pytest.param(
            b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 400, id="chunks_in_1.0_9112_6.1"
        ),
        pytest.param(b"GET / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400, id="coding_in_1.0_9112_6.1"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, id="host_ipv6_with_port"),
        pytest.param(b"GET / HTTP/1.1\r\nhOST:  a.example:8000 \r\n\r\n", 200, id="host_with_space_around_9112_5.1"),
        pytest.param(b"GET /\r\n\r\n", 505, id="http_0.9"),
        pytest.param(b"GET / HTTP/0.9\r\n\r\n", 505, id="http_0.9_said"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="http_2.0_9110_15.6.6"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 400, id="http_3.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="http_2_preface_9113_3.4"),
        pytest.param(b"GET / HTTQ/1.1\r\nHost: a\r\n\r\n", 400, id="no_http"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, id="tls_on_a_plain_port"),
        pytest.param(b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_relative_9112_3.2"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_asterisk_of_get_9112_3.2.4"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200, id="target_asterisk_of_options_9112_3.2.4"),
        pytest.param(b"GET a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_authority_of_get_9112_3.2.3"),
        pytest.param(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="connect_9110_9.3.6"),
        pytest.param(b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 501, id="connect_with_a_path_9110_9.3.6"),
        pytest.param(b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_of_another_scheme"),
        pytest.param(b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_without_authority_9110_4.2.1"),
        pytest.param(b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_with_user_information_9110_4.2.4"),
        pytest.param(b"GET http://a/ HTTP/1.1\r\n\r\n", 400, id="target_absolute_but_host_missing_9112_3.2"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="target_with_a_raw_byte"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400, id="space_before_colon_9112_5.1"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400, id="folded_line_9112_5.2"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00\r\n\r\n", 400, id="nul_in_a_value_9110_5.5"),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
            id="lengths_conflict_9112_6.3",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 2\r\n\r\nab", 400, id="lengths_in_a_list_9112_6.3"
        ),
        pytest.param(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", 400, id="length_with_a_sign"),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            id="length_and_chunks_9112_6.1",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
            400,
            id="chunks_and_length_9112_6.1",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 400, id="not_chunked_at_last_9112_6.3"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, id="bad_chunk_9112_7.1"
        ),
        pytest.param(b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 200, id="empty_lines_before_9112_2.2"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 200-maybe\r\n\r\n", 417, id="expectation_9110_10.1.1"),
        pytest.param(
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nExpect: 100-continue, x=y\r\n\r\n",
            417,
            id="one_expectation_of_two_9110_10.1.1",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\nExpect: x\r\n\r\n", 417, id="expectation_in_a_line"
        ),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-Continue\r\n\r\n", 200, id="expectation_that_is_met"),
        pytest.param(b"GET / HTTP/1.1\r\n" + HOST + b"Expect:\r\n\r\n", 200, id="empty_expectation"),
    ],
)
@pytest.mark.parametrize("pace", ["at_once", "byte_by_byte"])
def test_heads_are_answered_by_the_rules(shared: Served, head: bytes, status: int, pace: str) -> None:
    shared.app = hello if b"POST" not in head else echo_content
    with shared.connect() as client:
        if pace == "at_once":
            client.send(head)
        else:
            for position in range(len(head)):
                client.send(head[position : position + 1])
        response = client.response()
        assert response.status == status
        if status != 200:
            assert response.field(b"connection") == b"close"
            assert response.field(b"content-type") == b"application/problem+json"
            assert len(response.values(b"date")) == 1
            assert client.rest() == b""


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        pytest.param("/a%20b?q=1", b"GET /a%20b q=1 test", id="origin_form"),
        pytest.param("http://other:81/a?q", b"GET /a q other:81", id="absolute_form"),
        pytest.param("HTTP://OTHER/a", b"GET /a - OTHER", id="absolute_form_in_capitals"),
        pytest.param("http://other", b"GET / - other", id="absolute_form_without_path"),
        pytest.param("https://other?q", b"GET / q other", id="absolute_form_with_query_alone"),
        pytest.param("//double//slash", b"GET //double//slash - test", id="doubled_slashes"),
    ],
)
def test_a_target_s_authority_replaces_host(shared: Served, target: str, seen: bytes) -> None:
    """RFC 9112 §3.2.2."""
    shared.app = echo_target
    with shared.connect() as client:
        assert client.get(target).response().content == seen


def test_a_malformed_request_behind_others_is_answered_after_them(shared: Served) -> None:
    """Uvicorn would write its 400 into the first response."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(6))
        await send(body(b"one", more=True))
        await receive()
        await send(body(b"two"))

    shared.app = app
    with shared.connect() as client:
        client.send(
            b"GET / HTTP/1.1\r\n" + HOST + b"\r\n" + b"GET /2 HTTP/1.1\r\n" + HOST + b"\r\n" + b"nonsense\r\n\r\n"
        )
        assert client.response().content == b"onetwo"
        assert client.response().content == b"onetwo"
        assert client.response().status == 400
        assert client.rest() == b""


def test_content_that_breaks_under_a_response_breaks_the_connection(shared: Served) -> None:
    shared.app = begin_and_wait
    with shared.connect() as client:
        client.get("/", "Transfer-Encoding: chunked", method="POST")
        client.head()
        client.send(b"nonsense\r\n")
        assert client.rest() == b"one"


def test_a_request_whose_content_breaks_behind_another_is_refused_after_it(shared: Served) -> None:
    shared.app = echo_content
    broken = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    with shared.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n" + broken)
        assert [client.response().status, client.response().status] == [200, 400]
        assert client.rest() == b""


def test_100_is_sent_when_the_application_reads(shared: Served) -> None:
    shared.app = echo_content
    with shared.connect() as client:
        client.get("/", "Expect: 100-continue", "Content-Length: 3", method="PUT")
        assert client.head().status == 100
        client.send(b"abc")
        assert client.response().content == b"abc"


def test_100_is_not_sent_to_http_1_0(shared: Served) -> None:
    """RFC 9110 §10.1.1. The content comes only when the application waits for it, or 100 would not be due at all."""
    asks = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        asks.set()
        await echo_content(scope, receive, send)

    shared.app = app
    with shared.connect() as client:
        client.send(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert asks.wait(10)
        response = client.send(b"abc").response()
        assert (response.status, response.content) == (200, b"abc")


def test_100_is_not_sent_when_the_content_is_here(shared: Served) -> None:
    shared.app = echo_content
    with shared.connect() as client:
        client.send(b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
        assert client.response().status == 200


def test_a_refusal_instead_of_100_ends_the_connection(shared: Served) -> None:
    """Whether the client still sends the content is not known. RFC 9110 §10.1.1."""
    shared.app = hello
    with shared.connect() as client:
        response = client.get("/", "Expect: 100-continue", "Content-Length: 3", method="PUT").response()
        assert (response.status, response.field(b"connection")) == (200, b"close")
        assert client.rest() == b""


def test_a_response_that_ends_before_the_content_says_that_the_connection_ends(shared: Served) -> None:
    """RFC 9112 §9.6."""
    shared.app = hello
    with shared.connect() as client:
        response = client.get("/", "Content-Length: 3", method="PUT").send(b"a").response()
        assert (response.status, response.field(b"connection")) == (200, b"close")
        assert client.rest() == b""


def test_the_content_of_a_get_is_not_taken_for_a_request(shared: Served) -> None:
    shared.app = hello
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with shared.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled).get("/2")
        assert [client.response().status, client.response().status] == [200, 200]
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)


@pytest.mark.parametrize("date_header", [True, False])
def test_every_response_has_one_date_which_is_the_application_s_instant(loop: str, date_header: bool) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        now_ns = scope["extensions"]["fileserve"]["now_ns"]
        first = now_ns()
        content = b"%d %d" % (first, now_ns())
        await send(start(len(content)))
        await send(body(content))

    with serving(app, loop, date_header=date_header) as served, served.connect() as client:
        response = client.get().response()
    (date,) = response.values(b"date")
    first, second = map(int, response.content.split())
    assert first == second
    assert abs(first - time.time_ns()) < 60_000_000_000
    assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)
    assert int(parsedate_to_datetime(date.decode()).timestamp()) == first // 1_000_000_000


def test_an_application_s_own_date_wins(shared: Served) -> None:
    date = b"Sun, 06 Nov 1994 08:49:37 GMT"

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(0, 200, (b"date", date)))
        await send(body())

    shared.app = app
    with shared.connect() as client:
        assert client.get().response().values(b"date") == [date]


@pytest.mark.parametrize("date_header", [True, False])
def test_an_application_that_fails_before_the_start_is_a_500_with_one_date(loop: str, date_header: bool) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        raise RuntimeError("no")

    with serving(app, loop, date_header=date_header) as served, served.connect() as client:
        response = client.get().response()
    assert (response.status, len(response.values(b"date"))) == (500, 1)


def test_uvicorn_s_own_fields_stay(loop: str) -> None:
    with serving(hello, loop, headers=[("X-Served-By", "a")]) as served, served.connect() as client:
        response = client.get().response()
    assert response.values(b"x-served-by") == [b"a"]
    assert response.values(b"server") == [b"uvicorn"]


def test_a_websocket_upgrade_is_ignored_where_nothing_speaks_it(shared: Served) -> None:
    shared.app = hello
    with shared.connect() as client:
        client.get("/", "Connection: Upgrade", "Upgrade: websocket")
        assert client.response().content == b"hello"


def test_draining_is_told_to_the_streams(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        own = scope["extensions"]["fileserve"]
        await send(start())
        await send(body(b"%d%d " % (own["leaving"].is_set(), own["draining"].is_set()), more=True))
        await own["draining"].wait()
        await send(body(b"%d%d" % (own["leaving"].is_set(), own["draining"].is_set())))

    with serving(app, loop) as served, served.connect() as client:
        client.get().head()
        client.until(b"00 ")
        served.server.end()
        client.until(b"11\r\n0\r\n\r\n")
        assert client.rest() == b""


def test_a_server_that_leaves_ends_each_connection_after_its_response(loop: str) -> None:
    from fileserve.server.edge import edge_of

    with serving(hello, loop) as served, served.connect() as client:
        assert client.get().response().field(b"connection") is None
        served.call(lambda: edge_of(served.server.server_state, Limits()).leave())
        while client.get().response().field(b"connection") is None:
            pass
        assert client.rest() == b""


def test_values_have_no_space_at_their_ends(shared: Served) -> None:
    """RFC 9112 §5.1."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        content = dict(scope["headers"])[b"a"]
        await send(start(len(content)))
        await send(body(content))

    shared.app = app
    with shared.connect() as client:
        assert client.send(b"GET / HTTP/1.1\r\n" + HOST + b"A: \t b c\t \r\n\r\n").response().content == b"b c"
