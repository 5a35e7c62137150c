"""``/events/transfers``: what is told of downloads, to whom, by which of several workers, and once."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message

from fileserve import Settings
from fileserve.semantics.ranges import Span
from fileserve.web.streams.events import Batch, Source
from fileserve.web.transfers import audience, keeping, progress, telling, topics, tracking
from fileserve.web.transfers.audience import Queue
from fileserve.web.transfers.pieces import End, Piece, Subject
from fileserve.web.transfers.progress import Rhythm
from fileserve.web.transfers.stream import open_transfers
from fileserve.web.transfers.tracking import Tracking
from fileserve.web.workers.bus import Bus, open_bus
from tests.asgi import Client, client_of
from tests.web.conftest import LARGE
from tests.web.streams.test_events import PATIENCE_S, Subscriber, asking
from tests.web.test_access import ACCOUNT, RIGHT

TOKEN = "the-operator's-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
TRANSFERS = "/events/transfers"
WINDOW_S = 0.2
HUGE = 8 << 20  # so much that the loop turns several times meanwhile
KEYS = {
    *("id", "client", "path", "route", "length", "sent", "covered", "share", "rate", "left_s", "connections", "began"),
    *("from", "outcome", "seconds", "offloaded"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for rhythm in ("WATCHED", "UNWATCHED"):
        monkeypatch.setattr(progress, rhythm, Rhythm(0.01, 1, 1, 1))
    monkeypatch.setattr(telling, "PACE_S", 0.01)
    monkeypatch.setattr(keeping, "ELECTION_S", 0.01)


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fileserve.transfers")


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    os.mknod(served_root / "huge.bin")
    os.truncate(served_root / "huge.bin", HUGE)
    settings = Settings(
        root=served_root,
        chunk_size=65536,
        weak_etag_ms=0,
        operator_token=TOKEN,
        resume_window=WINDOW_S,
        event_rows=100,
    )
    async with client_of(settings) as opened:
        yield opened


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the structured fields of what was logged of transfers."""
    return [vars(record)["fields"] for record in caplog.records if "fields" in vars(record)]


async def told(subscriber: Subscriber, kind: str) -> dict[str, Any]:
    """Return what the next event of *kind* tells."""
    while (event := await subscriber.event()).type != kind:
        pass
    values: dict[str, Any] = json.loads(event.data)
    return values


async def begun(subscriber: Subscriber) -> str:
    """Return the id of the snapshot that the stream begins with."""
    event = await subscriber.event()
    assert event.type == "snapshot"
    return event.id


@asynccontextmanager
async def stuck(client: Client) -> AsyncIterator[asyncio.Event]:
    """Download, and stop in the middle until the event is set."""
    taking, sizes = asyncio.Event(), [0]

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sizes.append(len(message.get("body", b"")))
        if sum(sizes) > HUGE // 2:
            await taking.wait()

    download = asyncio.ensure_future(client.app(client._scope("GET", "/download/huge.bin", {}), receive, send))
    try:
        yield taking
    finally:
        taking.set()
        async with asyncio.timeout(PATIENCE_S):
            await download


async def opened(client: Client) -> Source:
    """Subscribe within this process."""
    return await open_transfers(SimpleNamespace(site=client.state["site"]), None)  # type: ignore[arg-type]


