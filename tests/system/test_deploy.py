"""What docs/deploy.md tells to run, where the server is one that the tests have."""

import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.tools import Running, running

pytestmark = pytest.mark.system

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "deploy.md").read_text()
ROOT = "FILESERVE_ROOT=/srv/files"
CONTENT = os.urandom(300_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "sample").write_bytes(CONTENT)
    return root


def command_of(server: str) -> list[str]:
    """Return the command that the document has for *server*, run by this Python."""
    (line,) = re.findall(rf"^\$ {ROOT} ({server} .*)$", DOCUMENT.replace("\\\n", " "), re.MULTILINE)
    words = shlex.split(line, comments=True)
    return [sys.executable, "-m", *words]


def answers(server: Running) -> None:
    with urlopen(f"{server.url}/download/sample") as answer:
        assert answer.read() == CONTENT


@pytest.mark.parametrize(("server", "on_a_free_port"), [("uvicorn", "--port 0"), ("hypercorn", "--bind 127.0.0.1:0")])
def test_the_command_for_another_server_serves(server: str, on_a_free_port: str, root: Path) -> None:
    with running(*command_of(server), *on_a_free_port.split(), FILESERVE_ROOT=str(root)) as process:
        answers(process)


@contextmanager
def program_of_the_document(root: Path) -> Iterator[Running]:
    (text,) = re.findall(r"^```python\n(import uvicorn\n.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert "factory=True" in text
    source = text.replace("factory=True", "factory=True, port=0")
    with running(sys.executable, "-c", source, FILESERVE_ROOT=str(root)) as process:
        yield process


def test_the_program_for_uvicorn_has_the_socket_edge(root: Path) -> None:
    """A Host that is none is refused by the edge, and by nobody else."""
    with program_of_the_document(root) as process:
        answers(process)
        host, _, port = process.url.partition("//")[2].partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
