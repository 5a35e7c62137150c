"""The bus: rows and messages between real processes, their deaths, and what it does where nothing can be written."""

import asyncio
import os
import shutil
import socket
import sqlite3
import sys
import threading
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE

import pytest

from fileserve.storage.eventlog import EventLog, News, Row
from fileserve.web.workers import bus as bus_module
from fileserve.web.workers import recent as recent_module
from fileserve.web.workers.bus import Bus, RowsForgotten, is_at_work, open_bus
from fileserve.web.workers.doorbell import Doorbell
from fileserve.web.workers.recent import Recent

PATIENCE_S = 20
MANY = 1_000_000
TAKE_OVER_S = 1.0  # what is promised when the elected worker dies
PROMPT_S = 0.1  # what is promised from an append to a subscriber

# A worker: does what the lines that it reads say, and tells what it hears.
WORKER = """
import asyncio, pathlib, sys
from fileserve.web.workers.bus import open_bus

async def main():
    bus = open_bus(pathlib.Path(sys.argv[1]), max_rows=1000)
    bus.listen(lambda message: print("message", message.decode(), flush=True))
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    reading = asyncio.ensure_future(read(bus))
    while line := (await stdin.readline()).decode().strip():
        command, _, text = line.partition(" ")
        if command == "append":
            bus.append("a", text)
        elif command == "broadcast":
            bus.broadcast(text.encode())
        elif command == "elected":
            print("elected", bus.is_elected, flush=True)
    reading.cancel()
    await asyncio.wait((reading,))
    await bus.close()

async def read(bus):
    with bus.subscribe("a") as subscription:
        row = await bus.newest()
        print("boot", bus.boot, flush=True)
        while True:
            for found in await bus.after(row, ("a",), 100_000):
                row = found.id
                print("row", found.data, flush=True)
            await subscription.changed()

asyncio.run(main())
"""


