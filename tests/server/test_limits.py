"""What a connection, a client and the server may cost: sizes, times and numbers of `Limits`, on a real socket."""

import asyncio
import socket
import threading
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from fileserve.server import Limits
from fileserve.server.edge import MAX_LINGERING
from tests.server.apps import Send, body, echo_content, hello, start
from tests.server.harness import Client, descriptors, serving, wait_until

HEAD = b"GET / HTTP/1.1\r\nHost: test\r\n"
KIB = 1024


def send_as_long_as_heard(client: Client, data: bytes) -> None:
    """Send until the server stops listening; it may answer and close before the last byte."""
    with suppress(BrokenPipeError, ConnectionResetError):
        client.send(data)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(HEAD + b"A: " + b"a" * (64 * KIB - 60) + b"\r\n\r\n", 200, id="just_fits"),
        pytest.param(HEAD + b"A: " + b"a" * 64 * KIB + b"\r\n\r\n", 431, id="one_long_field"),
        pytest.param(HEAD + b"A: " + b"a" * 70 * KIB, 431, id="one_long_field_still_arriving"),
        pytest.param(HEAD + b"A: " + b"a" * 1000 * KIB, 431, id="a_field_without_end"),
        pytest.param(HEAD + b"A: bcd\r\n" * 98 + b"\r\n", 200, id="just_few_enough_fields"),
        pytest.param(HEAD + b"A: bcd\r\n" * 100 + b"\r\n", 431, id="too_many_fields"),
        pytest.param(HEAD + b"A: bcd\r\n" * 110, 431, id="too_many_fields_still_arriving"),
        pytest.param(b"GET /" + b"a" * 65 * KIB + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, id="long_target"),
        pytest.param(b"GET /" + b"a" * 70 * KIB, 414, id="long_target_still_arriving"),
    ],
)
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["at_once", "in_pieces"])
def test_heads_have_a_size(loop: str, head: bytes, status: int, piece: int) -> None:
    with serving(hello, loop) as served, served.connect() as client:
        for position in range(0, len(head), piece):
            send_as_long_as_heard(client, head[position : position + piece])
        assert client.response().status == status


def test_content_is_not_counted_as_a_head(loop: str) -> None:
    """Content, a whole head and half a head arrive together; then the other half."""
    content = b"x" * 200 * KIB
    put = b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(content)
    with serving(echo_content, loop) as served, served.connect() as client:
        client.send(put + content + HEAD + b"\r\n" + HEAD)
        assert client.response().content == content
        assert client.response().status == 200
        assert client.send(b"\r\n").response().status == 200


def test_a_large_head_behind_a_small_request_is_refused_after_it(loop: str) -> None:
    with serving(hello, loop) as served, served.connect() as client:
        send_as_long_as_heard(client, HEAD + b"\r\n" + HEAD + b"A: " + b"a" * 150 * KIB + b"\r\n\r\n")
        assert [client.response().status, client.response().status] == [200, 431]


@pytest.mark.parametrize("dripped", [b"GET /", HEAD + b"A: b\r\nB"], ids=["in_the_request_line", "in_a_field"])
def test_a_head_that_drips_is_cut_with_408(loop: str, dripped: bytes) -> None:
    with serving(hello, loop, Limits(head_timeout_s=0.2)) as served, served.connect() as client:
        client.send(dripped)
        stopped = threading.Event()

        def drip() -> None:
            while not stopped.wait(0.02):
                send_as_long_as_heard(client, b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert client.response().status == 408
            assert client.rest() == b""
        finally:
            stopped.set()
            thread.join()


def test_a_second_head_that_drips_is_cut_too(loop: str) -> None:
    with serving(hello, loop, Limits(head_timeout_s=0.2)) as served, served.connect() as client:
        assert client.get().response().status == 200
        assert client.send(b"GET").response().status == 408


def test_half_a_head_behind_a_running_request_has_its_time_after_it(loop: str) -> None:
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 0.5)
        await hello(scope, receive, send)

    with serving(app, loop, Limits(head_timeout_s=0.1)) as served, served.connect() as client:
        client.send(HEAD + b"\r\n" + HEAD)
        assert [client.response().status, client.response().status] == [200, 408]


