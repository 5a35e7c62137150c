"""Event streams of a real server: with curl, with a crowd that leaves, over a restart, and with a real EventSource."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page

from tests.eventsource import EventSource, Message
from tests.system.clients import run_client
from tests.system.samples import append, make_sample
from tests.system.test_chromium import browser, page  # noqa: F401  fixtures
from tests.system.test_disconnects import WAYS_TO_LEAVE
from tests.tools import Running, serving, tool, wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

TIMEOUT_S = 30
SUBSCRIBERS = 100
END_S = 2.0  # what is promised of SIGTERM with open streams


class Stream:
    """One answer of a server, read as an event stream."""

    def __init__(self, url: str, path: str, last_event_id: str = "", **fields: str) -> None:
        self._connection = HTTPConnection(url.partition("//")[2], timeout=TIMEOUT_S)
        given = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self._connection.request("GET", path, headers=fields | given)
        self.response: HTTPResponse = self._connection.getresponse()
        assert self.response.status == 200
        self.source = EventSource()
        self._waiting: list[Message] = []

    def begun(self) -> str:
        """Return the id that the stream begins with."""
        while self.source.retry is None or not self.source.id:
            self._read()
        return self.source.id

    def event(self) -> Message:
        """Return the next event."""
        while not self._waiting:
            assert self._read(), "the stream has ended"
        return self._waiting.pop(0)

    def rest(self) -> list[Message]:
        """Return all events up to the end."""
        while self._read():
            pass
        return self._waiting

    def close(self) -> None:
        self.response.close()
        self._connection.close()

    def _read(self) -> bool:
        data = self.response.read1(65536)
        self._waiting += self.source.feed(data)
        return bool(data)


@contextmanager
def stream(url: str, path: str, last_event_id: str = "", **fields: str) -> Iterator[Stream]:
    opened = Stream(url, path, last_event_id, **fields)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def log(served_root: Path) -> Iterator[Path]:
    path = served_root / "app.log"
    path.write_text("")
    yield path
    for found in served_root.glob("app.log*"):
        found.unlink()


def test_curl_follows_a_file_over_its_rotation(server: Running, log: Path, folder: Path) -> None:
    shown = folder / "shown"
    with shown.open("wb") as output:
        command = [tool("curl"), "-sSN", "-f", f"{server.url}/events/tail/app.log?from=start"]
        curl = subprocess.Popen(command, stdout=output)
    try:
        append(log, "one")
        assert wait_until(lambda: b"data: one\n" in shown.read_bytes(), TIMEOUT_S)
        log.rename(log.with_name("app.log.1"))
        append(log, "two")
        assert wait_until(lambda: b"data: two\n" in shown.read_bytes(), TIMEOUT_S)
    finally:
        curl.kill()
        curl.wait()
    assert shown.read_bytes().startswith(b"retry: 1000\nid: ")


def test_a_client_that_comes_back_at_each_offset_misses_and_doubles_nothing(server: Running, log: Path) -> None:
    """While the file is written, rotated, and lies still."""
    expected = [f"line {number}" for number in range(60)]

    def write() -> None:
        for number, line in enumerate(expected):
            if number == 30:
                log.rename(log.with_name("app.log.1"))
            append(log, line)

    with stream(server.url, "/events/tail/app.log?from=start") as first:
        last_event_id = first.begun()
    writer = threading.Thread(target=write)
    writer.start()
    found: list[str] = []
    while len(found) < len(expected):
        with stream(server.url, "/events/tail/app.log", last_event_id) as again:
            message = again.event()
        assert message.type == "message"
        found.append(message.data)
        last_event_id = message.id
    writer.join()
    assert found == expected


def test_the_ids_are_good_after_a_restart_and_with_several_workers(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    append(log, "one", "two")
    with serving(tmp_path) as server, stream(server.url, "/events/tail/app.log?from=start") as first:
        last_event_id = first.event().id
    append(log, "three")
    log.rename(tmp_path / "app.log.1")
    append(log, "four")
    with serving(tmp_path, "--workers", "2") as server:
        for _ in range(6):
            with stream(server.url, "/events/tail/app.log", last_event_id) as again:
                assert [again.event().data for _ in range(3)] == ["two", "three", "four"]


def test_curl_is_told_the_digest_of_a_file(server: Running, served_root: Path, folder: Path) -> None:
    sample = make_sample(served_root / "hashed.bin", 20_000_000)
    try:
        ended = run_client("curl", "-sSN", "-f", f"{server.url}/events/checksum/hashed.bin", folder=folder)
        assert ended.returncode == 0, ended.stderr
        messages = EventSource().feed(ended.stdout.encode())
        assert (messages[-1].type, json.loads(messages[-1].data)["sha256"]) == ("done", sample.digest)
        checkpoints = [json.loads(message.data)["progress"] for message in messages if message.type == "checkpoint"]
        assert checkpoints == [10.0 * tenth for tenth in range(1, 11)]
    finally:
        sample.path.unlink()


def subscribe(server: Running, path: str) -> socket.socket:
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    return client


def test_subscribers_that_leave_abruptly_leave_nothing_behind(server: Running, log: Path) -> None:
    """Their descriptors, and the one inotify instance that they share, are gone; the server still answers."""
    with stream(server.url, "/events/tail/app.log") as warm:
        warm.begun()
    assert wait_until(lambda: inotify_instances(server) == 0, TIMEOUT_S)
    before = server.descriptors()
    for _ in range(3):
        with ExitStack() as stack:
            clients = [stack.enter_context(subscribe(server, "/events/tail/app.log")) for _ in range(SUBSCRIBERS)]
            assert server.descriptors() > before + SUBSCRIBERS  # a connection and a file each
            assert inotify_instances(server) == 1
            append(log, "for everybody")
            for number, client in enumerate(clients):
                WAYS_TO_LEAVE[number % len(WAYS_TO_LEAVE)](client)
    assert server.wait_for_descriptors(before) <= before
    assert inotify_instances(server) == 0


def inotify_instances(server: Running) -> int:
    links = Path(f"/proc/{server.process.pid}/fd").iterdir()
    return sum(link.is_symlink() and "inotify" in str(link.readlink()) for link in links)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_open_streams_with_a_hint(workers: str, tmp_path: Path) -> None:
    """Also that of a subscriber that has stopped reading."""
    log, full = tmp_path / "app.log", tmp_path / "full.log"
    append(log, "one")
    append(full, *["x" * 1000] * 30_000)
    with serving(tmp_path, "--workers", workers) as server, ExitStack() as stack:
        streams = [stack.enter_context(stream(server.url, "/events/tail/app.log?from=start")) for _ in range(20)]
        assert [opened.event().data for opened in streams] == ["one"] * 20
        stack.enter_context(subscribe(server, "/events/tail/full.log?from=start"))  # and reads no more
        processes = psutil.Process(server.process.pid).children()
        began_s = time.monotonic()
        server.process.terminate()
        for opened in streams:
            assert opened.rest() == []
            assert opened.source.retry == 2000
        server.process.wait(TIMEOUT_S)
        assert time.monotonic() - began_s < END_S
        assert not any(process.is_running() for process in processes)
        assert "Traceback" not in server.log.read_text()


PLAIN = "/healthz"  # a document of the same origin whose policy does not forbid scripts to connect
PAGE = """
url => {
    window.taken = [];
    window.opened = 0;
    window.source = new EventSource(url);
    source.onopen = () => { window.opened += 1; };
    const take = event => window.taken.push([event.type, event.data]);
    for (const type of ["message", "part", "lost", "reset", "checkpoint", "done"]) source.addEventListener(type, take);
    source.addEventListener("done", () => source.close());
}
"""


def taken(page: Page, count: int) -> list[list[str]]:  # noqa: F811
    """Return what the page's EventSource has dispatched, once it is *count* events."""
    page.wait_for_function(f"window.taken.length >= {count}", timeout=TIMEOUT_S * 1000)
    found: list[list[str]] = page.evaluate("window.taken")
    return found