@dataclass
class Worker:
    """A process with a bus of its own; ``said`` is what it has told so far, by kind."""

    process: Process
    said: dict[str, list[str]] = field(default_factory=dict)

    def do(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    async def say(self, kind: str, count: int = 1) -> list[str]:
        """Return what it told of *kind*, once that is *count* lines."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while len(self.said.get(kind, [])) < count:
                line = (await self.process.stdout.readline()).decode()
                assert line, "the worker has ended"
                told, _, text = line.rstrip("\n").partition(" ")
                self.said.setdefault(told, []).append(text)
        return self.said[kind]

    async def is_elected(self) -> bool:
        self.do("elected")
        return (await self.say("elected", len(self.said.get("elected", [])) + 1))[-1] == "True"

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def working(path: Path, count: int) -> AsyncIterator[list[Worker]]:
    """Run *count* workers; those that still run at the end are to end well."""
    command = [sys.executable, "-W", "error", "-c", WORKER, str(path)]
    workers = [
        Worker(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE))
        for _ in range(count)
    ]
    try:
        for worker in workers:
            await worker.say("boot")
        yield workers
        for worker in workers:
            if worker.process.returncode is None:
                assert worker.process.stdin is not None
                worker.process.stdin.write_eof()
                assert worker.process.stderr is not None
                assert await worker.process.stderr.read() == b""
                assert await worker.process.wait() == 0
    finally:
        for worker in workers:
            if worker.process.returncode is None:
                await worker.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.sqlite"


@asynccontextmanager
async def opened(path: Path | None, max_rows: int = 1000) -> AsyncIterator[Bus]:
    bus = open_bus(path, max_rows=max_rows)
    try:
        yield bus
    finally:
        await bus.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.005)


async def data_of(bus: Bus, row: int, count: int, topic: str = "a") -> list[str]:
    """Return the first *count* rows after *row*, once they are there."""
    async with asyncio.timeout(PATIENCE_S):
        with bus.subscribe(topic) as subscription:
            while len(rows := await bus.after(row, (topic,), count)) < count:
                await subscription.changed()
    return [found.data for found in rows]


class TestWorkers:
    """Several processes on one log."""

    async def test_they_append_and_hear_each_other(self, path: Path) -> None:
        """All hear the same rows in the same order, each once."""
        async with working(path, 3) as workers:
            for number in range(50):
                for name, worker in zip("xyz", workers, strict=True):
                    worker.do(f"append {name}{number}")
            heard = [await worker.say("row", 150) for worker in workers]
        assert heard[0] == heard[1] == heard[2]
        for name in "xyz":
            assert [row for row in heard[0] if row.startswith(name)] == [f"{name}{number}" for number in range(50)]

    async def test_they_broadcast_to_the_others(self, path: Path) -> None:
        async with working(path, 3) as (one, *others):
            one.do("broadcast hello")
            for other in others:
                assert await other.say("message") == ["hello"]
            others[0].do("broadcast back")
            assert await one.say("message") == ["back"]

    @pytest.mark.alone
    async def test_a_row_is_heard_promptly(self, path: Path) -> None:
        """By the median of some: one may meet whatever else this machine does."""
        async with working(path, 1) as (worker,), opened(path) as bus:
            passed_s = []
            for number in range(15):
                began_s = time.monotonic()
                bus.append("a", str(number))
                await worker.say("row", number + 1)
                passed_s.append(time.monotonic() - began_s)
        assert sorted(passed_s)[7] < PROMPT_S

    async def test_a_dead_worker_s_socket_is_unlinked_by_whoever_finds_it(self, path: Path) -> None:
        async with working(path, 3) as (one, two, dead):
            bells = path.with_suffix(".bells")
            assert len(os.listdir(bells)) == 3
            await dead.kill()
            one.do("append 1")
            assert await two.say("row") == ["1"]
            await until(lambda: len(os.listdir(bells)) == 2)
        assert os.listdir(bells) == []

    @pytest.mark.alone
    async def test_one_is_elected_and_another_takes_over_when_it_dies(self, path: Path) -> None:
        async with working(path, 3) as workers:
            elected = [worker for worker in workers if await worker.is_elected()]
            assert len(elected) == 1
            await elected[0].kill()
            died_s = time.monotonic()
            others = [worker for worker in workers if worker is not elected[0]]
            while not (now := [worker for worker in others if await worker.is_elected()]):
                assert time.monotonic() - died_s < TAKE_OVER_S
                await asyncio.sleep(0.02)
            assert len(now) == 1
            assert sum([await worker.is_elected() for worker in others]) == 1

    async def test_one_that_ends_well_makes_way_too(self, path: Path) -> None:
        async with opened(path) as one:
            assert one.is_elected
            async with opened(path) as other:
                assert not other.is_elected
        async with opened(path) as again:
            assert again.is_elected

    async def test_they_find_each_other_where_paths_are_long(self, tmp_path: Path) -> None:
        """Longer than the address of a socket."""
        path = tmp_path / ("x" * 100) / ("y" * 100) / "events.sqlite"
        async with working(path, 2) as (one, other):
            one.do("append 1")
            assert await other.say("row") == ["1"]
            await other.kill()
            one.do("append 2")
            await one.say("row", 2)
            await until(lambda: len(os.listdir(path.with_suffix(".bells"))) == 1)

    async def test_they_look_each_second_where_nobody_can_ring(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bus_module, "POLL_S", 0.05)
        path.parent.mkdir()
        path.with_suffix(".bells").touch()  # where the directory of the sockets should be
        async with opened(path) as one, opened(path) as other:
            row = await other.newest()
            reading = asyncio.ensure_future(data_of(other, row, 1))
            one.append("a", "1")
            assert await reading == ["1"]
        assert "cannot wake each other" in caplog.text


class TestRows:
    """What is appended, and how it is read."""

    async def test_a_restart_keeps_rows_numbers_and_boot(self, path: Path) -> None:
        """What was appended last is written before the end."""
        async with opened(path) as before:
            before.append("a", "1")
            boot = before.boot
        async with opened(path) as bus:
            assert bus.boot == boot
            newest = await bus.newest()
            bus.append("a", "2")
            assert await data_of(bus, newest, 1) == ["2"]
            assert await data_of(bus, 0, 2) == ["1", "2"]

    @pytest.mark.parametrize("place", ["file", "memory"])
    async def test_any_thread_may_append(self, path: Path, place: str) -> None:
        async with opened(path if place == "file" else None) as bus:

            def append(name: str) -> None:
                for number in range(200):
                    bus.append("a", f"{name}{number}")

            threads = [threading.Thread(target=append, args=(name,)) for name in "xy"]
            for thread in threads:
                thread.start()
            found = await data_of(bus, 0, 400)
            for thread in threads:
                thread.join()
        for name in "xy":
            assert [row for row in found if row.startswith(name)] == [f"{name}{number}" for number in range(200)]

    async def test_who_reads_from_memory_and_who_reads_from_the_log_get_the_same(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recent_module, "KEPT", 8)
        async with opened(path) as bus:
            with bus.subscribe():
                for number in range(100):
                    bus.append("ab"[number % 2], str(number))
                rows: list[Row] = []
                while len(rows) < 100:
                    rows = list(await bus.after(0, ("a", "b"), MANY))
                    await asyncio.sleep(0)
                for start in range(100):
                    row = rows[start].id
                    assert await bus.after(row, ("a", "b"), MANY) == rows[start + 1 :]
                    assert (
                        await bus.after(row, ("b",), 3)
                        == [found for found in rows[start + 1 :] if found.topic == "b"][:3]
                    )
                    assert await bus.after(row, ("c",), MANY) == []

    async def test_a_subscriber_is_woken_for_its_topics_alone(self, path: Path) -> None:
        async with opened(path) as bus:
            with bus.subscribe("a") as a, bus.subscribe("b") as b, bus.subscribe() as both:
                for subscription in (a, b, both):
                    await subscription.changed()  # reading has begun
                bus.append("b", "1")
                async with asyncio.timeout(PATIENCE_S):
                    await b.changed()
                    await both.changed()
                assert not a.has_changed

    async def test_a_thousand_subscribers_cost_one_query(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with opened(path) as bus, AsyncExitStack() as stack:
            row = await bus.newest()
            subscriptions = [stack.enter_context(bus.subscribe("a")) for _ in range(1000)]
            for subscription in subscriptions:
                await subscription.changed()
            queries: list[str] = []
            monkeypatch.setattr(EventLog, "after", lambda *_: queries.append("after"))
            bus.append("a", "1")
            async with asyncio.timeout(PATIENCE_S):
                for subscription in subscriptions:
                    await subscription.changed()
                    assert [found.data for found in await bus.after(row, ("a",), MANY)] == ["1"]
            assert not queries

    async def test_what_is_forgotten_is_told(self, path: Path) -> None:
        async with opened(path, max_rows=100) as bus:
            bus.append("a", "0")
            await data_of(bus, 0, 1)
            away = await bus.newest()
            for number in range(1, 1000):
                bus.append("a", str(number))
                if not number % 100:
                    await asyncio.sleep(0)
            while (await bus.last("a", 1))[0].data != "999":
                pass
            with pytest.raises(RowsForgotten) as forgotten:
                await bus.after(away, ("a",), MANY)
            kept = await data_of(bus, forgotten.value.row, 100)
            assert kept[0] == str(1000 - len(await bus.last("a", MANY)))

    async def test_rows_that_are_forgotten_before_they_are_read_are_not_passed_over(self) -> None:
        """A worker whose disk is slow meets a gap; whoever stands before it is sent to the log, which tells."""
        recent = Recent(10)
        recent.extend(News([Row(20, "a", "")], {"a": 15}))
        assert recent.after(10, ("a",), MANY) is None
        assert recent.after(15, ("a",), MANY) == [Row(20, "a", "")]
        assert recent.after(10, ("b",), MANY) == []

    async def test_appending_costs_microseconds(self, path: Path) -> None:
        """The best of some runs, far below what a disk takes."""
        async with opened(path) as bus:
            passed_s = []
            for _ in range(5):
                began_s = time.perf_counter()
                for _ in range(1000):
                    bus.append("a", "x")
                passed_s.append((time.perf_counter() - began_s) / 1000)
                await asyncio.sleep(0.05)
        assert min(passed_s) < 20e-6

    async def test_nothing_is_left_behind(self, path: Path) -> None:
        async with opened(path):
            pass
        tasks, before = asyncio.all_tasks(), len(os.listdir("/dev/fd"))
        for _ in range(3):
            async with opened(path) as bus:
                bus.append("a", "1")
                await data_of(bus, 0, 1)
            assert not bus._subscriptions
            assert bus._recent is None  # nothing is read for nobody
        assert asyncio.all_tasks() == tasks
        assert len(os.listdir("/dev/fd")) == before
        bus.append("a", "after the end")  # is dropped in silence
        threading.Thread(target=bus.append, args=("a", "after the end")).start()


class TestFailures:
    """Nobody who appends learns of them."""

    async def test_without_a_place_it_is_in_memory_and_says_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        async with opened(tmp_path / "file" / "events.sqlite") as bus:
            bus.append("a", "1")
            assert await data_of(bus, 0, 1) == ["1"]
            assert bus.is_elected
            bus.broadcast(b"nobody is there")
        assert "cannot be kept in" in caplog.text
        assert "in memory only" in caplog.text

    async def test_rows_wait_for_a_log_that_fails_for_a_while(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bus_module, "RETRY_S", 0.01)
        async with opened(path) as bus:
            bus._log._writer._connection.execute("PRAGMA busy_timeout = 1")  # type: ignore[union-attr]
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                bus.append("a", "1")
                bus.append("a", "2")
                await until(lambda: "fails" in caplog.text)
                bus.append("a", "3")
                other.execute("ROLLBACK")
            assert await data_of(bus, 0, 3) == ["1", "2", "3"]
        assert caplog.text.count("fails") == 1
        assert "works again" in caplog.text
        assert "dropped" not in caplog.text

    async def test_a_row_that_cannot_be_written_holds_up_no_other(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(path) as bus:
            bus.append("a", "\udcff")
            await until(lambda: "were lost" in caplog.text)
            bus.append("a", "1")
            assert await data_of(bus, 0, 1) == ["1"]

    async def test_what_is_too_much_is_dropped_and_counted(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("fileserve.web.workers.outbox.ROWS", 10)
        async with opened(path) as bus:
            for number in range(20):
                bus.append("a", str(number))
            assert await data_of(bus, 0, 10) == [str(number) for number in range(10)]
        assert "10 rows of the log of events were too many" in caplog.text

    @pytest.mark.parametrize("harm", [b"damaged" * 1000, None], ids=["corrupt", "deleted"])
    async def test_a_log_that_is_lost_is_begun_anew_with_another_boot(self, path: Path, harm: bytes | None) -> None:
        async with opened(path) as before:
            before.append("a", "lost")
            await data_of(before, 0, 1)
            boot = before.boot
        path.write_bytes(harm) if harm else path.unlink()
        async with opened(path) as bus:
            assert bus.boot != boot
            bus.append("a", "1")
            assert await data_of(bus, 0, 1) == ["1"]

    async def test_a_log_that_is_deleted_meanwhile_is_begun_anew(self, path: Path) -> None:
        """By all who use it; what a subscriber stood at is before all that is new."""
        async with opened(path) as one, opened(path) as other:
            one.append("a", "lost")
            await data_of(other, 0, 1)
            row, boot = await other.newest(), one.boot
            path.unlink()
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink()
            reading = asyncio.ensure_future(data_of(other, row, 2))
            one.append("a", "1")
            await data_of(one, row, 1)
            other.append("a", "2")
            assert await reading == ["1", "2"]
            assert one.boot == other.boot != boot

    async def test_workers_whose_files_are_all_deleted_find_each_other_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who writes at once, who only listens at its next look; and one of them is elected again."""
        monkeypatch.setattr(bus_module, "LOOK_S", 0.05)
        heard: list[bytes] = []
        async with opened(path) as one, opened(path) as other:
            one.append("a", "lost")
            await data_of(other, 0, 1)
            row = await other.newest()
            other.listen(heard.append)
            reading = asyncio.ensure_future(data_of(other, row, 1))
            shutil.rmtree(path.parent)
            one.append("a", "1")
            assert await reading == ["1"]
            await until(lambda: len(list(path.parent.glob("*.bells/*"))) == 2)
            async with opened(path) as third:
                assert [bus.is_elected for bus in (one, other, third)].count(True) == 1
                one.append("a", "2")
                assert await data_of(third, row, 2) == await data_of(other, row, 2) == ["1", "2"]
                one.broadcast(b"again")
                await until(lambda: heard == [b"again"])

    async def test_a_worker_that_cannot_meet_the_others_anew_tries_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bus_module, "LOOK_S", 0.05)
        async with opened(path) as bus:
            shutil.rmtree(path.parent)
            path.parent.symlink_to(path.parent.with_name("nowhere"))
            await until(lambda: "cannot find each other again" in caplog.text)
            path.parent.unlink()
            await until(lambda: len(list(path.parent.glob("*.bells/*"))) == 1)
            assert bus.is_elected
            async with opened(path) as other:
                assert not other.is_elected

    async def test_a_worker_that_is_never_idle_looks_after_the_others_too(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bus_module, "LOOK_S", 0.05)
        async with opened(path) as bus:
            shutil.rmtree(path.with_suffix(".bells"))

            def is_hung() -> bool:
                bus.append("a", "always something")
                return path.with_suffix(".bells").exists()

            await until(is_hung)

    async def test_what_the_bus_does_in_threads_is_known_as_such(self, path: Path) -> None:
        """So that what is logged there is not put on the bus: a log that fails at each row would go on for ever."""
        async with opened(path) as bus:
            bus.append("a", "1")
            await data_of(bus, 0, 1)
            told: list[bool] = []

            def look(row: Row) -> bool:
                told.append(is_at_work())
                return True

            await bus.last("a", 1, look)
        assert told == [True]
        assert not is_at_work()


