"""``/chat`` of a real server: with curl, with clients that leave, and over its end."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from anyio.from_thread import start_blocking_portal

from tests.eventsource import EventSource
from tests.system.clients import run_client
from tests.system.test_disconnects import WAYS_TO_LEAVE
from tests.tools import Running, clean_environment, running, tool, wait_until
from tests.upstream import DONE, END, STALL, STREAM, Upstream, chunk, framed, upstream

pytestmark = [pytest.mark.system, pytest.mark.alone]

KEY = "sk-very-secret"
TIMEOUT_S = 30
END_S = 2.0  # what is promised of SIGTERM with open streams
QUESTION = json.dumps({"msg": "Where is plain?"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "served"
    directory.mkdir()
    (directory / "plain.bin").write_bytes(b"plain")
    return directory


@contextmanager
def chatting(root: Path, *script: bytes, workers: int = 1) -> Iterator[tuple[Upstream, Running]]:
    """Run an upstream that follows *script*, and a fileserve that asks it."""
    command = (sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0", "--workers", str(workers))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(upstream(*script)) as asked,
        running(
            *command,
            FILESERVE_CHAT__BASE_URL=asked.base_url,
            FILESERVE_CHAT__MODEL="m",
            FILESERVE_CHAT__API_KEY=KEY,
            NO_PROXY="127.0.0.1",
            no_proxy="127.0.0.1",
        ) as server,
    ):
        yield asked, server


def ask_with_curl(server: Running, folder: Path, path: str = "/chat") -> list[str]:
    """Return the data of all messages."""
    ended = run_client("curl", "-sSN", "-f", "--json", QUESTION, f"{server.url}{path}", folder=folder)
    assert ended.returncode == 0, ended.stderr
    return [message.data for message in EventSource().feed(ended.stdout.encode())]


def begin_to_ask(server: Running) -> socket.socket:
    """Return a connection on which an answer has begun."""
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    head = f"POST /chat HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(QUESTION)}\r\n\r\n"
    client.sendall(f"{head}{QUESTION}".encode())
    received = b""
    while b'"token"' not in received:
        received += client.recv(65536)
    return client


def test_curl_is_told_a_command_that_downloads_the_file(root: Path, folder: Path) -> None:
    with running(sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0") as server:
        *_, done, end = ask_with_curl(server, folder)
        command = next(line for line in json.loads(done)["full"].splitlines() if line.startswith("curl"))
        subprocess.run([tool("curl"), "-sS", *command.split()[1:]], cwd=folder, check=True, timeout=TIMEOUT_S)
    assert end == "[DONE]"
    assert (folder / "plain.bin").read_bytes() == b"plain"


def test_the_settings_reach_a_worker_and_the_key_is_seen_nowhere(root: Path, folder: Path) -> None:
    with chatting(root, STREAM, framed(chunk("Hel"), chunk("lo"), DONE), END, workers=2) as (asked, server):
        messages = ask_with_curl(server, folder, "/chat?full=1")
        process = psutil.Process(server.process.pid)
        commands = [one.cmdline() for one in (process, *process.children(recursive=True))]
        said = server.log.read_text()
    assert [json.loads(message).get("full") for message in messages[:-1]] == ["Hel", "Hello", "Hello"]
    assert len(commands) >= 3
    assert f"Bearer {KEY}" in asked.heads[0]
    assert KEY not in f"{commands}{said}{messages}"


@pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
def test_the_upstream_is_left_when_the_client_leaves(root: Path, leave: Callable[[socket.socket], None]) -> None:
    with chatting(root, STREAM, framed(chunk("a")), STALL) as (asked, server), begin_to_ask(server) as client:
        leave(client)
        assert wait_until(asked.left.is_set, TIMEOUT_S)


def test_sigterm_with_an_open_answer_ends_soon(root: Path) -> None:
    with chatting(root, STREAM, framed(chunk("a")), STALL) as (asked, server):
        with begin_to_ask(server):
            began_s = time.monotonic()
            server.process.terminate()
            server.process.wait(TIMEOUT_S)
            assert time.monotonic() - began_s < END_S
        assert wait_until(asked.left.is_set, TIMEOUT_S)


def test_an_upstream_without_a_model_is_one_line(root: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0"],
        env=clean_environment() | {"FILESERVE_CHAT__BASE_URL": "http://127.0.0.1:1/v1", "FILESERVE_CHAT__API_KEY": KEY},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "FILESERVE_CHAT__MODEL" in ended.stderr
    assert KEY not in ended.stderr
