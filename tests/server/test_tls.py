"""TLS in the process: the same limits and rules, but no zero-copy, because the kernel sees no plain text."""

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fileserve.server import Limits
from tests.server.apps import Send, body, hello, start
from tests.server.harness import PATIENCE_S, Client, Served, serving
from tests.tools import tool


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, Any]:
    """A self-signed certificate, as uvicorn's settings."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-days", "1"]
    command = [tool("openssl"), "req", "-x509", *curve, "-keyout", key, "-out", certificate, *subject]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {"ssl_keyfile": key, "ssl_certfile": certificate}


def connect(served: Served, certificate: dict[str, Any]) -> Client:
    context = ssl.create_default_context(cafile=certificate["ssl_certfile"])
    context.check_hostname = False
    sock = socket.create_connection(served.address, PATIENCE_S)
    return Client(context.wrap_socket(sock))


def test_the_extension_is_not_offered(loop: str, certificate: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        content = f"{scope['scheme']} {sorted(scope['extensions'])}".encode()
        await send(start(len(content)))
        await send(body(content))

    with serving(app, loop, **certificate) as served, connect(served, certificate) as client:
        assert client.get().response().content == b"https ['fileserve']"


def test_a_large_response_arrives_whole(loop: str, certificate: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(64 * 262_144))
        for number in range(64):
            await send(body(bytes([number]) * 262_144, more=number < 63))

    with serving(app, loop, **certificate) as served, connect(served, certificate) as client:
        for _ in range(2):
            assert client.get().response().content == b"".join(bytes([number]) * 262_144 for number in range(64))


def test_the_wire_rules_hold(loop: str, certificate: dict[str, Any]) -> None:
    with serving(hello, loop, **certificate) as served, connect(served, certificate) as client:
        assert client.send(b"GET / HTTP/1.1\r\n\r\n").response().status == 400


def test_a_dripping_head_is_cut(loop: str, certificate: dict[str, Any]) -> None:
    limits = Limits(head_timeout_s=0.2)
    with serving(hello, loop, limits, **certificate) as served, connect(served, certificate) as client:
        assert client.send(b"GET").response().status == 408
