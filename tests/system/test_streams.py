"""What the operator watches, of real servers: over restarts, with two workers, in Chromium, and with a crowd."""

import asyncio
import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote

import psutil
import pytest
from playwright.sync_api import Page

from fileserve.storage.eventlog import EventLog, Row
from fileserve.web.stores import _cache_places, _name
from fileserve.web.workers.bus import Bus, open_bus
from tests.eventsource import Message
from tests.system import test_events
from tests.system.samples import append
from tests.system.test_chromium import browser, page  # noqa: F401  fixtures
from tests.system.test_disconnects import WAYS_TO_LEAVE
from tests.system.test_events import PLAIN, Stream
from tests.tools import Running, serving

pytestmark = [pytest.mark.system, pytest.mark.alone]

TIMEOUT_S = 30
SUBSCRIBERS = 500
END_S = 2.0  # what is promised of SIGTERM with open streams
PROMPT_S = 0.1  # what is promised from a record to a subscriber
TOKEN = "the-operator's-token"
OPTIONS = ("--operator-token", TOKEN)
LOGS = "/events/logs?last=0"
BOTH = "/events?topic=logs&topic=tail:app.log&last=0"


def events_of(root: Path) -> Path:
    """Return where the servers of *root* keep their events."""
    return _cache_places()[0] / _name("events", root.resolve())


def stream(url: str, path: str, last_event_id: str = "") -> AbstractContextManager[Stream]:
    """Read a stream of the operator."""
    return test_events.stream(url, path, last_event_id, Authorization=f"Bearer {TOKEN}")


@contextmanager
def another_worker(root: Path) -> Iterator[Bus]:
    """Run a worker of the servers of *root* in this process: one that only tells what the test says."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> Bus:
        return open_bus(events_of(root), max_rows=10_000)

    try:
        bus = asyncio.run_coroutine_threadsafe(begin(), loop).result(TIMEOUT_S)
        try:
            yield bus
        finally:
            asyncio.run_coroutine_threadsafe(bus.close(), loop).result(TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def record(message: str) -> str:
    return json.dumps({"time": 1.0, "level": "INFO", "logger": "fileserve", "pid": 1, "message": message})


def message_of(event: Message) -> str:
    return str(json.loads(event.data)["message"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    append(path / "app.log", "before")
    return path


def provoke_a_record(server: Running, root: Path) -> None:
    """Have some worker log that a file changed while it was hashed."""
    path = root / "changing.bin"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    with stream(server.url, "/events/checksum/changing.bin") as opened:
        opened.begun()
        append(path, "more")
        assert opened.rest()[-1].type == "error"


def test_records_of_two_workers_reach_every_subscriber_in_one_order(root: Path) -> None:
    """Wherever it is connected; and who comes back at any of them, to either worker, gets the rest."""
    with serving(root, *OPTIONS, "--workers", "2") as server, ExitStack() as stack:
        streams = [stack.enter_context(stream(server.url, LOGS)) for _ in range(8)]
        for opened in streams:
            opened.begun()
        workers: set[int] = set()
        found: list[Message] = []
        for _ in range(40):
            provoke_a_record(server, root)
            found.append(streams[0].event())
            workers.add(json.loads(found[-1].data)["pid"])
            if len(workers) == 2 and len(found) >= 4:
                break
        assert workers == {child.pid for child in psutil.Process(server.process.pid).children()}
        for opened in streams[1:]:
            assert [opened.event() for _ in found] == found
        for number, event in enumerate(found[:4]):
            with stream(server.url, LOGS, event.id) as again:
                assert [again.event() for _ in found[number + 1 :]] == found[number + 1 :]


def test_a_client_that_comes_back_at_each_record_misses_and_doubles_nothing(root: Path) -> None:
    """While records are made, over restarts, and with another number of workers."""
    found: list[str] = []
    last_event_id = ""
    with another_worker(root) as other:
        for number, workers in enumerate(("1", "2", "1")):
            with serving(root, *OPTIONS, "--workers", workers) as server:
                if not last_event_id:
                    with stream(server.url, BOTH) as first:
                        last_event_id = first.begun()
                for count in range(10):
                    other.append("logs", record(f"{number} {count}"))
                while len(found) < 11 * (number + 1) - 1:
                    with stream(server.url, BOTH, last_event_id) as again:
                        event = again.event()
                    found += [message_of(event)] if "ending" not in event.data else []
                    last_event_id = event.id
            other.append("logs", record(f"{number} down"))
        with serving(root, *OPTIONS) as server, stream(server.url, BOTH, last_event_id) as again:
            while len(found) < 33:
                event = again.event()
                found += [message_of(event)] if "ending" not in event.data else []
    assert found == [f"{number} {count}" for number in range(3) for count in (*range(10), "down")]


def test_a_record_reaches_a_subscriber_promptly(root: Path) -> None:
    """From another worker, by the median of some."""
    with (
        another_worker(root) as other,
        serving(root, *OPTIONS, "--workers", "2") as server,
        stream(server.url, LOGS) as one,
        stream(server.url, BOTH) as several,
    ):
        one.begun()
        several.begun()
        passed_s = []
        for number in range(20):
            began_s = time.monotonic()
            other.append("logs", record(str(number)))
            assert message_of(one.event()) == message_of(several.event()) == str(number)
            passed_s.append(time.monotonic() - began_s)
        assert statistics.median(passed_s) < PROMPT_S


def subscribe(server: Running, path: str) -> socket.socket:
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    client.sendall(head.encode())
    return client


def test_a_crowd_that_leaves_abruptly_leaves_nothing_behind(root: Path) -> None:
    """Descriptors, watches, and the memory of whatever a subscriber holds: tasks and queues."""
    with another_worker(root) as other, serving(root, *OPTIONS) as server:
        with stream(server.url, LOGS) as warm:
            warm.begun()
            before = server.descriptors() - 1  # without this one
        process, sizes = psutil.Process(server.process.pid), []
        for _ in range(3):
            with ExitStack() as stack:
                clients = [
                    stack.enter_context(subscribe(server, (LOGS, BOTH)[number % 2])) for number in range(SUBSCRIBERS)
                ]
                for client in clients:
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
                assert server.descriptors() >= before + SUBSCRIBERS
                other.append("logs", record("for everybody"))
                append(root / "app.log", "for half of them")
                for number, client in enumerate(clients):
                    WAYS_TO_LEAVE[number % len(WAYS_TO_LEAVE)](client)
            assert server.wait_for_descriptors(before) <= before
            sizes.append(process.memory_info().rss)
        assert sizes[2] - sizes[1] < SUBSCRIBERS * 8192  # a third of what one holds; the collector comes seldom


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_several_topics_on_one_stream_with_a_hint(workers: str, root: Path) -> None:
    append(root / "full.log", *["x" * 1000] * 30_000)
    with serving(root, *OPTIONS, "--workers", workers) as server, ExitStack() as stack:
        path = "/events?topic=tail:app.log&topic=logs&topic=tail:full.log&last=0"
        streams = [stack.enter_context(stream(server.url, path)) for _ in range(20)]
        for opened in streams:
            opened.begun()
        full = stack.enter_context(subscribe(server, path + "&from=start"))  # and reads no more
        assert full.recv(100).startswith(b"HTTP/1.1 200 ")
        processes = psutil.Process(server.process.pid).children()
        began_s = time.monotonic()
        server.process.terminate()
        for opened in streams:
            assert all(event.type == "logs" for event in opened.rest())  # that the server ends is logged
            assert opened.source.retry == 2000
        server.process.wait(TIMEOUT_S)
        assert time.monotonic() - began_s < END_S
        assert not any(process.is_running() for process in processes)
        assert "Traceback" not in server.log.read_text()


PAGE = """
url => {
    const stream = { taken: [], opened: 0, source: new EventSource(url) };
    stream.source.onopen = () => { stream.opened += 1; };
    const take = event => stream.taken.push([event.type, event.data, event.lastEventId]);
    const names = ["", ":lost", ":reset", ":error"];
    const topics = ["logs", "tail:app.log"].flatMap(topic => names.map(name => topic + name));
    for (const type of ["message", "lost", "reset", ...topics]) stream.source.addEventListener(type, take);
    window.streams = [...(window.streams || []), stream];
}
"""


def enter(page: Page, server: Running) -> None:  # noqa: F811
    """Open the operator's link, and then a document of its origin that does not forbid scripts to connect."""
    page.goto(f"{server.url}/live?token={quote(TOKEN)}")
    page.wait_for_url("**/live")
    page.goto(server.url + PLAIN)