async def test_it_is_for_the_operator(client: Client) -> None:
    assert (await client.get(TRANSFERS)).status == 401
    answer = await client.request("HEAD", TRANSFERS, BEARER)
    assert (answer.status, answer["content-type"]) == (200, "text/event-stream")
    assert (await client.get(TRANSFERS + "/beneath", BEARER)).status == 404


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        pytest.param(
            "/download/digits.txt",
            {},
            {"route": "download", "path": "digits.txt", "length": 10, "sent": 10, "from": 0},
            id="small_file",
        ),
        pytest.param(
            "/download/large.bin",
            {},
            {"route": "download", "path": "large.bin", "length": len(LARGE), "sent": len(LARGE), "from": 0},
            id="large_file",
        ),
        pytest.param(
            "/download/large.bin",
            {"Range": f"bytes=0-99999, 200000-{len(LARGE) - 1}, 100000-199999"},
            {"covered": len(LARGE), "from": 0},
            id="several_ranges_that_are_everything",
        ),
        pytest.param("/download/digits.txt", {"Range": "bytes=4-"}, {"sent": 6, "covered": 6, "from": 4}, id="resume"),
        pytest.param("/download/new%0Aline.txt", {}, {"path": "new\ufffdline.txt"}, id="name_that_cannot_be_shown"),
        pytest.param("/archive/folder.tar", {}, {"route": "archive", "path": "folder.tar"}, id="archive"),
        pytest.param("/archive/folder.zip", {}, {"route": "archive", "path": "folder.zip"}, id="zip"),
    ],
)
async def test_a_download_that_ends_well_is_complete(
    client: Client, path: str, fields: dict[str, str], expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        assert (await client.get(path, fields)).finished
        found = await told(subscriber, "finished")
    assert found.keys() >= KEYS
    assert (found["outcome"], found["client"], found["connections"]) == ("complete", "127.0.0.1", 0)
    assert found["share"] == round(found["covered"] / found["length"], 4)
    assert {key: found[key] for key in expected} == expected
    assert records(caplog) == [found]


async def test_who_is_known_by_name_is_told_by_it(served_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with client_of(Settings(root=served_root, private=True, auth=(ACCOUNT,), weak_etag_ms=0)) as client:
        while client.state["site"].tracking.keeper._news is None:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        await client.get("/download/digits.txt", RIGHT)
        await client.state["site"].tracking.close()
    assert [record["client"] for record in records(caplog)] == ["anna"]


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        pytest.param("HEAD", "/download/digits.txt", {}, 200, id="head"),
        pytest.param(
            "GET", "/download/digits.txt", {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304, id="304"
        ),
        pytest.param("GET", "/download/digits.txt", {"If-Match": '"other"'}, 412, id="412"),
        pytest.param("GET", "/download/digits.txt", {"Range": "bytes=10-"}, 416, id="416"),
        pytest.param("GET", "/download/empty", {}, 200, id="nothing_to_send"),
        pytest.param("GET", "/download/missing", {}, 404, id="404"),
        pytest.param("GET", "/api/files/", {}, 200, id="listing"),
    ],
)
async def test_an_answer_without_content_of_a_file_is_no_transfer(
    client: Client, method: str, path: str, fields: dict[str, str], status: int
) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        assert (await client.request(method, path, fields)).status == status
        await client.get("/download/digits.txt")
        assert (await told(subscriber, "finished"))["path"] == "digits.txt"
        assert client.state["site"].tracking.progress._timer is None
        assert not subscriber.waiting


async def test_what_is_under_way_is_told_as_it_goes_on(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        async with stuck(client) as taking:
            started = await told(subscriber, "started")
            later = await told(subscriber, "progress")
            taking.set()
            found = await told(subscriber, "finished")
    assert started.keys() == later.keys() == KEYS
    assert started["id"] == later["id"] == found["id"]
    assert (started["connections"], started["outcome"], found["outcome"]) == (1, None, "complete")
    assert 0 <= started["sent"] <= later["sent"] < found["sent"] == HUGE
    assert later["seconds"] > 0
    assert len(records(caplog)) == 1


async def test_a_download_goes_on_when_the_clock_is_set(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        async with stuck(client) as taking:
            await told(subscriber, "started")
            monkeypatch.setattr(time, "time", lambda: now() + 3600)
            assert client.state["site"].tracking.keeper.take(())  # looks for ends, before anything is reported anew
            while (await told(subscriber, "progress"))["seconds"] < 3600:
                pass
            taking.set()
            found = await told(subscriber, "finished")
    assert (found["outcome"], found["sent"]) == ("complete", HUGE)
    assert len(records(caplog)) == 1


async def test_a_new_subscriber_is_told_all_that_is_under_way(client: Client) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        async with stuck(client):
            await told(subscriber, "started")
            source = await opened(client)
            [event] = await source.next()
            await source.close()
    assert event.name == "snapshot"
    assert [one["path"] for one in json.loads(event.data)["transfers"]] == ["huge.bin"]


async def test_a_client_that_leaves_has_aborted_when_it_does_not_come_back(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        answer = await client.request("GET", "/download/huge.bin", leave_after=HUGE // 2)
        found = await told(subscriber, "finished")
        got = len(answer.content)
        assert (found["outcome"], found["from"]) == ("aborted", 0)
        assert 0 < found["covered"] < HUGE
        await client.get("/download/huge.bin", {"Range": f"bytes={got}-"})
        resumed = await told(subscriber, "finished")
    assert (resumed["outcome"], resumed["from"], resumed["covered"]) == ("complete", got, HUGE - got)
    assert resumed["id"] != found["id"]
    assert len(records(caplog)) == 2


async def test_what_another_server_drops_unsaid_was_not_taken(client: Client) -> None:
    """It takes all messages of a short response before the application can know that the client has gone."""
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        await client.request("GET", "/download/large.bin", leave_after=300_000)
        assert (await told(subscriber, "finished"))["outcome"] == "aborted"


async def test_a_client_that_comes_back_in_time_goes_on_with_the_same(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        await client.request("GET", "/download/huge.bin", leave_after=HUGE // 2)
        await client.get("/download/huge.bin", {"Range": f"bytes={HUGE // 4}-"})
        found = await told(subscriber, "finished")
    assert (found["outcome"], found["from"], found["covered"]) == ("complete", 0, HUGE)
    assert len(records(caplog)) == 1


async def test_a_file_that_changes_has_failed(client: Client, served_root: Path) -> None:
    def change() -> None:
        os.truncate(served_root / "huge.bin", 100_000)

    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        answer = await client.request("GET", "/download/huge.bin", meanwhile=(50_000, change))
        assert not answer.finished
        found = await told(subscriber, "finished")
    assert found["outcome"] == "failed"
    assert 0 < found["covered"] < HUGE


async def test_a_part_that_was_all_that_was_wanted_expires(client: Client) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        await client.get("/download/digits.txt", {"Range": "bytes=2-4"})
        found = await told(subscriber, "finished")
    assert (found["outcome"], found["sent"], found["from"]) == ("expired", 3, 2)
    assert found["ranges"] == ["2-4"]


class TestReconnect:
    async def test_what_finished_meanwhile_is_told_once(self, client: Client) -> None:
        async with asking(client, TRANSFERS, BEARER) as subscriber:
            await begun(subscriber)
            await client.get("/download/digits.txt")
            while (event := await subscriber.event()).type != "finished":
                pass
        async with asking(client, TRANSFERS, BEARER | {"Last-Event-ID": event.id}) as other:
            await begun(other)
            await client.get("/download/page.html")
            assert (await told(other, "finished"))["path"] == "page.html"
        async with asking(client, TRANSFERS, BEARER | {"Last-Event-ID": event.id}) as again:
            assert (await told(again, "finished"))["path"] == "page.html"
            await begun(again)
            await client.get("/download/folder/inner.txt")
            assert (await told(again, "finished"))["path"] == "folder/inner.txt"

    @pytest.mark.parametrize("given", ["nonsense", "000000000000-1", "-", "0"])
    async def test_an_id_that_is_not_understood_is_a_reset(self, client: Client, given: str) -> None:
        async with asking(client, TRANSFERS, BEARER | {"Last-Event-ID": given}) as subscriber:
            assert [(await subscriber.event()).type for _ in range(2)] == ["reset", "snapshot"]

    async def test_who_was_away_for_too_long_is_told_so(self, client: Client) -> None:
        bus: Bus = client.state["site"].stores.bus
        async with asking(client, TRANSFERS, BEARER) as subscriber:
            given = await begun(subscriber)
        for number in range(1000):
            bus.append(topics.ENDED, json.dumps({"id": str(number)}))
        with bus.subscribe(topics.ENDED) as news:
            while not any(json.loads(row.data)["id"] == "999" for row in await bus.last(topics.ENDED, 1)):
                await news.changed()
        async with asking(client, TRANSFERS, BEARER | {"Last-Event-ID": given}) as again:
            first = await again.event()
            assert (first.type, json.loads(first.data)) == ("lost", {"reason": "forgotten"})
            kept = [json.loads((await again.event()).data)["id"] for _ in range(50)]
        assert kept == [str(number) for number in range(int(kept[0]), int(kept[0]) + 50)]

    async def test_on_a_common_stream_its_events_have_its_name(self, client: Client) -> None:
        async with asking(client, "/events?topic=transfers", BEARER) as subscriber:
            assert (await subscriber.event()).type == "transfers:snapshot"
            await client.get("/download/digits.txt")
            event = await subscriber.event()
            assert (event.type, json.loads(event.data)["path"]) == ("transfers:finished", "digits.txt")


async def test_a_slow_subscriber_is_told_so_and_begins_anew(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "WAITING", 2)
    slow = await opened(client)
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        for _ in range(4):
            await client.get("/download/digits.txt")
            await told(subscriber, "finished")
        events = await slow.next()
        assert [(event.name, event.id) for event in events] == [
            ("lost", subscriber.source.id),
            ("snapshot", subscriber.source.id),
        ]
        await client.get("/download/page.html")
        await told(subscriber, "finished")
        [event] = await slow.next()
        assert (event.name, json.loads(event.data)["path"]) == ("finished", "page.html")
    await slow.close()


async def test_events_are_encoded_once_for_all_subscribers(client: Client) -> None:
    one, other = await opened(client), await opened(client)
    batches = [await source.next() for source in (one, other)]
    await client.get("/download/digits.txt")
    while batches[0][0].name != "finished":
        batches = [await source.next() for source in (one, other)]
    assert batches[0] is batches[1]
    assert isinstance(batches[0], Batch)
    assert batches[0].encoded is batches[1].encoded  # type: ignore[attr-defined]
    await one.close()
    await other.close()


async def test_without_subscribers_nothing_is_shown(client: Client) -> None:
    async with asking(client, TRANSFERS, BEARER) as subscriber:
        await begun(subscriber)
        assert client.state["site"].tracking.is_watched
    assert client.state["site"].tracking.audience._task is None


def states_of(worker: "Worker") -> list[dict[str, Any]]:
    """Return what a worker's subscribers would be told now."""
    event = worker.tracking.audience.snapshot()
    transfers: list[dict[str, Any]] = json.loads(event.data)["transfers"]
    return transfers


@dataclass
class Worker:
    """One of several workers, in this process: they share the log of events, and each has an election of its own."""

    bus: Bus
    tracking: Tracking

    async def close(self) -> None:
        await self.tracking.close()
        await self.bus.close()

    async def die(self) -> None:
        """End without a word of what was under way."""
        self.tracking.progress = progress.Progress(self.tracking, "")
        await self.close()


class TestWorkers:
    """Several workers of one server."""

    FILE = Subject("192.0.2.1", "download", "films/a.mkv", '"tag"', 100)

    @pytest.fixture
    async def start(self, tmp_path: Path) -> AsyncIterator[Callable[[], Worker]]:
        workers: list[Worker] = []

        def start() -> Worker:
            bus = open_bus(tmp_path / "events.sqlite", max_rows=1000)
            workers.append(Worker(bus, Tracking(bus, WINDOW_S)))
            return workers[-1]

        async with AsyncExitStack() as stack:
            yield start
            for worker in workers:
                if not worker.bus._outbox.is_done:
                    stack.push_async_callback(worker.close)

    def piece(self, start: int, stop: int, end: End | None = End.TAKEN, id: str = "1") -> Piece:
        return Piece(self.FILE, (id,), (0, time.time()), start, 0, stop - start, (Span(start, stop),), end)

    async def ends(self, worker: Worker, count: int) -> list[dict[str, Any]]:
        """Return what the rows tell, once there are *count*."""
        async with asyncio.timeout(PATIENCE_S):
            with worker.bus.subscribe(topics.ENDED) as news:
                while len(rows := await worker.bus.last(topics.ENDED, 100)) < count:
                    await news.changed()
        return [json.loads(row.data) for row in rows]

    async def test_pieces_of_all_workers_are_one_transfer_and_one_record(
        self, start: Callable[[], Worker], caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = start(), start()
        assert (one.bus.is_elected, other.bus.is_elected) == (True, False)
        other.tracking.tell_ended([self.piece(0, 50)])
        one.tracking.tell_ended([self.piece(50, 100)])
        [end] = await self.ends(other, 1)
        assert (end["outcome"], end["covered"]) == ("complete", 100)
        assert len(records(caplog)) == 1

    async def test_what_is_under_way_in_one_is_told_by_all(
        self, start: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where it takes more than one datagram."""
        monkeypatch.setattr(tracking, "PART", 400)
        one, other, third = start(), start(), start()
        queue = Queue()
        await third.tracking.audience.join(queue)
        live = [self.piece(10 * number, 10 * number + 5, None, str(number)) for number in range(10)]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                other.tracking.tell_under_way(live)
                found = states_of(third)
                if found and found[0]["connections"] == 10:
                    break
                await asyncio.sleep(0.01)
            assert found[0]["covered"] == 50
            while found[0]["connections"]:
                other.tracking.tell_under_way([])
                await asyncio.sleep(0.01)
                found = states_of(third)
        await third.tracking.audience.leave(queue)
        assert one.bus.is_elected

    async def test_when_the_elected_one_dies_another_goes_on_from_the_rows(
        self, start: Callable[[], Worker], caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = start(), start()
        await self.keeping(one)
        one.tracking.tell_ended([self.piece(0, 50)])
        await self.piece_rows(other, 1)
        await one.die()
        other.tracking.tell_ended([self.piece(50, 100)])
        [end] = await self.ends(other, 1)
        assert (end["outcome"], end["covered"]) == ("complete", 100)
        assert len(records(caplog)) == 1

    async def test_what_has_no_end_when_the_server_ends_has_one_after_its_next_start(
        self, start: Callable[[], Worker], caplog: pytest.LogCaptureFixture
    ) -> None:
        one = start()
        one.tracking.tell_ended([self.piece(0, 50, End.LEFT)])
        await self.piece_rows(one, 1)
        await one.die()
        two = start()
        [end] = await self.ends(two, 1)
        assert (end["outcome"], end["covered"]) == ("aborted", 50)
        await two.die()
        three = start()
        three.tracking.tell_ended([self.piece(0, 100)])
        ends = await self.ends(three, 2)
        assert [(end["outcome"], end["sent"]) for end in ends] == [("aborted", 50), ("complete", 100)]
        assert len(records(caplog)) == 2

    async def test_rows_and_datagrams_of_another_version_are_passed_over(self, start: Callable[[], Worker]) -> None:
        one, other = start(), start()
        one.bus.append(topics.PIECES, "nonsense")
        one.bus.append(topics.PIECES, json.dumps({"future": 1}))
        for message in (b"nonsense", b"[]", b'{"under_way":1}', b'{"under_way":["x",[1]]}', b'{"shown":[]}'):
            other.bus.broadcast(message)
        other.tracking.tell_ended([self.piece(0, 100)])
        [end] = await self.ends(one, 1)
        assert end["outcome"] == "complete"

    async def keeping(self, worker: Worker) -> None:
        """Return when *worker* keeps the transfers."""
        async with asyncio.timeout(PATIENCE_S):
            while worker.tracking.keeper._news is None:  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0.01)

    async def piece_rows(self, worker: Worker, count: int) -> None:
        """Return when *count* pieces are in the log."""
        async with asyncio.timeout(PATIENCE_S):
            with worker.bus.subscribe(topics.PIECES) as news:
                while len(await worker.bus.last(topics.PIECES, 100)) < count:
                    await news.changed()