@pytest.mark.parametrize("noise", [b"", b"\r\n"], ids=["nothing", "an_empty_line"])
def test_a_connection_on_which_nothing_is_asked_is_closed_in_silence(loop: str, noise: bytes) -> None:
    """Browsers keep spare connections; an answer that nobody asked for would confuse them."""
    with serving(hello, loop, Limits(head_timeout_s=0.1)) as served, served.connect() as client:
        if noise:
            client.send(noise)
        assert client.rest() == b""


def test_an_idle_connection_is_closed(loop: str) -> None:
    with serving(hello, loop, Limits(keep_alive_s=0.1)) as served, served.connect() as client:
        assert client.get().response().status == 200
        assert client.rest() == b""


def test_an_idle_connection_that_gets_noise_is_closed(loop: str) -> None:
    limits = Limits(keep_alive_s=60, head_timeout_s=0.1)
    with serving(hello, loop, limits) as served, served.connect() as client:
        assert client.get().response().status == 200
        assert client.send(b"\r\n").rest() == b""


def test_a_transfer_s_whole_time_is_not_limited(loop: str) -> None:
    go_on = threading.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(20))
        for number in range(20):
            await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 0.03)
            await send(body(b"x", more=number < 19))

    limits = Limits(head_timeout_s=0.1, stall_timeout_s=0.2, keep_alive_s=0.1)
    with serving(app, loop, limits) as served, served.connect() as client:
        assert client.get().response().content == b"x" * 20


def test_one_connection_too_many_is_answered_503(loop: str) -> None:
    with serving(hello, loop, Limits(connections=2, retry_after_s=7)) as served:
        with served.connect() as first, served.connect() as second:
            assert [first.get().response().status, second.get().response().status] == [200, 200]
            with served.connect() as third:
                response = third.get().response()
                assert (response.status, response.field(b"retry-after")) == (503, b"7")
                assert third.rest() == b""
            assert first.get().response().status == 200
        wait_until(lambda: not served.connections())
        with served.connect() as fourth:
            assert fourth.get().response().status == 200


def test_refused_connections_take_no_place(loop: str) -> None:
    """They live a moment longer, to be heard; whoever comes then finds the freed place."""
    with serving(hello, loop, Limits(connections=1)) as served, ExitStack() as stack:
        first = stack.enter_context(served.connect())
        assert first.get().response().status == 200
        refused = [stack.enter_context(served.connect()) for _ in range(5)]
        assert {client.response().status for client in refused} == {503}
        first.sock.close()
        wait_until(lambda: served.connections() <= len(refused))
        with served.connect() as another:
            assert another.get().response().status == 200


def test_few_refused_connections_are_heard_out(loop: str) -> None:
    """The descriptors that they hold are taken from those that nobody else counts on."""
    with serving(hello, loop, Limits(connections=1)) as served, ExitStack() as stack:
        first = stack.enter_context(served.connect())
        assert first.get().response().status == 200
        refused = [stack.enter_context(served.connect()) for _ in range(MAX_LINGERING + 20)]
        assert {client.response().status for client in refused} == {503}
        wait_until(lambda: served.connections() <= 1 + MAX_LINGERING)
        assert first.get().response().status == 200
        (edge,) = {protocol.edge for protocol in served.protocols()}
        for client in refused:
            client.sock.close()
        wait_until(lambda: not edge.lingering)


def test_one_connection_of_a_client_too_many_is_answered_429(loop: str) -> None:
    with serving(hello, loop, Limits(connections_per_client=1)) as served:
        with served.connect() as first:
            assert first.get().response().status == 200
            with served.connect() as second:
                response = second.get().response()
                assert (response.status, response.field(b"retry-after")) == (429, b"5")
        wait_until(lambda: not served.connections())
        with served.connect() as third:
            assert third.get().response().status == 200


def test_connections_of_a_trusted_proxy_are_not_counted(loop: str) -> None:
    limits = Limits(connections_per_client=1, trusted_proxies=("127.0.0.0/8",))
    with serving(hello, loop, limits) as served, served.connect() as first, served.connect() as second:
        assert [first.get().response().status, second.get().response().status] == [200, 200]


