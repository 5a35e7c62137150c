"""TLS in the process: the same limits and rules, but no zero-copy, because the kernel sees no plain text."""

from typing import Any

import pytest

from fileserve.server import Limits
from tests.server.apps import Send, body, hello, start
from tests.server.harness import ShakingServer, ThreadedServer, connect_tls, serving


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
