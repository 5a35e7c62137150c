"""Several topics on one stream: their names and ids, what becomes of one that ends, and what is left behind."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from starlette.types import Message

from fileserve import Settings
from fileserve.storage.errors import ContentChanged, NotFound
from fileserve.web.streams import topics
from fileserve.web.streams.events import Batch, Event, EventStream, Source
from fileserve.web.streams.several import Several, open_several
from tests.asgi import Client, client_of
from tests.eventsource import EventSource
from tests.web.streams.test_events import PATIENCE_S, Scripted, Subscriber, asking, bare_scope, subscribed, take

TOKEN = "the-operator's-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def several(**sources: Scripted) -> Several:
    return Several(sources, {}, {})


async def at_rest(*sources: Scripted) -> None:
    """Return when the waits of *sources* have begun."""
    for source in sources:
        while not source.queue._getters:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)


class TestSeveral:
    """The joined source, whatever its topics tell of."""

    async def test_events_stand_under_their_topics(self) -> None:
        """And each carries the ids of all."""
        a, b = Scripted(start="a0"), Scripted(start="b0")
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            await subscriber.message()
            await subscriber.message()
            assert subscriber.source.id == "a=a0&b=b0"
            a.queue.put_nowait([Event("1", "a1"), Event("2", "a2", "lost")])
            found = [await subscriber.event() for _ in range(2)]
            b.queue.put_nowait([Event("3", "b & 1")])
            found.append(await subscriber.event())
        assert [(event.type, event.data, event.id) for event in found] == [
            ("a", "1", "a=a1&b=b0"),
            ("a:lost", "2", "a=a2&b=b0"),
            ("b", "3", "a=a2&b=b+%26+1"),
        ]

    async def test_a_wait_is_kept_while_another_topic_tells(self) -> None:
        a, b = Scripted(), Scripted()
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            await at_rest(a, b)
            for number in range(5):
                b.queue.put_nowait([Event(str(number), str(number))])
                assert (await subscriber.event()).data == str(number)
            assert not a.cancelled
            a.queue.put_nowait([Event("kept", "1")])
            assert (await subscriber.event()).data == "kept"

    async def test_a_topic_that_ends_leaves_the_others_going(self) -> None:
        a, b = Scripted(), Scripted()
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            a.queue.put_nowait([Event("last", "a9")])
            assert (await subscriber.event()).data == "last"
            a.queue.put_nowait([])
            b.queue.put_nowait([Event("more", "b1")])
            assert (await subscriber.event()).id == "a=a9&b=b1"
            assert a.closed
            b.queue.put_nowait([])
            assert await subscriber.events() == []
        assert b.closed

    async def test_an_error_ends_its_topic_alone(self) -> None:
        a, b = Scripted(start="a0"), Scripted(start="b0")
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            a.queue.put_nowait(ContentChanged())
            error = await subscriber.event()
            assert (error.type, error.id) == ("a:error", "a=a0&b=b0")
            assert "changed" in json.loads(error.data)["detail"]
            assert a.closed
            b.queue.put_nowait([Event("more", "b1")])
            assert (await subscriber.event()).data == "more"

    async def test_a_fault_of_ours_is_raised_on_and_closes_all(self) -> None:
        a, b = Scripted(), Scripted()
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            await at_rest(a, b)
            a.queue.put_nowait(ZeroDivisionError())
            with pytest.raises(ZeroDivisionError):
                await subscriber.task
            assert (a.closed, b.closed, b.cancelled) == (True, True, True)
            assert not subscriber.finished

    async def test_a_cancellation_reaches_every_source_and_is_raised_on(self) -> None:
        sources = [Scripted() for _ in range(5)]
        joined = several(**{f"t{number}": source for number, source in enumerate(sources)})
        async with subscribed(EventStream(joined), bare_scope()) as subscriber:
            await at_rest(*sources)
            subscriber.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await subscriber.task
            assert [(source.cancelled, source.closed) for source in sources] == [(True, True)] * 5

    async def test_a_client_that_leaves_and_a_server_that_drains_end_every_source(self) -> None:
        for end in ("gone", "draining"):
            sources = [Scripted() for _ in range(3)]
            joined = several(**{f"t{number}": source for number, source in enumerate(sources)})
            async with subscribed(EventStream(joined), bare_scope()) as subscriber:
                await at_rest(*sources)
                getattr(subscriber, end).set()
                async with asyncio.timeout(PATIENCE_S):
                    await subscriber.task
                assert [(source.cancelled, source.closed) for source in sources] == [(True, True)] * 3

    async def test_one_that_cannot_be_closed_does_not_keep_the_others_open(self) -> None:
        a, b = Stubborn(), Scripted()
        joined = several(a=a, b=b)
        with pytest.raises(ZeroDivisionError):
            await joined.close()
        assert b.closed

    async def test_a_slow_subscriber_s_sources_wait(self) -> None:
        """What was not taken is not asked for: of each topic three batches are under way at the most."""
        a, b = Scripted(), Scripted()
        async with subscribed(EventStream(several(a=a, b=b)), bare_scope()) as subscriber:
            await at_rest(a, b)
            subscriber.taking.clear()
            for number in range(10):
                for source in (a, b):
                    source.queue.put_nowait([Event(str(number), str(number))])
            for _ in range(100):
                await asyncio.sleep(0)
            assert min(a.queue.qsize(), b.queue.qsize()) >= 7
            subscriber.taking.set()
            found = [await subscriber.event() for _ in range(20)]
        for topic in "ab":
            assert [event.data for event in found if event.type == topic] == list("0123456789")

    async def test_a_batch_for_many_is_encoded_once_for_those_who_stand_at_the_same_ids(self) -> None:
        """And tells each of the others its own ids."""
        batch = Batch([Event("1", "a1", "progress"), Event("2", "a2")])
        frames, starts = [], ("b0", "b0", "b1")
        for start in starts:
            joined = several(a=Scripted(), b=Scripted(start=start))
            block = joined._encode("a", batch)
            frames.append(block.encode())
            assert joined.start == block.id == f"a=a2&b={start}"
        assert frames[0] is frames[1]
        for frame, start in zip(frames, starts, strict=True):
            assert frame == several(a=Scripted(), b=Scripted(start=start))._encode("a", list(batch)).encode()
            assert [message.id for message in EventSource().feed(frame)] == [f"a=a1&b={start}", f"a=a2&b={start}"]


class Stubborn(Scripted):
    """A source that fails to close."""

    async def close(self) -> None:
        raise ZeroDivisionError


async def opened(source: Scripted | Exception | None, told: list[str | None], id: str | None) -> Source | None:
    """Stand in for a topic's opener, and note what it was *told*."""
    told.append(id)
    if isinstance(source, Exception):
        raise source
    return source


