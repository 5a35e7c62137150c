"""nginx's log is followed by one worker, for all, over its rotation and theirs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fileserve.semantics.plan import plan_download
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag
from fileserve.web.transfers import keeping, nginx_log, topics
from fileserve.web.transfers.audience import Queue
from fileserve.web.transfers.offloaded import LogLine
from fileserve.web.transfers.tracking import Tracking
from fileserve.web.workers.bus import Bus, open_bus
from tests.web.streams.test_events import PATIENCE_S

LENGTH = 1 << 20
FILE = Representation(LENGTH, EntityTag("tag"), 1_700_000_000, "video/x-matroska", "a.mkv")
ROWS = 100  # that are kept of each kind
Worker = tuple[Bus, Tracking]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "ELECTION_S", 0.01)
    monkeypatch.setattr(nginx_log, "RETRY_S", 0.05)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log" / "accel.log"


@pytest.fixture
async def start(tmp_path: Path, log: Path) -> AsyncIterator[Callable[[], Worker]]:
    """Start a worker of one server, or the server anew; all are ended."""
    async with AsyncExitStack() as stack:

        def start(nginx_log: Path | None = log) -> Worker:
            bus = open_bus(tmp_path / "events.sqlite", max_rows=ROWS)
            tracking = Tracking(bus, 0.2, nginx_log)
            stack.push_async_callback(end, (bus, tracking))
            return bus, tracking

        yield start


async def end(worker: Worker) -> None:
    bus, tracking = worker
    if not bus._outbox.is_done:
        await tracking.close()
        await bus.close()


def offload(worker: Worker, range_value: str | None = None, name: str = "a.mkv") -> str:
    """Leave a download to nginx, and return the id of it."""
    fields = {"range": range_value} if range_value else {}
    request = SimpleNamespace(scope={}, name=(name.encode(),), address="192.0.2.1", fields=fields)
    return worker[1].offload(
        plan_download("GET", fields, FILE, boundary="", now_s=1_800_000_000), (request, "download")
    )


def write(log: Path, id: str, sent: int = LENGTH, **given: object) -> None:
    """Write what nginx writes when it has sent that."""
    values = {"transfer": id, "status": 200, "range": "", "sent": sent, "completion": "OK", "same": 1}
    with log.open("a") as file:
        file.write(json.dumps(values | {"at": round(time.time(), 3) + 0.0001} | given) + "\n")


async def ends(worker: Worker, count: int) -> list[dict[str, Any]]:
    """Return what is told of the ends of transfers, once there are *count*."""
    async with asyncio.timeout(PATIENCE_S):
        with worker[0].subscribe(topics.ENDED) as news:
            while len(rows := await worker[0].last(topics.ENDED, 100)) < count:
                await news.changed()
    return [json.loads(row.data) for row in rows]


async def under_way(worker: Worker, *connections: int) -> list[dict[str, Any]]:
    """Return what is shown, once these are transfers with so many *connections*."""
    queue, audience = Queue(), worker[1].audience
    await audience.join(queue)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                shown: list[dict[str, Any]] = json.loads(audience.snapshot().data)["transfers"]
                if [one["connections"] for one in shown] == list(connections):
                    return shown
                await queue.get()
    finally:
        await audience.leave(queue)


async def test_until_its_line_comes_a_transfer_is_under_way_and_of_its_progress_nothing_is_said(
    start: Callable[[], Worker], log: Path
) -> None:
    one, other = start(), start()
    id = offload(other)
    for worker in one, other:
        [shown] = await under_way(worker, 1)
        assert (shown["client"], shown["path"], shown["connections"]) == ("192.0.2.1", "a.mkv", 1)
        assert (shown["offloaded"], shown["sent"], shown["rate"], shown["left_s"]) == (1, 0, 0.0, None)
    write(log, id)
    for worker in one, other:
        [told] = await ends(worker, 1)
        assert (told["outcome"], told["sent"], told["covered"]) == ("complete", LENGTH, LENGTH)
        assert await under_way(worker) == []


async def test_pieces_of_one_client_are_one_transfer(start: Callable[[], Worker], log: Path) -> None:
    one, other = start(), start()
    half = LENGTH // 2
    first, second = offload(one, f"bytes=0-{half - 1}"), offload(other, f"bytes={half}-")
    await under_way(one, 2)
    write(log, first, half, status=206, range=f"bytes 0-{half - 1}/{LENGTH}")
    write(log, second, half, status=206, range=f"bytes {half}-{LENGTH - 1}/{LENGTH}")
    [told] = await ends(one, 1)
    assert (told["outcome"], told["covered"], told["from"]) == ("complete", LENGTH, 0)


async def test_who_leaves_has_aborted_and_another_file_has_failed(start: Callable[[], Worker], log: Path) -> None:
    one = start()
    left, replaced = offload(one), offload(one, name="b.mkv")
    write(log, left, 700, completion="")
    write(log, replaced, 999, same=0)
    told = {one["path"]: (one["outcome"], one["covered"]) for one in await ends(one, 2)}
    assert told == {"a.mkv": ("aborted", 700), "b.mkv": ("failed", 0)}


async def test_lines_that_are_none_of_ours_cost_nothing(start: Callable[[], Worker], log: Path) -> None:
    one = start()
    id = offload(one)
    with log.open("ab") as file:
        file.write(
            b"\xff\n{}\n[[[[\n" + b"x" * (3 << 16) + json.dumps({"transfer": id, "returned": 1}).encode() + b"\n"
        )
        file.write(b'{"transfer":"%b","status":200}\n' % id.encode())
    write(log, "abcdef123456-n99")
    write(log, id)
    [told] = await ends(one, 1)
    assert (told["outcome"], told["sent"]) == ("complete", LENGTH)


async def test_the_log_is_followed_over_its_rotation(start: Callable[[], Worker], log: Path) -> None:
    one = start()
    write(log, offload(one))
    await ends(one, 1)
    in_old, in_new = offload(one, name="b.mkv"), offload(one, name="c.mkv")
    log.rename(log.with_suffix(".log.1"))
    write(log.with_suffix(".log.1"), in_old)  # nginx keeps it open until it is told
    write(log, in_new)
    assert [told["outcome"] for told in await ends(one, 3)] == ["complete"] * 3


async def test_a_log_that_is_not_there_yet_is_waited_for(
    start: Callable[[], Worker], log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log.parent.rmdir()
    one = start()
    id = offload(one)
    async with asyncio.timeout(PATIENCE_S):
        while "is waited for" not in caplog.text:  # noqa: ASYNC110  a record tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    log.parent.mkdir()
    write(log, id)
    [told] = await ends(one, 1)
    assert told["outcome"] == "complete"
    assert caplog.text.count("is waited for") == 1


async def test_what_ends_while_no_worker_is_there_is_known_after_the_start(
    start: Callable[[], Worker], log: Path
) -> None:
    one = start()
    first, second = offload(one), offload(one, name="b.mkv")
    write(log, first)
    await ends(one, 1)
    await end(one)
    write(log, second)
    two = start()
    told = await ends(two, 2)
    assert [(one["path"], one["outcome"]) for one in told] == [("a.mkv", "complete"), ("b.mkv", "complete")]
    third = offload(two, name="c.mkv")
    await under_way(two, 1)
    write(log, third)
    assert len(await ends(two, 3)) == 3


async def test_what_may_have_ended_before_the_oldest_end_that_is_kept_is_not_waited_for(
    start: Callable[[], Worker], log: Path
) -> None:
    one = start()
    write(log, offload(one))
    await ends(one, 1)
    for _ in range(4 * ROWS):  # ends of others push that one out
        one[0].append(topics.ENDED, "{}")
    async with asyncio.timeout(PATIENCE_S):
        while (await one[0].last(topics.ENDED, 1000))[0].data != "{}":  # noqa: ASYNC110  a row that is gone tells nobody
            await asyncio.sleep(0.01)
    await end(one)
    log.unlink()
    two = start()
    assert len(await two[0].last(topics.OFFLOADED, 10)) == 1
    offload(two, name="b.mkv")
    assert [shown["path"] for shown in await under_way(two, 1)] == ["b.mkv"]


async def test_another_worker_goes_on_with_what_the_elected_one_has_not_heard(
    start: Callable[[], Worker], log: Path
) -> None:
    one, other = start(), start()
    half = LENGTH // 2
    heard, unheard = offload(one, f"bytes=0-{half - 1}"), offload(other, f"bytes={half}-")
    await under_way(one, 2)
    write(log, heard, half, status=206, range=f"bytes 0-{half - 1}/{LENGTH}")
    async with asyncio.timeout(PATIENCE_S):
        while not await one[0].last(topics.PIECES, 1):  # noqa: ASYNC110  the row is what is waited for
            await asyncio.sleep(0.01)
    await end(one)
    write(log, unheard, half, status=206, range=f"bytes {half}-{LENGTH - 1}/{LENGTH}")
    [told] = await ends(other, 1)
    assert (told["outcome"], told["covered"], told["sent"]) == ("complete", LENGTH, LENGTH)


async def test_a_download_that_was_resumed_and_is_whole_is_complete_though_nginx_was_killed_in_its_first_part(
    start: Callable[[], Worker], log: Path
) -> None:
    one = start()
    offload(one)
    await under_way(one, 1)
    half = LENGTH // 2
    write(log, offload(one, f"bytes={half}-"), half, status=206, range=f"bytes {half}-{LENGTH - 1}/{LENGTH}")
    [told] = await ends(one, 1)
    assert (told["outcome"], told["from"], told["covered"]) == ("complete", 0, LENGTH)


async def test_who_has_the_log_reads_it_also_while_another_is_elected_that_has_none(
    start: Callable[..., Worker], log: Path
) -> None:
    """As a server does that drains after a restart by which the log has come into use."""
    old, new = start(None), start()
    whole, half = offload(new), offload(new, f"bytes=0-{LENGTH // 2 - 1}", "b.mkv")
    await under_way(new, 1, 1)
    write(log, whole)
    write(log, half, LENGTH // 2, status=206, range=f"bytes 0-{LENGTH // 2 - 1}/{LENGTH}")
    told = await ends(new, 2)
    assert [(one["path"], one["outcome"], one["sent"]) for one in told] == [
        ("a.mkv", "complete", LENGTH),
        ("b.mkv", "expired", LENGTH // 2),
    ]
    third = offload(new, name="c.mkv")
    await under_way(new, 1)
    await end(old)
    write(log, third)
    assert (await ends(new, 3))[-1]["outcome"] == "complete"


async def test_what_was_heard_for_one_who_died_is_not_lost(start: Callable[..., Worker], log: Path) -> None:
    old, new = start(None), start()
    id = offload(new)
    await under_way(new, 1)
    old[1].keeper._take = lambda row, told: None  # type: ignore[method-assign]
    write(log, id)
    async with asyncio.timeout(PATIENCE_S):
        while not await new[0].last(topics.LOGGED, 1):  # noqa: ASYNC110  the row is what is waited for
            await asyncio.sleep(0.01)
    await end(old)
    [told] = await ends(new, 1)
    assert (told["outcome"], told["sent"]) == ("complete", LENGTH)


async def test_what_comes_while_a_worker_takes_over_is_not_lost(
    start: Callable[..., Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its looks at what is there, a response is left to nginx, and another one ends."""
    last = Bus.last

    async def written(bus: Bus, topic: str) -> None:
        while not await last(bus, topic, 1):  # noqa: ASYNC110  the row is what is waited for
            await asyncio.sleep(0.01)

    async def meanwhile(bus: Bus, topic: str, *arguments: Any) -> Any:
        found = await last(bus, topic, *arguments)
        if topic == topics.OFFLOADED:
            monkeypatch.setattr(Bus, "last", last)
            offload(new)
            await written(bus, topics.OFFLOADED)
            offload(none, name="b.mkv")  # whose end nobody will tell: it counts as ended at once
            await written(bus, topics.PIECES)
        return found

    monkeypatch.setattr(Bus, "last", meanwhile)
    new, none = start(tmp_path / "missing" / "accel.log"), start(None)
    [shown] = await under_way(new, 1)
    assert shown["path"] == "a.mkv"