class TestDoorbell:
    """Datagrams between workers."""

    @pytest.fixture
    def bells(self, tmp_path: Path) -> Path:
        return tmp_path / "bells"

    async def test_a_flood_is_lost_and_stops_nobody(self, bells: Path) -> None:
        """What a worker that does not listen has no room for; and it is woken when it listens again."""
        rung: list[int] = []
        heard: list[bytes] = []
        one = Doorbell(bells, lambda: None, heard.append)
        other = Doorbell(bells, lambda: rung.append(1), heard.append)
        try:
            for _ in range(5000):
                one.send(b"flood")
            one.ring()
            one.send(b"x" * (1 << 22))  # no datagram is so long
            await until(lambda: bool(rung))
        finally:
            one.close()
            other.close()
        assert set(heard) == {b"flood"}

    async def test_a_long_message_arrives_whole(self, bells: Path) -> None:
        heard: list[bytes] = []
        one = Doorbell(bells, lambda: None, heard.append)
        other = Doorbell(bells, lambda: None, heard.append)
        one.send(b"x" * 100_000)
        await until(lambda: bool(heard))
        one.close()
        other.close()
        assert heard == [b"x" * 100_000]

    @pytest.mark.parametrize("length", [1, 200], ids=["short_path", "long_path"])
    async def test_two_threads_that_send_at_once_each_reach_all(self, tmp_path: Path, length: int) -> None:
        """The bus rings in a disk thread, while the loop's thread broadcasts."""
        bells = tmp_path / ("x" * length) / "bells"
        bell = Doorbell(bells, lambda: None, lambda message: None)
        others = {f"other{number}" for number in range(100)}
        for name in others:
            (bells / name).touch()  # nobody: what counts is who is sent to
        reached = list[set[str]]()

        def send() -> None:
            for _ in range(300):
                mine[threading.get_ident()] = set()
                bell.send(b"")
                reached.append(mine[threading.get_ident()])

        mine = dict[int, set[str]]()
        bell._send_to = lambda name, message: mine[threading.get_ident()].add(name)  # type: ignore[method-assign]
        thread = threading.Thread(target=send)
        thread.start()
        send()
        thread.join()
        bell.close()
        assert [names for names in reached if names != others] == []

    async def test_who_sends_where_all_was_deleted_reaches_nobody(self, bells: Path) -> None:
        bell = Doorbell(bells, lambda: None, lambda message: None)
        shutil.rmtree(bells)
        bell.send(b"hello")
        bell.close()

    @pytest.mark.parametrize("name", ["file", "file/beneath"])
    async def test_a_place_that_is_none_is_an_error_and_leaves_no_descriptor(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(OSError, match="file"):
            Doorbell(tmp_path / name, lambda: None, lambda message: None)
        assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    "told", [None, "", "1", "-1", "{boot}", "{boot}-", "{boot}--1", "{boot}-1 ", "{boot}-1\n", "{boot}-٣", "0{boot}-1"]
)
async def test_an_id_is_read_as_it_is_written_and_nothing_else(told: str | None) -> None:
    async with opened(None) as bus:
        assert bus.row_of(bus.id_of(12)) == 12
        assert bus.row_of(told and told.format(boot=bus.boot)) is None


def test_sockets_are_where_the_tests_think(tmp_path: Path) -> None:
    """A datagram to a socket that nobody holds any more is refused: that is how the dead are known."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, pytest.raises(ConnectionRefusedError):
        sender.sendto(b"", path)