def said(page: Page, message: str) -> None:  # noqa: F811
    """Return when a record and a line that say *message* have come wherever they are to come."""
    page.wait_for_function(
        """message => streams.every(({ taken }) =>
            taken.some(([type, data]) => data.startsWith("{") && JSON.parse(data).message == message)
        ) && streams[1].taken.some(([type, data]) => data == message)""",
        arg=message,
        timeout=TIMEOUT_S * 1000,
    )


def test_chromium_misses_and_doubles_nothing_when_the_server_restarts(page: Page, root: Path) -> None:  # noqa: F811
    """What is told is what is in the log: what was made before the first event, live, and while there was no server.

    On a stream of its own, and on one with a file.
    """
    port, begun = 0, 0
    with another_worker(root) as other:

        def say(message: str) -> None:
            other.append("logs", record(message))
            append(root / "app.log", message)

        say("before")
        for number, workers in enumerate(("1", "2")):
            with serving(root, *OPTIONS, "--workers", workers, port=port) as server:
                port = int(server.url.rpartition(":")[2])
                if not number:
                    enter(page, server)
                    begun = rows_of(root)[-1].id
                    for path in (LOGS, BOTH):
                        page.evaluate(PAGE, path)
                page.wait_for_function(f"streams.every(stream => stream.opened > {number})", timeout=TIMEOUT_S * 1000)
                if number:  # the first time nothing is told: the id that the stream began with has to do
                    say("live")
                    said(page, "live")
            say(f"down {number}")
            other.append("logs", record("two\nlines"))
        with serving(root, *OPTIONS, port=port):
            say("end")
            said(page, "end")
            one, several = page.evaluate("streams.map(stream => stream.taken)")
            rows = [row.data for row in rows_of(root) if row.id > begun]
    assert [data for type, data, _ in one if type == "message"] == rows
    assert [data for type, data, _ in several if type == "logs"] == rows
    assert [data for type, data, _ in several if type != "logs"] == ["down 0", "live", "down 1", "end"]
    assert all([topic for topic, _ in parse_qsl(id)] == ["logs", "tail:app.log"] for _, _, id in several)


def rows_of(root: Path) -> Sequence[Row]:
    """Return the records that are kept."""
    kept = EventLog(events_of(root), max_rows=10_000)
    try:
        return kept.last("logs", 10_000)
    finally:
        kept.close()


def test_chromium_without_the_token_is_refused_for_good(page: Page, root: Path) -> None:  # noqa: F811
    with serving(root, *OPTIONS) as server:
        page.goto(server.url + PLAIN)
        page.evaluate(PAGE, LOGS)
        closed = "streams[0].source.readyState == EventSource.CLOSED"
        page.wait_for_function(closed, timeout=TIMEOUT_S * 1000)
