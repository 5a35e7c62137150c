"""Event streams: their frame, and the two that tell of one file."""

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Scope

from fileserve import Settings
from fileserve.storage.errors import ContentChanged
from fileserve.web.streams import digesting, events
from fileserve.web.streams.events import Event, EventStream
from fileserve.web.streams.tail import format_id, parse_id
from tests import eventsource
from tests.asgi import Client, client_of
from tests.eventsource import EventSource
from tests.web.conftest import DIGITS

PATIENCE_S = 10
MIB = 1 << 20


@dataclass
class Scripted:
    """A source whose events the test gives."""

    queue: asyncio.Queue[Sequence[Event] | Exception] = field(default_factory=asyncio.Queue)
    start: str = "start"
    closed: bool = False
    cancelled: bool = False

    async def next(self) -> Sequence[Event]:
        try:
            item = await self.queue.get()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        self.closed = True


@dataclass
class Subscriber:
    """A client of one stream: it takes the messages as they come, and leaves when told."""

    task: asyncio.Task[None]
    sent: asyncio.Queue[Message]
    gone: asyncio.Event
    draining: asyncio.Event
    taking: asyncio.Event
    source: EventSource = field(default_factory=EventSource)
    start: dict[str, Any] = field(default_factory=dict)
    raw: bytes = b""
    finished: bool = False
    waiting: list[eventsource.Message] = field(default_factory=list)

    async def message(self) -> Message:
        """Return the next ASGI message."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self.sent.get()
        if message["type"] == "http.response.start":
            self.start = dict(message)
        else:
            self.raw += message["body"]
            self.waiting += self.source.feed(message["body"])
            self.finished = not message.get("more_body", False)
        return message

    async def event(self) -> eventsource.Message:
        """Return the next event."""
        while not self.waiting:
            assert not self.finished, "the stream has ended"
            await self.message()
        return self.waiting.pop(0)

    async def events(self) -> list[eventsource.Message]:
        """Return all events up to the end of the stream."""
        while not self.finished:
            await self.message()
        waiting, self.waiting = self.waiting, []
        return waiting

    async def leave(self) -> None:
        self.gone.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@asynccontextmanager
async def subscribed(app: ASGIApp, scope: Scope) -> AsyncIterator[Subscriber]:
    """Ask *app*, for the length of the block; what it leaves behind is a failure."""
    gone, draining, taking = asyncio.Event(), asyncio.Event(), asyncio.Event()
    taking.set()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    scope["extensions"]["fileserve"]["draining"] = draining

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await taking.wait()
        sent.put_nowait(message)

    before = asyncio.all_tasks()
    task: asyncio.Task[None] = asyncio.ensure_future(app(scope, receive, send))
    subscriber = Subscriber(task, sent, gone, draining, taking)
    try:
        yield subscriber
    finally:
        taking.set()
        gone.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)
    assert asyncio.all_tasks() <= before


def bare_scope() -> Scope:
    return {"type": "http", "method": "GET", "headers": [], "extensions": {"fileserve": {}}}


@asynccontextmanager
async def streamed(source: Scripted) -> AsyncIterator[Subscriber]:
    async with subscribed(EventStream(source), bare_scope()) as subscriber:
        yield subscriber
    assert source.closed


class TestFrame:
    """What every stream does, whatever its events tell of. HTML §9.2."""

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            pytest.param(Event("text", "1"), b"data: text\nid: 1\n\n", id="message"),
            pytest.param(Event("", "1"), b"data: \nid: 1\n\n", id="empty_data_is_an_event_too"),
            pytest.param(Event("text", "1", "part"), b"event: part\ndata: text\nid: 1\n\n", id="named"),
            pytest.param(Event("a\nb", "1"), b"data: a\ndata: b\nid: 1\n\n", id="lf"),
            pytest.param(Event("a\rb", "1"), b"data: a\ndata: b\nid: 1\n\n", id="cr_ends_a_line_too"),
            pytest.param(Event("a\r\nb", "1"), b"data: a\ndata: b\nid: 1\n\n", id="crlf"),
            pytest.param(Event("a\n", "1"), b"data: a\ndata: \nid: 1\n\n", id="lf_at_the_end"),
            pytest.param(Event(": a", "1"), b"data: : a\nid: 1\n\n", id="no_comment"),
            pytest.param(Event(" a", "1"), b"data:  a\nid: 1\n\n", id="leading_space"),
            pytest.param(
                Event("a\0\x1b\x85\u2028", "1"), b"data: a\0\x1b\xc2\x85\xe2\x80\xa8\nid: 1\n\n", id="controls"
            ),
        ],
    )
    def test_an_event_is_framed(self, event: Event, expected: bytes) -> None:
        assert event.encode() == expected

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.integers(1, 7))
    def test_no_text_breaks_the_framing(self, texts: list[str], size: int) -> None:
        """Whatever it is, it arrives, with its line breaks as LF."""
        stream = b"".join(Event(text, str(number)).encode() for number, text in enumerate(texts))
        source = EventSource()
        found = [message for at in range(0, len(stream), size) for message in source.feed(stream[at : at + size])]
        plain = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
        assert [(message.data, message.id) for message in found] == [
            (text, str(number)) for number, text in enumerate(plain)
        ]

    async def test_the_stream_begins_with_retry_and_an_id(self) -> None:
        """A client that is cut off before the first event comes back with that id."""
        async with streamed(Scripted()) as subscriber:
            await subscriber.message()
            await subscriber.message()
        assert subscriber.source.fields == ["retry", "id"]
        assert (subscriber.source.retry, subscriber.source.id) == (events.RETRY_MS, "start")
        assert subscriber.start["status"] == 200
        assert dict(subscriber.start["headers"]) == {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-store",
            b"x-accel-buffering": b"no",
            b"x-content-type-options": b"nosniff",
        }

    async def test_a_silent_stream_carries_comments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events.EventStream, "keep_alive_s", 0.01)
        source = Scripted()
        async with streamed(source) as subscriber:
            while subscriber.source.comments < 3:
                await subscriber.message()
            source.queue.put_nowait([Event("text", "1")])
            assert await subscriber.event() == eventsource.Message("message", "text", "1")

    async def test_events_that_end_end_the_stream(self) -> None:
        source = Scripted()
        source.queue.put_nowait([Event("a", "1"), Event("b", "2")])
        source.queue.put_nowait([])
        async with streamed(source) as subscriber:
            assert [event.data for event in await subscriber.events()] == ["a", "b"]

    async def test_a_failing_source_ends_in_an_error_event(self) -> None:
        source = Scripted()
        source.queue.put_nowait([Event("a", "1")])
        source.queue.put_nowait(ContentChanged())
        async with streamed(source) as subscriber:
            _, error = await subscriber.events()
        assert (error.type, error.id) == ("error", "1")
        assert "changed" in json.loads(error.data)["detail"]

    async def test_a_fault_of_ours_is_raised_on_and_leaves_the_stream_unfinished(self) -> None:
        source = Scripted()
        source.queue.put_nowait(ZeroDivisionError())
        async with streamed(source) as subscriber:
            with pytest.raises(ZeroDivisionError):
                await subscriber.task
            assert not subscriber.finished

    async def test_a_client_that_leaves_ends_the_source(self) -> None:
        source = Scripted()
        async with streamed(source) as subscriber:
            await subscriber.message()
            await subscriber.leave()
            assert source.closed

    async def test_a_cancellation_reaches_the_source_and_is_raised_on(self) -> None:
        source = Scripted()
        async with streamed(source) as subscriber:
            for _ in range(2):
                await subscriber.message()
            subscriber.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await subscriber.task
            assert source.cancelled
            assert source.closed

    async def test_a_draining_server_ends_the_stream_with_a_hint(self) -> None:
        async with streamed(Scripted()) as subscriber:
            for _ in range(2):
                await subscriber.message()
            subscriber.draining.set()
            await subscriber.events()
            assert subscriber.source.retry == events.DRAIN_RETRY_MS
            await subscriber.task

    async def test_a_server_that_drains_already_ends_the_stream_at_once(self) -> None:
        async with streamed(Scripted()) as subscriber:
            subscriber.draining.set()
            assert await subscriber.events() == []

    async def test_a_subscriber_that_does_not_read_does_not_hold_up_a_drain(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(events, "FAREWELL_S", 0.01)
        source = Scripted()
        async with streamed(source) as subscriber:
            for _ in range(2):
                await subscriber.message()
            subscriber.taking.clear()
            source.queue.put_nowait([Event("never taken", "1")])
            subscriber.draining.set()
            async with asyncio.timeout(PATIENCE_S):
                await subscriber.task
            assert not subscriber.finished

    async def test_a_slow_subscriber_s_source_waits(self) -> None:
        """What was not taken is not asked for: two batches are under way at the most."""
        source = Scripted()
        async with streamed(source) as subscriber:
            for _ in range(2):
                await subscriber.message()
            subscriber.taking.clear()
            for number in range(5):
                source.queue.put_nowait([Event(str(number), str(number))])
            for _ in range(50):
                await asyncio.sleep(0)
            assert source.queue.qsize() == 4
            subscriber.taking.set()
            assert [(await subscriber.event()).data for _ in range(5)] == list("01234")


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root, weak_etag_ms=0)) as opened:
        yield opened


@pytest.fixture
def log(served_root: Path) -> Path:
    path = served_root / "app.log"
    path.write_text("one\ntwo\nthree\n")
    return path


@asynccontextmanager
async def asking(client: Client, path: str, fields: Mapping[str, str] | None = None) -> AsyncIterator[Subscriber]:
    async with subscribed(client.app, client._scope("GET", path, fields or {})) as subscriber:
        yield subscriber


async def take(subscriber: Subscriber, count: int) -> list[str]:
    """Return the data of the next *count* events, with their types where they are named."""
    taken = [await subscriber.event() for _ in range(count)]
    return [event.data if event.type == "message" else f"{event.type} {event.data}" for event in taken]


class TestTail:
    """``/events/tail``: lines, places to begin at, and ids."""

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            pytest.param("", ["more"], id="end_by_default"),
            pytest.param("?from=end", ["more"], id="end"),
            pytest.param("?from=start", ["one", "two", "three", "more"], id="start"),
            pytest.param("?from=-2", ["two", "three", "more"], id="last_two"),
            pytest.param("?from=-0", ["more"], id="last_none"),
            pytest.param("?from=-999999999999999999", ["one", "two", "three", "more"], id="as_many_as_there_are"),
        ],
    )
    async def test_it_begins_where_the_query_says(
        self, client: Client, log: Path, query: str, expected: list[str]
    ) -> None:
        async with asking(client, "/events/tail/app.log" + query) as subscriber:
            await subscriber.message()
            with log.open("a") as file:
                file.write("more\n")
            assert await take(subscriber, len(expected)) == expected

    @pytest.mark.parametrize("value", ["", "middle", "2", "-", "-x", "--1", "-1e3", "-\u0662"])
    async def test_another_place_is_refused(self, client: Client, log: Path, value: str) -> None:
        assert (await client.get(f"/events/tail/app.log?from={value.encode().decode('latin-1')}")).status == 422

    @pytest.mark.parametrize(
        ("fields", "query", "expected"),
        [
            pytest.param({"Last-Event-ID": "{0}"}, "", ["two", "three"], id="field"),
            pytest.param({}, "&last_event_id={0}", ["two", "three"], id="query"),
            pytest.param({"Last-Event-ID": "{1}"}, "&last_event_id={0}", ["three"], id="field_before_query"),
            pytest.param({"Last-Event-ID": ""}, "&last_event_id={1}", ["three"], id="empty_field"),
        ],
    )
    async def test_it_goes_on_from_the_id(
        self, client: Client, log: Path, fields: dict[str, str], query: str, expected: list[str]
    ) -> None:
        """And not from where the query says a new client begins."""
        async with asking(client, "/events/tail/app.log?from=start") as subscriber:
            ids = [(await subscriber.event()).id for _ in range(3)]
        given_fields = {name: value.format(*ids) for name, value in fields.items()}
        async with asking(client, "/events/tail/app.log?from=start" + query.format(*ids), given_fields) as subscriber:
            assert await take(subscriber, len(expected)) == expected

    @pytest.mark.parametrize(
        "given_id", ["x", "1-2-3", "1-0123456789abcdef-", "1-0123456789abcdef-+1", "\xff", "0" * 999]
    )
    async def test_an_id_that_is_not_understood_is_a_reset(self, client: Client, log: Path, given_id: str) -> None:
        async with asking(client, "/events/tail/app.log?from=-1", {"Last-Event-ID": given_id}) as subscriber:
            first = await subscriber.event()
            assert first.type == "reset"
            assert parse_id(first.id) is not None
            assert await take(subscriber, 1) == ["three"]
        async with asking(client, "/events/tail/app.log", {"Last-Event-ID": first.id}) as subscriber:
            assert await take(subscriber, 1) == ["three"]

    async def test_a_loss_is_an_event(self, client: Client, log: Path) -> None:
        async with asking(client, "/events/tail/app.log?from=start") as subscriber:
            await take(subscriber, 3)
            log.write_text("new\n")
            assert await take(subscriber, 2) == ['lost {"reason": "truncated"}', "new"]
            cut = subscriber.source.id
        log.rename(log.with_name("elsewhere"))
        log.write_text("other\n")
        async with asking(client, "/events/tail/app.log", {"Last-Event-ID": cut}) as subscriber:
            assert await take(subscriber, 2) == ['lost {"reason": "replaced"}', "other"]

    async def test_bytes_that_are_no_utf8_and_long_lines_arrive(self, client: Client, log: Path) -> None:
        log.write_bytes(b"\xff\xfe\0\rx\n" + b"y" * 70_000 + b"\n")
        async with asking(client, "/events/tail/app.log?from=start") as subscriber:
            assert (await subscriber.event()).data == "\ufffd\ufffd\0\nx"
            part, last = await subscriber.event(), await subscriber.event()
            assert (part.type, last.type, part.data + last.data) == ("part", "message", "y" * 70_000)

    async def test_a_reader_that_leaves_leaves_nothing_behind(self, client: Client, log: Path) -> None:
        before = len(os.listdir("/dev/fd"))
        for _ in range(20):
            async with asking(client, "/events/tail/app.log?from=start") as subscriber:
                await take(subscriber, 1)
                await subscriber.leave()
        assert len(os.listdir("/dev/fd")) == before

    @pytest.mark.parametrize("route", ["tail", "checksum"])
    @pytest.mark.parametrize(
        ("name", "status"), [("absent", 404), ("folder", 404), ("fifo", 403), ("leaving", 404), (".hidden", 404)]
    )
    async def test_what_is_no_file_has_no_events(self, client: Client, route: str, name: str, status: int) -> None:
        for method in ("GET", "HEAD"):
            assert (await client.request(method, f"/events/{route}/{name}")).status == status

    @pytest.mark.parametrize("route", ["tail", "checksum"])
    async def test_head_is_answered_by_the_head_alone(self, client: Client, log: Path, route: str) -> None:
        answer = await client.request("HEAD", f"/events/{route}/app.log")
        assert (answer.status, answer["content-type"], answer.content) == (200, "text/event-stream", b"")
        assert answer.finished
        assert not client.state["site"].digests.checksums._running


@given(st.integers(0, 2**64 - 1), st.binary(max_size=8), st.integers(0, 2**59))
def test_an_id_says_its_position(inode: int, fingerprint: bytes, offset: int) -> None:
    position = parse_id(f"{inode:x}-{fingerprint.hex():0>16}-{offset}")
    assert position is not None
    assert parse_id(format_id(position)) == position


class Gate:
    """Lets a computation read one MiB for each ``step``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = threading.Semaphore(0)
        preadv = os.preadv

        def held(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
            if threading.current_thread().name == "digest":
                self.steps.acquire()
            return preadv(fd, buffers, offset, flags)

        monkeypatch.setattr(os, "preadv", held)

    def step(self, count: int = 1) -> None:
        self.steps.release(count)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(digesting, "PACE_S", 0.005)
    gate = Gate(monkeypatch)
    yield gate
    gate.step(1000)


@pytest.fixture
def ten(served_root: Path) -> Path:
    """A file of ten MiB: a tenth is a read."""
    path = served_root / "ten.bin"
    path.write_bytes(bytes(range(256)) * 40_960)
    return path


async def until(subscriber: Subscriber, wanted: Callable[[eventsource.Message], bool]) -> list[eventsource.Message]:
    """Return the events up to the first that is *wanted*."""
    taken = [await subscriber.event()]
    while not wanted(taken[-1]):
        taken.append(await subscriber.event())
    return taken


def has_step(count: int) -> Callable[[eventsource.Message], bool]:
    return lambda event: event.type == "message" and json.loads(event.data)["step"] == count * MIB


def checkpoints(taken: Sequence[eventsource.Message]) -> list[float]:
    return [json.loads(event.data)["progress"] for event in taken if event.type == "checkpoint"]


class TestChecksum:
    """``/events/checksum``: progress, checkpoints and the digest."""

    async def test_progress_and_checkpoints_come_before_the_digest(self, client: Client, ten: Path, gate: Gate) -> None:
        taken = []
        async with asking(client, "/events/checksum/ten.bin") as subscriber:
            for count in range(1, 10):
                gate.step()
                taken += await until(subscriber, has_step(count))
            gate.step()
            taken += await subscriber.events()
        assert checkpoints(taken) == [10.0 * tenth for tenth in range(1, 11)]
        progress = [json.loads(event.data) for event in taken if event.type == "message"]
        assert all(set(data) == {"step", "progress", "time"} for data in progress)
        assert [data["step"] for data in progress] == sorted(data["step"] for data in progress)
        assert taken[-1].type == "done"
        assert json.loads(taken[-1].data) == {"sha256": hashlib.sha256(ten.read_bytes()).hexdigest(), "name": "ten.bin"}
        assert all(event.id for event in taken)

    async def test_who_comes_back_is_told_the_rest(self, client: Client, ten: Path, gate: Gate) -> None:
        gate.step(4)
        async with asking(client, "/events/checksum/ten.bin") as subscriber:
            taken = await until(subscriber, has_step(4))
        gate.step(100)
        async with asking(client, "/events/checksum/ten.bin", {"Last-Event-ID": taken[-1].id}) as subscriber:
            rest = await subscriber.events()
        assert checkpoints(taken) == [10.0, 20.0, 30.0, 40.0]
        assert checkpoints(rest) == [50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
        assert rest[-1].type == "done"

    async def test_two_watchers_share_one_computation(self, client: Client, ten: Path, gate: Gate) -> None:
        async with (
            asking(client, "/events/checksum/ten.bin") as first,
            asking(client, "/events/checksum/ten.bin") as second,
        ):
            gate.step(1)
            await until(first, has_step(1))
            await until(second, has_step(1))
            gate.step(9)
            assert (await first.events())[-1] == (await second.events())[-1]

    async def test_the_last_watcher_to_leave_ends_the_computation(self, client: Client, ten: Path, gate: Gate) -> None:
        async with asking(client, "/events/checksum/ten.bin") as subscriber:
            gate.step()
            await until(subscriber, has_step(1))
            (running,) = client.state["site"].digests.checksums._running
            await subscriber.leave()
            assert running.reading.stopped

    async def test_more_than_may_run_at_once_are_refused(self, ten: Path, gate: Gate, served_root: Path) -> None:
        async with (
            client_of(Settings(root=served_root, weak_etag_ms=0, checksums=1)) as client,
            asking(client, "/events/checksum/ten.bin") as subscriber,
        ):
            gate.step()
            await until(subscriber, has_step(1))
            assert (await client.get("/events/checksum/large.bin")).status == 503
            gate.step(1000)

    async def test_a_file_that_changes_meanwhile_ends_in_an_error(self, client: Client, ten: Path, gate: Gate) -> None:
        async with asking(client, "/events/checksum/ten.bin") as subscriber:
            gate.step()
            taken = await until(subscriber, has_step(1))
            with ten.open("ab") as file:
                file.write(b"more")
            gate.step(100)
            error = (await subscriber.events())[-1]
            assert (error.type, error.id.partition("-")[0]) == ("error", taken[-1].id.partition("-")[0])
        async with asking(client, "/events/checksum/ten.bin", {"Last-Event-ID": error.id}) as subscriber:
            again = await subscriber.events()
        assert (again[0].type, again[-1].type) == ("reset", "done")
        assert checkpoints(again) == [10.0 * tenth for tenth in range(1, 11)]

    async def test_a_known_digest_is_told_at_once_and_only_once(self, client: Client) -> None:
        async with asking(client, "/events/checksum/digits.txt") as subscriber:
            assert (await subscriber.events())[-1].type == "done"
        async with asking(client, "/events/checksum/digits.txt") as subscriber:
            (done,) = await subscriber.events()
        assert json.loads(done.data)["sha256"] == hashlib.sha256(DIGITS).hexdigest()
        answer = await client.get("/events/checksum/digits.txt", {"Last-Event-ID": done.id})
        assert (answer.status, answer.content) == (204, b"")

    @pytest.mark.parametrize("told", ["11", "-1", "a", "", "DONE", "\u0661"])
    async def test_an_id_that_is_not_understood_is_a_reset(self, client: Client, told: str) -> None:
        async with asking(client, "/events/checksum/empty") as subscriber:
            state = (await subscriber.events())[-1].id.rpartition("-")[0]
        for given_id in (f"{state}-{told}", "unknown"):
            fields = {"Last-Event-ID": given_id.encode().decode("latin-1")}
            async with asking(client, "/events/checksum/empty", fields) as subscriber:
                assert [event.type for event in await subscriber.events()] == ["reset", "done"]