def test_chromium_misses_and_doubles_nothing_when_the_server_restarts(page: Page, tmp_path: Path) -> None:  # noqa: F811
    """Not even what was written before the first event, over a rotation, or while there was no server."""
    root = tmp_path / "root"
    root.mkdir()
    log = root / "app.log"
    append(log, "before")
    expected: list[str] = []
    port = 0
    for number in range(3):
        with serving(root, port=port) as server:
            port = int(server.url.rstrip("/").rpartition(":")[2])
            if not number:
                page.goto(server.url + PLAIN)
                page.evaluate(PAGE, "/events/tail/app.log")
            page.wait_for_function(f"window.opened > {number}", timeout=TIMEOUT_S * 1000)
            if number:  # the first time nothing is told: the id that the stream began with has to do
                append(log, f"live {number}")
                expected.append(f"live {number}")
                taken(page, len(expected))
        append(log, f"down {number}", "ünder\twäy")
        log.rename(root / "app.log.1")
        append(log, f"rotated {number}")
        expected += [f"down {number}", "ünder\twäy", f"rotated {number}"]
    with serving(root, port=port):
        assert taken(page, len(expected)) == [["message", line] for line in expected]


def test_chromium_is_told_progress_and_digest_once(page: Page, server: Running, served_root: Path) -> None:  # noqa: F811
    sample = make_sample(served_root / "watched.bin", 30_000_000)
    try:
        page.goto(server.url + PLAIN)
        page.evaluate(PAGE, "/events/checksum/watched.bin")
        page.wait_for_function("window.source.readyState == EventSource.CLOSED", timeout=TIMEOUT_S * 1000)
        types = [kind for kind, _ in taken(page, 1)]
        assert (types.count("checkpoint"), types.count("done"), types[-1]) == (10, 1, "done")
        assert json.loads(taken(page, 1)[-1][1])["sha256"] == sample.digest
    finally:
        sample.path.unlink()


def test_chromium_that_forgets_to_close_is_ended_by_204(page: Page, server: Running, log: Path) -> None:  # noqa: F811
    page.goto(server.url + PLAIN)
    requests: list[int] = []
    page.on("response", lambda response: requests.append(response.status))
    page.evaluate("url => { window.source = new EventSource(url); }", "/events/checksum/app.log")
    page.wait_for_function("window.source.readyState == EventSource.CLOSED", timeout=TIMEOUT_S * 1000)
    assert requests == [200, 204]
