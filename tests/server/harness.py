"""A real uvicorn server in a thread, and a client that speaks and hears bytes.

The server listens on a socket that the test has bound, so a client may connect at once, and it ends when told, without
polling. The client's parser is our own and small, so that the tests do not believe what they test. Nothing here waits
longer than `PATIENCE_S`.
"""

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from fileserve.server import Limits, Protocol
from fileserve.server.edge import edge_of
from fileserve.server.handshakes import Handshakes

PATIENCE_S = 10.0
App = Callable[..., Any]


class ThreadedServer(uvicorn.Server):
    """uvicorn's server, ended by an event instead of by a look ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.ended.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def end(self) -> None:
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.ended.set)


class ShakingServer(ThreadedServer):
    """The same, which counts TLS connections from their first moment, as a worker does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        protocol = self.config.http_protocol_class
        assert isinstance(protocol, type)
        assert issubclass(protocol, Protocol)
        assert self.config.ssl is not None
        connect = partial(protocol, self.config, self.server_state, self.lifespan.state)
        edge = edge_of(self.server_state, protocol.limits)
        handshakes = Handshakes(sockets or [], self.config.ssl, connect, edge)
        handshakes.listen(512)
        self.servers: list[Any] = [handshakes]
        self.started = True


@dataclass
class Served:
    """A running server: where it listens, and what it does."""

    address: Any
    server: ThreadedServer
    app: App

    def call(self, function: Callable[[], Any]) -> None:
        """Run *function* in the server's loop."""
        assert self.server.loop is not None
        self.server.loop.call_soon_threadsafe(function)

    def connect(self, receive_buffer: int | None = None) -> "Client":
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        sock = socket.socket(family)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE_S)
        sock.connect(self.address)
        return Client(sock)

    def protocols(self) -> list[Any]:
        return list(self.server.server_state.connections)

    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextmanager
def serving(
    app: App,
    loop: str = "asyncio",
    limits: Limits | None = None,
    *,
    uds: Path | None = None,
    zero_copy: bool = True,
    kind: type[ThreadedServer] = ThreadedServer,
    **config: Any,
) -> Iterator[Served]:
    """Serve *app* on a free port of the loopback, or on the Unix socket *uds*, until the block ends."""
    listener = socket.socket(socket.AF_UNIX if uds else socket.AF_INET)
    listener.bind(str(uds) if uds else ("127.0.0.1", 0))
    listener.listen(512)
    protocol = Protocol.with_limits(limits or Limits(), zero_copy=zero_copy)
    server_of: list[Served] = []

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await server_of[0].app(scope, receive, send)

    settings = {"log_config": None, "access_log": False, "lifespan": "off", "ws": "none", "interface": "asgi3"} | config
    server = kind(uvicorn.Config(dispatch, http=protocol, loop=loop, **settings))
    served = Served(listener.getsockname(), server, app)
    server_of.append(served)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield served
    finally:
        wait_until(lambda: server.started)
        for connection in list(server.server_state.connections):
            served.call(connection.transport.abort)
        server.end()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not end"


@dataclass(frozen=True)
class Response:
    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    content: bytes

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]

    def field(self, name: bytes) -> bytes | None:
        values = self.values(name)
        return values[0] if values else None


class Client:
    """One connection. Reads only what it is told to read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def get(self, target: str = "/", *fields: str, method: str = "GET") -> "Client":
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *fields]
        return self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def until(self, mark: bytes) -> bytes:
        """Return what comes up to and with *mark*."""
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            assert data, f"the connection ended before {mark!r}, after {self.buffer[-200:]!r}"
            self.buffer += data
        head, mark, self.buffer = self.buffer.partition(mark)
        return head + mark

    def exactly(self, count: int) -> bytes:
        parts, have = [self.buffer[:count]], len(self.buffer[:count])
        self.buffer = self.buffer[count:]
        while have < count:
            data = self.sock.recv(min(1 << 20, count - have))
            assert data, f"the connection ended {count - have} bytes early"
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def rest(self) -> bytes:
        """Return everything up to the end of the connection, proper or not."""
        parts = [self.buffer]
        self.buffer = b""
        try:
            while data := self.sock.recv(1 << 20):
                parts.append(data)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    def head(self) -> Response:
        """Read the head of a response."""
        status_line, *lines = self.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        version, status, reason = status_line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        return Response(int(status), reason, fields, b"")

    def response(self, *, without_content: bool = False) -> Response:
        """Read one response, framed by chunks, by Content-Length or by the connection's end. RFC 9112 §6.3."""
        head = self.head()
        length = head.field(b"content-length")
        if without_content or head.status in (204, 304):
            content = b""
        elif head.field(b"transfer-encoding") == b"chunked":
            content = self._chunks()
        else:
            content = self.exactly(int(length)) if length is not None else self.rest()
        return Response(head.status, head.reason, head.fields, content)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.until(b"\r\n"), 16):
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return b"".join(parts)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds; for states of another thread that come without an event."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def connect_tls(served: Served, tls: Mapping[str, Any]) -> Client:
    """Connect, and shake hands with the server whose certificate *tls* has."""
    context = ssl.create_default_context(cafile=tls["ssl_certfile"])
    context.check_hostname = False
    sock = socket.create_connection(served.address, PATIENCE_S)
    return Client(context.wrap_socket(sock))
