"""Log records on the bus, and ``/events/logs``."""

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings
from fileserve.server.logs import HumanLines
from fileserve.web.streams import logs
from fileserve.web.workers import bus as bus_module
from tests.asgi import Client, client_of
from tests.web.streams.test_events import PATIENCE_S, Subscriber, asking

TOKEN = "the-operator's-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
LEVELS = ("info", "warning", "error")
log = logging.getLogger("fileserve.test")


@pytest.fixture(autouse=True)
def _info() -> Iterator[None]:
    """Let fileserve say what the command lets it say."""
    logger = logging.getLogger("fileserve")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before)


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root, operator_token=TOKEN, event_rows=500)) as opened:
        yield opened


def subscribing(client: Client, query: str = "", last_event_id: str | None = None) -> Any:
    return asking(
        client, "/events/logs" + query, BEARER | ({"Last-Event-ID": last_event_id} if last_event_id is not None else {})
    )


async def begun(subscriber: Subscriber) -> str:
    """Return the id that the stream begins with."""
    while not subscriber.source.id:
        await subscriber.message()
    return subscriber.source.id


async def messages(subscriber: Subscriber, count: int) -> list[str]:
    """Return what the next *count* records say; of other events, their type and data."""
    events = [await subscriber.event() for _ in range(count)]
    return [
        str(json.loads(event.data)["message"]) if event.type == "message" else f"{event.type} {event.data}"
        for event in events
    ]


async def written(client: Client, last: str) -> None:
    """Return when the record that says *last* is in the log."""
    bus = client.state["site"].stores.bus
    with bus.subscribe() as subscription:
        while not any(json.loads(row.data)["message"] == last for row in await bus.last("logs", 1)):
            await subscription.changed()


async def test_a_record_is_told_with_all_that_belongs_to_it(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning("%d of %s", 2, "three", extra={"fields": {"path": "a/b", "bytes": 7}})
        event = await subscriber.event()
    record = json.loads(event.data)
    assert event.type == "message"
    assert abs(record.pop("time") - time.time()) < PATIENCE_S
    assert record.pop("pid") > 0
    assert record == {
        "level": "WARNING",
        "logger": "fileserve.test",
        "message": "2 of three",
        "fields": {"path": "a/b", "bytes": 7},
    }


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("one\ntwo\r\nthree\rfour", id="line_breaks"),
        pytest.param("\0\x07\x1b[31m\x7f\x85\u2028\u2029", id="controls"),
        pytest.param("data: x\n\nevent: forged\nid: 1\n\n", id="a_forged_event"),
        pytest.param("ünï\udcff😀", id="bytes_of_a_name_that_are_no_utf8"),
    ],
)
async def test_whatever_is_logged_arrives_as_one_line(client: Client, message: str) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning(message)
        event = await subscriber.event()
    assert event.data.isascii()
    assert event.data.isprintable()
    assert json.loads(event.data)["message"] == message