async def test_the_log_is_read_from_where_the_first_that_is_waited_for_began(
    start: Callable[[], Worker], log: Path
) -> None:
    write(log, "abcdef123456-n0", at=time.time() - 3600)
    one = start()
    first = offload(one)
    await under_way(one, 1)
    await end(one)
    write(log, first)
    for number in range(5000):
        write(log, f"abcdef123456-n{number:x}")
    two = start()
    [told] = await ends(two, 1)
    assert (told["outcome"], told["sent"]) == ("complete", LENGTH)


@pytest.mark.parametrize(("since_s", "lines"), [(0.0, 3000), (1500.0, 1501), (2999.5, 1), (9999.0, 1)])
async def test_what_is_older_is_passed_over(log: Path, since_s: float, lines: int) -> None:
    heard: list[LogLine] = []

    async def since() -> float:
        return since_s

    for number in range(3000):
        write(log, f"abcdef123456-n{number:x}", at=float(number) or 0.5)
    reading = asyncio.ensure_future(nginx_log.follow_log(log, since, heard.extend))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not heard or heard[-1].at_s != 2999:  # noqa: ASYNC110  a list tells nobody
                await asyncio.sleep(0.01)
    finally:
        reading.cancel()
    assert lines <= len(heard) <= lines + nginx_log.BLOCK // 100


async def test_a_log_that_becomes_something_else_is_reported_once(
    start: Callable[[], Worker], log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = start()
    write(log, offload(one))
    await ends(one, 1)
    log.rename(log.with_suffix(".log.1"))
    log.mkdir()
    async with asyncio.timeout(PATIENCE_S):
        while "is waited for" not in caplog.text:  # noqa: ASYNC110  a record tells nobody
            await asyncio.sleep(0.01)
    log.rmdir()
    write(log, offload(one, name="b.mkv"))
    assert len(await ends(one, 2)) == 2
    assert caplog.text.count("is waited for") == 1


async def test_without_a_log_the_end_is_not_known_and_that_is_said(start: Callable[..., Worker]) -> None:
    one = start(None)
    offload(one)
    [told] = await ends(one, 1)
    assert (told["outcome"], told["sent"]) == ("unknown", 0)