class TestOpening:
    """Ids, and topics that cannot be opened."""

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            pytest.param(None, [None, None], id="a_new_client"),
            pytest.param("a=1&b=2", ["1", "2"], id="both"),
            pytest.param("b=2&a=1", ["1", "2"], id="in_another_order"),
            pytest.param("b=2", [None, "2"], id="one_is_new"),
            pytest.param("c=3&b=2", [None, "2"], id="one_is_no_longer_wanted"),
            pytest.param("a=1+%26%3D&b=2", ["1 &=", "2"], id="escaped"),
            pytest.param("c=3", ["c=3", "c=3"], id="none_of_these"),
            pytest.param("nonsense", ["nonsense", "nonsense"], id="not_understood"),
        ],
    )
    async def test_each_topic_is_told_its_own_id(self, given: str | None, expected: Sequence[str | None]) -> None:
        told: list[str | None] = []
        openers = {topic: partial(opened, Scripted(), told) for topic in "ab"}
        assert await open_several(openers, given) is not None
        assert told == expected

    async def test_one_that_cannot_be_opened_is_an_error_event(self) -> None:
        a = Scripted(start="a0")
        openers = {"b": partial(opened, NotFound(), []), "a": partial(opened, a, [])}
        source = await open_several(openers, "b=5&a=1")
        assert source is not None
        async with subscribed(EventStream(source), bare_scope()) as subscriber:
            error = await subscriber.event()
            assert (error.type, error.id) == ("b:error", "b=5&a=a0")
            a.queue.put_nowait([Event("more", "a1")])
            assert (await subscriber.event()).id == "b=5&a=a1"

    async def test_one_that_has_nothing_left_keeps_its_id(self) -> None:
        openers = {"a": partial(opened, None, []), "b": partial(opened, Scripted(start="b0"), [])}
        source = await open_several(openers, "a=done&b=b0")
        assert source is not None
        assert source.start == "a=done&b=b0"

    async def test_where_none_can_be_opened_the_first_error_is_the_answer(self) -> None:
        openers = {"a": partial(opened, NotFound(), []), "b": partial(opened, ContentChanged(), [])}
        with pytest.raises(NotFound):
            await open_several(openers, None)

    async def test_where_nothing_is_left_of_any_there_is_no_stream(self) -> None:
        assert await open_several({"a": partial(opened, None, [])}, "a=done") is None

    @pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
    async def test_a_fault_while_they_are_opened_closes_what_was(self, error: BaseException) -> None:
        a = Scripted()

        async def fail(id: str | None) -> Source | None:
            raise error

        with pytest.raises(type(error)):
            await open_several({"a": partial(opened, a, []), "b": fail}, None)
        assert a.closed