async def test_a_traceback_belongs_to_the_message_and_a_long_one_is_cut_at_its_beginning(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        try:
            raise ZeroDivisionError("x" * 20_000)
        except ZeroDivisionError:
            log.exception("failed")
        log.warning("y" * 20_000 + "end")
        first, second = await messages(subscriber, 2)
    assert first.startswith("… ")
    assert second.endswith("end")
    assert max(len(first), len(second)) < 17_000


async def test_other_handlers_get_a_record_as_it_was_logged(client: Client) -> None:
    """The operator's stream comes first; standard error indents, escapes and redacts a traceback in its own way."""
    terminal = logging.StreamHandler(io.StringIO())
    terminal.setFormatter(HumanLines())
    texts: list[str | None] = []

    def keep_text(record: logging.LogRecord) -> bool:
        texts.append(record.exc_text)
        return True

    terminal.addFilter(keep_text)
    logging.getLogger("fileserve").addHandler(terminal)  # behind the stream's
    try:
        async with subscribing(client, "?last=0") as subscriber:
            await begun(subscriber)
            try:
                raise ZeroDivisionError("\x1b[2J token=s3cr3t")
            except ZeroDivisionError:
                log.exception("failed")
            [streamed] = await messages(subscriber, 1)
    finally:
        logging.getLogger("fileserve").removeHandler(terminal)
    first, *others = terminal.stream.getvalue().splitlines()
    assert texts == [None]
    assert first.endswith("fileserve.test: failed")
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert "s3cr3t" not in "".join(others)
    assert streamed.startswith("failed\nTraceback")


async def test_fields_that_are_no_json_are_told_as_text(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning("odd", extra={"fields": {"path": Path("a")}})
        assert json.loads((await subscriber.event()).data)["fields"] == {"path": "a"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("?last=3", ["info 2", "warning 2", "error 2"], id="last_three"),
        pytest.param("?last=0", [], id="none"),
        pytest.param("?last=999999999&level=info", [f"{name} {n}" for n in range(3) for name in LEVELS], id="all"),
        pytest.param("?level=WARNING&last=3", ["error 1", "warning 2", "error 2"], id="last_three_of_the_level"),
        pytest.param("?level=error", ["error 0", "error 1", "error 2"], id="level_in_any_case"),
        pytest.param("?level=CRITICAL", [], id="none_of_the_level"),
    ],
)
async def test_the_last_records_come_first(client: Client, query: str, expected: list[str]) -> None:
    """And then the others, of the same level and above."""
    for number in range(3):
        for name in LEVELS:
            getattr(log, name)(f"{name} {number}")
    await written(client, "error 2")
    async with subscribing(client, query) as subscriber:
        await begun(subscriber)
        log.debug("nobody asked for this")
        log.critical("new")
        assert await messages(subscriber, len(expected) + 1) == [*expected, "new"]


@pytest.mark.parametrize(
    "query", ["level=", "level=loud", "level=10", "level=NOTSET", "last=", "last=-1", "last=all", "last=1234567890"]
)
async def test_another_query_is_refused(client: Client, query: str) -> None:
    assert (await client.get("/events/logs?" + query, BEARER)).status == 422


async def test_who_comes_back_misses_and_doubles_nothing_at_any_event(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        ids = [await begun(subscriber)]
        for number in range(10):
            log.warning("record %d", number)
        ids += [(await subscriber.event()).id for _ in range(10)]
    assert len(set(ids)) == 11
    for number, id in enumerate(ids):
        async with subscribing(client, "?last=5", id) as subscriber:
            log.warning("end")
            expected = [f"record {rest}" for rest in range(number, 10)]
            ends = ["end"] * (number + 1)
            assert await messages(subscriber, len(expected + ends)) == expected + ends


async def test_who_is_cut_off_before_the_first_event_gets_the_last_ones_again(client: Client) -> None:
    for number in range(5):
        log.warning("record %d", number)
    await written(client, "record 4")
    async with subscribing(client, "?last=3") as subscriber:
        start = await begun(subscriber)
    async with subscribing(client, "?last=3", start) as subscriber:
        assert await messages(subscriber, 3) == ["record 2", "record 3", "record 4"]


async def test_an_id_is_good_after_a_restart_and_at_another_worker(served_root: Path) -> None:
    settings = Settings(root=served_root, operator_token=TOKEN)
    async with client_of(settings) as client, subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning("told")
        last = (await subscriber.event()).id
        log.warning("while nobody listened")
    async with client_of(settings) as client, client_of(settings), subscribing(client, "", last) as subscriber:
        found = await messages(subscriber, 1)
        log.warning("by two")  # both are in this process, and each records it
        found += await messages(subscriber, 2)
    assert found == ["while nobody listened", "by two", "by two"]


@pytest.mark.parametrize(
    "given_id", ["x", "1-2", "0123456789ab-1", "\xff", "{boot}-", "{boot}--1", "{boot}-" + "9" * 18]
)
async def test_an_id_that_is_not_understood_is_a_reset_and_the_last_records(client: Client, given_id: str) -> None:
    log.warning("one")
    log.warning("two")
    await written(client, "two")
    given_id = given_id.format(boot=client.state["site"].stores.bus.boot)
    async with subscribing(client, "?last=1", given_id) as subscriber:
        first = await subscriber.event()
        assert (first.type, first.data) == ("reset", "{}")
        assert await messages(subscriber, 1) == ["two"]
    async with subscribing(client, "?last=1", first.id) as subscriber:
        assert await messages(subscriber, 1) == ["two"]


async def test_who_was_away_for_too_long_is_told(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        start = await begun(subscriber)
    for number in range(1500):
        log.warning("record %d", number)
        if not number % 100:
            await asyncio.sleep(0.03)  # several batches
    await written(client, "record 1499")
    async with subscribing(client, "", start) as subscriber:
        lost, *kept = await messages(subscriber, 501)
        assert lost == 'lost {"reason": "forgotten"}'
        first = int(kept[0].partition(" ")[2])
        assert kept == [f"record {number}" for number in range(first, first + 500)]
        assert first > 900


async def test_a_slow_subscriber_is_told_and_costs_nothing(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning("first")
        assert await messages(subscriber, 1) == ["first"]
        subscriber.taking.clear()
        for number in range(3000):
            log.warning("record %d", number)
            if not number % 100:
                await asyncio.sleep(0.03)
        await written(client, "record 2999")
        assert subscriber.sent.empty()
        subscriber.taking.set()
        found = await messages(subscriber, 1)
        while found[-1] != "record 2999":
            found += await messages(subscriber, 1)
    lost = found.index('lost {"reason": "slow"}')
    before, after = found[:lost], found[lost + 1 :]
    assert before == [f"record {number}" for number in range(len(before))]
    assert after == [f"record {number}" for number in range(3000 - len(after), 3000)]
    assert len(found) < 1500


async def test_a_log_that_is_lost_under_a_subscriber_is_told(client: Client) -> None:
    bus = client.state["site"].stores.bus
    async with subscribing(client, "?last=0") as subscriber:
        boot = (await begun(subscriber)).partition("-")[0]
        path = bus._log._path
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink()
        log.warning("new")
        assert await messages(subscriber, 2) == ['lost {"reason": "forgotten"}', "new"]
        assert subscriber.source.id.partition("-")[0] not in ("", boot)


async def test_what_the_bus_logs_is_not_put_on_it(client: Client) -> None:
    def fail() -> None:
        logging.getLogger("fileserve.storage.database").warning("in a thread of the bus")

    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        bus_module.log.warning("by the bus")
        await bus_module._run(fail)
        logging.getLogger("fileserve.storage.database").warning("by another")
        assert await messages(subscriber, 1) == ["by another"]


async def test_uvicorn_is_heard_and_others_are_not(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        logging.getLogger("asyncio").warning("a stranger")
        logging.getLogger("uvicorn.error").warning("uvicorn's")
        assert await messages(subscriber, 1) == ["uvicorn's"]


async def test_after_the_end_nothing_is_recorded(served_root: Path) -> None:
    before = [list(logging.getLogger(name).handlers) for name in ("fileserve", "uvicorn")]
    async with client_of(Settings(root=served_root)):
        pass
    assert [logging.getLogger(name).handlers for name in ("fileserve", "uvicorn")] == before


async def test_a_failure_of_the_log_of_events_is_an_error_event(client: Client) -> None:
    async with subscribing(client, "?last=0") as subscriber:
        await begun(subscriber)
        log.warning("one")
        await subscriber.event()
        bus = client.state["site"].stores.bus
        bus._recent = None
        bus._log.close()
        bus._subscriptions.tell(None)
        error = (await subscriber.events())[-1]
    assert error.type == "error"
    assert "cannot be read" in json.loads(error.data)["detail"]


async def test_it_is_for_the_operator(client: Client) -> None:
    assert (await client.get("/events/logs")).status == 401
    assert (await client.request("HEAD", "/events/logs")).status == 401
    answer = await client.request("HEAD", "/events/logs", BEARER)
    assert (answer.status, answer["content-type"], answer.content) == (200, "text/event-stream", b"")
    assert (await client.get("/events/logs/beneath", BEARER)).status == 404


async def test_many_subscribers_leave_nothing_behind(client: Client) -> None:
    bus = client.state["site"].stores.bus
    for _ in range(20):
        async with subscribing(client, "?last=0") as subscriber:
            await begun(subscriber)
            await subscriber.leave()
    assert len(bus._subscriptions) == 1  # that of who keeps the transfers


def test_a_level_that_is_not_known_here_is_shown_to_everybody() -> None:
    """Another process may have levels of its own."""
    row = bus_module.Row(1, "logs", json.dumps({"level": "Level 25"}))
    assert logs._parse_level("ERROR")(row)
