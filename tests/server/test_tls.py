"""TLS in the process: the same limits and rules, but no zero-copy, because the kernel sees no plain text."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fileserve.server import Limits
from tests.server.apps import Send, body, hello, start
from tests.server.harness import Client, Served, ShakingServer, ThreadedServer, connect_tls, serving, wait_until


@pytest.fixture(params=[ThreadedServer, ShakingServer])
def server(request: pytest.FixtureRequest, tls: dict[str, Any]) -> dict[str, Any]:
    """A server with a certificate: uvicorn's own, and the one of a worker."""
    return {"kind": request.param, **tls}


def test_the_extension_is_not_offered(loop: str, server: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        content = f"{scope['scheme']} {sorted(scope['extensions'])}".encode()
        await send(start(len(content)))
        await send(body(content))

    with serving(app, loop, **server) as served, connect_tls(served, server) as client:
        assert client.get().response().content == b"https ['fileserve']"


def test_a_large_response_arrives_whole(loop: str, server: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(64 * 262_144))
        for number in range(64):
            await send(body(bytes([number]) * 262_144, more=number < 63))

    with serving(app, loop, **server) as served, connect_tls(served, server) as client:
        for _ in range(2):
            assert client.get().response().content == b"".join(bytes([number]) * 262_144 for number in range(64))


def test_the_wire_rules_hold(loop: str, server: dict[str, Any]) -> None:
    with serving(hello, loop, **server) as served, connect_tls(served, server) as client:
        assert client.send(b"GET / HTTP/1.1\r\n\r\n").response().status == 400


def test_a_dripping_head_is_cut(loop: str, server: dict[str, Any]) -> None:
    limits = Limits(head_timeout_s=0.2)
    with serving(hello, loop, limits, **server) as served, connect_tls(served, server) as client:
        assert client.send(b"GET").response().status == 408


MIB = 1 << 20
CLOSES = (b"connection", b"close")


async def large_and_last(scope: Any, receive: Any, send: Send) -> None:
    """Answer with more than the kernel takes, as the last response of the connection."""
    await send(start(8 * MIB, 200, CLOSES))
    await send(body(b"a" * 8 * MIB))


@contextmanager
def closing(served: Served, tls: dict[str, Any]) -> Iterator[Client]:
    """Have the connection closed by the server while most of its last response is not yet taken."""
    with connect_tls(served, tls) as client:
        client.get().head()
        wait_until(lambda: all(protocol.transport.is_closing() for protocol in served.protocols()))
        yield client


def test_a_slow_client_gets_the_end_of_a_last_response(tls: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops' own time for the goodbye would run while the client still takes the content."""
    monkeypatch.setattr("asyncio.constants.SSL_SHUTDOWN_TIMEOUT", 0.05)
    is_over = threading.Event()
    with serving(large_and_last, "asyncio", kind=ShakingServer, **tls) as served, closing(served, tls) as client:
        served.call(lambda: asyncio.get_running_loop().call_later(0.1, is_over.set))
        assert is_over.wait(10)
        assert client.exactly(8 * MIB) == b"a" * 8 * MIB


def test_a_client_that_says_no_goodbye_is_let_go(
    loop: str, tls: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(stall_timeout_s=0.2)
    with serving(large_and_last, loop, limits, kind=ShakingServer, **tls) as served, closing(served, tls) as client:
        client.exactly(8 * MIB)
        wait_until(lambda: not served.connections())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_stops_taking_a_last_response_is_reset(
    loop: str, tls: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(stall_timeout_s=0.2)
    with serving(large_and_last, loop, limits, kind=ShakingServer, **tls) as served, closing(served, tls):
        served.call(lambda: [protocol.shutdown() for protocol in served.protocols()])  # a drain begins, too
        wait_until(lambda: not served.connections())
    assert any("stalled" in record.getMessage() for record in caplog.records)