class Leaver:
    """A client that takes what it is sent until it is *gone*."""

    def __init__(self, client: Client, path: str) -> None:
        self.begun, self.told, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.ensure_future(
            client.app(client._scope("GET", path, BEARER), self.receive, self.send)
        )

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        (self.told if b"everybody" in message.get("body", b"") else self.begun).set()


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    settings = Settings(root=served_root, weak_etag_ms=0, operator_token=TOKEN)
    async with client_of(settings) as opened_client:
        yield opened_client


@pytest.fixture
def log(served_root: Path) -> Path:
    path = served_root / "app.log"
    path.write_text("one\ntwo\n")
    return path


def path_of(*asked: str, more: str = "") -> str:
    return "/events?" + "&".join(f"topic={quote(topic, safe='')}" for topic in asked) + more


async def begun(subscriber: Subscriber) -> str:
    """Return the id that the stream begins with."""
    while not subscriber.source.id:
        await subscriber.message()
    return subscriber.source.id


class TestRoute:
    """``GET /events``."""

    async def test_lines_records_and_progress_come_on_one_stream(self, client: Client, log: Path) -> None:
        path = path_of("tail:app.log", "logs", "checksum:digits.txt", more="&from=-1&last=0&level=WARNING")
        async with asking(client, path, BEARER) as subscriber:
            found = dict([await typed(subscriber) for _ in range(2)])
            assert found["tail:app.log"] == "two"
            assert json.loads(found["checksum:digits.txt:done"])["name"] == "digits.txt"
            logging.getLogger("fileserve.test").warning("said")
            kind, data = await typed(subscriber)
            assert (kind, json.loads(data)["message"]) == ("logs", "said")
            with log.open("a") as file:
                file.write("three\n")
            assert await typed(subscriber) == ("tail:app.log", "three")
            last = subscriber.source.id
        assert [topic for topic, _ in parse_qsl(last)] == ["tail:app.log", "logs", "checksum:digits.txt"]
        with log.open("a") as file:
            file.write("four\n")
        async with asking(client, path, BEARER | {"Last-Event-ID": last}) as subscriber:
            assert await typed(subscriber) == ("tail:app.log", "four")

    async def test_a_digest_that_was_told_is_over_and_alone_it_ends_the_client(self, client: Client) -> None:
        async with asking(client, path_of("checksum:digits.txt")) as subscriber:
            done = (await subscriber.events())[-1]
        assert done.type == "checksum:digits.txt:done"
        answer = await client.get(path_of("checksum:digits.txt"), {"Last-Event-ID": done.id})
        assert (answer.status, answer.content) == (204, b"")

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            pytest.param(b"with space.txt", "with%20space.txt", id="space"),
            pytest.param(b"with space.txt", "with space.txt", id="space_as_it_is"),
            pytest.param(b"percent%41.txt", "percent%2541.txt", id="percent"),
            pytest.param(b"new\nline.txt", "new%0Aline.txt", id="newline"),
            pytest.param(b"not-utf8-\xff", "not-utf8-%FF", id="no_utf8"),
            pytest.param("ünï.txt".encode(), "ünï.txt", id="beyond_ascii"),
            pytest.param(b"colon:lost", "colon:lost", id="colon"),
        ],
    )
    async def test_the_event_s_name_is_the_topic_as_it_was_asked_for(
        self, client: Client, served_root: Path, name: bytes, path: str
    ) -> None:
        Path(os.fsdecode(os.path.join(os.fsencode(served_root), name))).write_text("line\n")
        async with asking(client, path_of("tail:" + path, more="&from=start")) as subscriber:
            assert await typed(subscriber) == ("tail:" + path, "line")
            assert parse_qsl(subscriber.source.id)[0][0] == "tail:" + path

    @pytest.mark.parametrize(
        "asked",
        [
            pytest.param([], id="none"),
            pytest.param([""], id="empty"),
            pytest.param(["nothing"], id="unknown"),
            pytest.param(["tail"], id="tail_of_nothing"),
            pytest.param(["logs:app.log"], id="logs_of_a_file"),
            pytest.param(["tail:new\nline.txt"], id="a_line_break"),
            pytest.param([f"tail:{number}" for number in range(topics.MOST + 1)], id="too_many"),
            pytest.param(["tail:digits.txt", "nothing"], id="one_of_two"),
        ],
    )
    async def test_what_is_no_topic_is_refused(self, client: Client, asked: list[str]) -> None:
        for method in ("GET", "HEAD"):
            assert (await client.request(method, path_of(*asked), BEARER)).status == 422

    @pytest.mark.parametrize(
        ("path", "status"), [("", 404), ("..", 400), ("a%ZZ", 400), ("absent", 404), ("fifo", 403)]
    )
    async def test_a_path_that_leads_to_no_file_is_what_it_is_alone(
        self, client: Client, path: str, status: int
    ) -> None:
        assert (await client.get(path_of("tail:" + path))).status == status

    async def test_a_file_that_is_absent_leaves_the_others_going(self, client: Client, log: Path) -> None:
        async with asking(client, path_of("tail:absent", "tail:app.log", more="&from=start")) as subscriber:
            error, *lines = [await typed(subscriber) for _ in range(3)]
        assert error[0] == "tail:absent:error"
        assert lines == [("tail:app.log", "one"), ("tail:app.log", "two")]

    async def test_rights_are_asked_before_anything_is_opened(
        self, client: Client, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(type(client.state["site"].root), "open", None)
        for asked in (["logs"], ["tail:app.log", "logs"], ["checksum:large.bin", "logs"]):
            answer = await client.get(path_of(*asked))
            assert (answer.status, answer["www-authenticate"]) == (401, "Bearer")

    async def test_a_file_s_topics_need_no_token(self, client: Client, log: Path) -> None:
        async with asking(client, path_of("tail:app.log", more="&from=start")) as subscriber:
            assert await take(subscriber, 1) == ["tail:app.log one"]

    async def test_a_bad_query_of_one_topic_is_refused_and_leaves_nothing_open(self, client: Client, log: Path) -> None:
        before = len(os.listdir("/dev/fd"))
        assert (await client.get(path_of("tail:app.log", "logs", more="&level=loud"), BEARER)).status == 422
        assert len(os.listdir("/dev/fd")) == before

    async def test_an_id_that_is_not_understood_is_a_reset_of_each(self, client: Client, log: Path) -> None:
        path = path_of("tail:app.log", "logs", more="&last=0")
        async with asking(client, path, BEARER | {"Last-Event-ID": "junk"}) as subscriber:
            kinds = {(await typed(subscriber))[0] for _ in range(2)}
        assert kinds == {"tail:app.log:reset", "logs:reset"}

    async def test_a_topic_asked_for_twice_is_one(self, client: Client, log: Path) -> None:
        async with asking(client, path_of("tail:app.log", "tail:app.log", more="&from=start")) as subscriber:
            assert await take(subscriber, 2) == ["tail:app.log one", "tail:app.log two"]

    async def test_subscribers_that_leave_leave_nothing_behind(self, client: Client, log: Path) -> None:
        before = len(os.listdir("/dev/fd"))
        for _ in range(10):
            path = path_of("tail:app.log", "logs", "checksum:large.bin", more="&last=0")
            async with asking(client, path, BEARER) as subscriber:
                await begun(subscriber)
                await subscriber.leave()
        assert len(os.listdir("/dev/fd")) == before
        assert not watched(client)

    async def test_a_crowd_that_leaves_at_once_leaves_no_task_descriptor_or_queue(
        self, client: Client, log: Path
    ) -> None:
        """Also where everybody is just being told something."""
        path = path_of("tail:app.log", "logs", more="&last=0")
        tasks, descriptors = asyncio.all_tasks(), len(os.listdir("/dev/fd"))
        crowd = [Leaver(client, path) for _ in range(500)]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(leaver.begun.wait() for leaver in crowd))
            logging.getLogger("fileserve.test").warning("for everybody")
            await crowd[0].told.wait()
            for number, leaver in enumerate(crowd):
                leaver.task.cancel() if number % 2 else leaver.gone.set()
            ends = await asyncio.gather(*(leaver.task for leaver in crowd), return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), asyncio.CancelledError] * 250
        assert asyncio.all_tasks() == tasks
        assert len(os.listdir("/dev/fd")) == descriptors
        assert not watched(client)

    async def test_head_opens_nothing(self, client: Client, log: Path) -> None:
        answer = await client.request("HEAD", path_of("tail:app.log", "checksum:large.bin"))
        assert (answer.status, answer["content-type"], answer.content) == (200, "text/event-stream", b"")
        assert not client.state["site"].digests.checksums._running
        assert (await client.get("/events/", BEARER)).status == 422
        assert (await client.get("/events/unknown", BEARER)).status == 404


def watched(client: Client) -> int:
    """Return how many subscriptions of the log there are."""
    return sum(
        "logs" in subscription._topics for subscription in client.state["site"].stores.bus._subscriptions._members
    )


async def typed(subscriber: Subscriber) -> tuple[str, str]:
    """Return the type and the data of the next event that is no progress."""
    while (event := await subscriber.event()).type.endswith((".bin", ".txt", ":checkpoint")) and "step" in event.data:
        pass
    return event.type, event.data