def held(entered: threading.Semaphore, go_on: threading.Event) -> Any:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        entered.release()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await hello(scope, receive, send)

    return app


@pytest.mark.parametrize(
    ("trusted", "forwarded", "statuses"),
    [
        pytest.param((), ("X-A: b", "X-A: b"), [200, 429], id="same_peer"),
        pytest.param((), ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"), [200, 429], id="untrusted_word"),
        pytest.param(
            ("127.0.0.1",), ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"), [200, 200], id="two_clients"
        ),
        pytest.param(
            ("127.0.0.1",), ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 9.9.9.9, 1.1.1.1"), [200, 429], id="forged"
        ),
    ],
)
def test_transfers_of_a_client_have_a_number(
    loop: str, trusted: tuple[str, ...], forwarded: tuple[str, str], statuses: list[int]
) -> None:
    entered, go_on = threading.Semaphore(0), threading.Event()
    limits = Limits(transfers_per_client=1, trusted_proxies=trusted)
    with serving(held(entered, go_on), loop, limits) as served, served.connect() as first, served.connect() as second:
        first.get("/", forwarded[0])
        assert entered.acquire(timeout=10)
        second.get("/", forwarded[1])
        if statuses[1] == 200:
            assert entered.acquire(timeout=10)
            go_on.set()
        response = second.response()
        go_on.set()
        assert [first.response().status, response.status] == statuses
        assert response.field(b"retry-after") == (b"5" if statuses[1] == 429 else None)
        assert second.get("/", forwarded[1]).response().status == 200  # refused, not cut off; and the place is free


def test_a_request_that_is_dropped_before_it_begins_takes_no_place(loop: str) -> None:
    """The content breaks in the same segment, before the application's first step."""
    broken = HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"
    with serving(hello, loop, Limits(transfers_per_client=1)) as served:
        for _ in range(3):
            with served.connect() as client:
                assert client.send(broken).response().status == 400
        with served.connect() as client:
            assert client.get().response().status == 200


def test_the_scope_has_the_client_and_scheme_that_a_trusted_proxy_forwards(loop: str) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        content = f"{scope['client'][0]} {scope['scheme']} {scope['extensions']['fileserve']['is_proxied']}".encode()
        await send(start(len(content)))
        await send(body(content))

    fields = ("X-Forwarded-For: 9.9.9.9, 2001:db8::1", "X-Forwarded-Proto: https")
    for trusted, seen in [((), b"127.0.0.1 http False"), (("127.0.0.1",), b"2001:db8::1 https True")]:
        limits = Limits(trusted_proxies=trusted)
        with serving(app, loop, limits, proxy_headers=False) as served, served.connect() as client:
            assert client.get("/", *fields).response().content == seen


def test_a_hundred_half_requests_hold_nobody_up_and_leave_nothing(loop: str) -> None:
    with serving(hello, loop, Limits(head_timeout_s=0.5)) as served, ExitStack() as stack:
        wait_until(lambda: served.server.started)
        before = descriptors()
        halves = [stack.enter_context(served.connect()).send(b"GET / HTTP/1.1\r\nHo") for _ in range(100)]
        with served.connect() as client:
            assert client.get().response().status == 200
        assert {half.response().status for half in halves} == {408}
        for half in halves:
            half.sock.shutdown(socket.SHUT_WR)
            half.sock.close()
        wait_until(lambda: not served.connections() and descriptors() <= before)


def test_the_number_of_connections_follows_the_descriptors() -> None:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert Limits().affordable_connections() == (soft - 64) // 3
    assert Limits(connections=5).affordable_connections() == 5


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        pytest.param("192.0.2.7", b"192.0.2.7", id="ipv4"),
        pytest.param("2001:db8:1:2:3:4:5:6", b"2001:db8:1:2::/64", id="ipv6"),
    ],
)
def test_the_application_is_told_who_is_counted_as_one_client(loop: str, forwarded: str, client: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        told = scope["extensions"]["fileserve"]["client"]().encode()
        await send(start(len(told)))
        await send(body(told))

    with serving(app, loop, Limits(trusted_proxies=("127.0.0.1",))) as served, served.connect() as connection:
        assert connection.get("/", f"X-Forwarded-For: {forwarded}").response().content == client
