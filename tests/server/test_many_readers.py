"""A thousand clients that take a little now and then, beside one that takes all it can get."""

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.downloading import Download
from tests.tools import Running, running

READERS = 1000
RECEIVE_BUFFER = 4096
SIP = 1024
FEW_DESCRIPTORS = 512  # what the server is started with; it has to raise them itself


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process have the thousand sockets of the readers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def serving_with_few_descriptors(root: Path, *options: str) -> Iterator[Running]:
    lower = f'ulimit -S -n {FEW_DESCRIPTORS} && exec "$@"'
    serve = [sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0", *options]
    with running("sh", "-c", lower, "sh", *serve) as server:
        yield server


class SlowReader:
    """A client that takes the large file a sip at a time; its small buffer leaves the rest to the server."""

    def __init__(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.sock = sock
        self.sock.settimeout(30)
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER
        )  # before connect: it decides the window
        self.sock.connect(address)
        self.sock.sendall(b"GET /download/large HTTP/1.1\r\nHost: test\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.sock.recv(SIP)
        head, _, self.content = data.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])

    def sip(self) -> None:
        """Take a little more."""
        data = self.sock.recv(SIP)
        assert data, "cut off"
        self.content += data


@pytest.mark.parametrize("zero_copy", ["auto", "off"])
def test_a_thousand_slow_readers_hold_nobody_up_and_lose_nothing(
    root: Path, digest: str, zero_copy: str, many_descriptors: None
) -> None:
    content = (root / "large").read_bytes()
    with serving_with_few_descriptors(root, "--zero-copy", zero_copy) as server, ExitStack() as stack:
        host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
        assert host is not None
        assert port is not None
        assert Download(f"{host}:{port}").finish() == digest
        before = server.descriptors()
        readers = [SlowReader(stack.enter_context(socket.socket()), (host, port)) for _ in range(READERS)]
        assert {reader.status for reader in readers} == {200}
        for _ in range(2):
            assert Download(f"{host}:{port}").finish() == digest
            for reader in readers:
                reader.sip()
        assert server.descriptors() >= before + READERS
        assert all(content.startswith(reader.content) for reader in readers)
        stack.close()
        assert server.wait_for_descriptors(before) <= before
        assert "Traceback" not in server.log.read_text()
