"""Digests known, found and computed: right ones, once, within limits, and never of a file that changed."""

import asyncio
import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from fileserve.storage import background
from fileserve.storage import checksums as checksums_module
from fileserve.storage.checksums import Checksums
from fileserve.storage.computation import Computation, Result
from fileserve.storage.errors import Busy, ContentChanged, Unreadable
from fileserve.storage.hashing import Pass, Work, piece_length
from fileserve.storage.index import Digests, Index, Pieces
from fileserve.storage.known import UNKNOWN, Known
from fileserve.storage.reader import OpenFile
from tests.storage.conftest import no_descriptors_left

MIB = 1 << 20
CONTENT = b"what the file holds" * 200_000  # more than three buffers
DIGESTS = Digests(hashlib.sha256(CONTENT).digest(), zlib.crc32(CONTENT))

Open = Callable[[bytes], OpenFile]


class Gate:
    """Holds every computation at a read, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Semaphore(0)
        self.open = threading.Event()
        self.priorities: list[int] = []
        self.reads = 0
        preadv = os.preadv

        def held(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
            if threading.current_thread().name == "digest":
                self.reads += 1
                self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
                self.reached.release()
                self.open.wait()
            return preadv(fd, buffers, offset, flags)

        monkeypatch.setattr(os, "preadv", held)

    async def wait(self, computations: int = 1) -> None:
        """Wait until so many reads are held."""
        for _ in range(computations):
            await asyncio.to_thread(self.reached.acquire)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index(None, max_rows=1000)
    yield index
    index.close()


@pytest.fixture
async def checksums(index: Index) -> AsyncIterator[Checksums]:
    checksums = Checksums(index, at_once=2, at_once_per_client=1, settled_ms=0)
    yield checksums
    await checksums.close()


@pytest.fixture
def open_file(tmp_path: Path) -> Iterator[Open]:
    """Open a new file of this content; all are closed at the end."""
    opened: list[OpenFile] = []

    def open_one(content: bytes) -> OpenFile:
        path = tmp_path / f"file-{len(opened)}"
        path.write_bytes(content)
        opened.append(OpenFile(os.open(path, os.O_RDONLY)))
        return opened[-1]

    yield open_one
    for file in opened:
        file.close()


@pytest.fixture
def opened(open_file: Open) -> OpenFile:
    return open_file(CONTENT)


def path_of(opened: OpenFile) -> Path:
    return Path(os.readlink(f"/dev/fd/{opened.fd}"))


SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 5]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most", [MIB + 1, 70_001], ids=["whole_reads", "short_reads"])
def test_a_pass_computes_what_the_library_does(
    open_file: Open, size: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:most]], offset))
    content = (b"0123456789" * (size // 10 + 1))[:size]
    digests, pieces = Pass(open_file(content), Work(sha512=True, pieces=True)).run()
    assert digests == Digests(hashlib.sha256(content).digest(), zlib.crc32(content), hashlib.sha512(content).digest())
    expected = (hashlib.sha256(content[start : start + MIB]).digest() for start in range(0, size, MIB))
    assert pieces == Pieces(MIB, tuple(expected))


def test_pieces_longer_than_a_buffer_are_whole(open_file: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fileserve.storage.hashing.piece_length", lambda size: 2 * MIB)
    _, pieces = Pass(open_file(CONTENT), Work(pieces=True)).run()
    starts = range(0, len(CONTENT), 2 * MIB)
    assert pieces == Pieces(2 * MIB, tuple(hashlib.sha256(CONTENT[at : at + 2 * MIB]).digest() for at in starts))


@pytest.mark.parametrize(
    ("size", "length"),
    [
        pytest.param(0, MIB, id="empty"),
        pytest.param(4096 * MIB, MIB, id="4_gib_are_4096_pieces"),
        pytest.param(4096 * MIB + 1, 2 * MIB, id="a_byte_more_doubles_the_length"),
        pytest.param(50_000_000_000, 16 * MIB, id="50_gb"),
    ],
)
def test_pieces_are_few(size: int, length: int) -> None:
    assert piece_length(size) == length


async def test_what_was_computed_is_known_and_found(checksums: Checksums, index: Index, opened: OpenFile) -> None:
    assert checksums.known(opened.status) is UNKNOWN
    assert await checksums.find(opened.status) is None
    assert checksums.known(opened.status) is None
    async with checksums.watch(opened, "client") as computation:
        assert await computation.result() == DIGESTS
        assert computation.hashed == computation.size == len(CONTENT)
    assert checksums.known(opened.status) == DIGESTS
    assert checksums.known_crc32(opened.status) == DIGESTS.crc32
    assert index.find(opened.status) == DIGESTS


async def test_what_another_process_computed_is_found(checksums: Checksums, index: Index, opened: OpenFile) -> None:
    index.store(opened.status, DIGESTS)
    assert checksums.known_crc32(opened.status) is None
    assert await checksums.find(opened.status) == DIGESTS
    assert checksums.known_crc32(opened.status) == DIGESTS.crc32


async def test_a_file_that_changed_lately_is_hashed_and_not_kept(index: Index, opened: OpenFile) -> None:
    """Its content could change once more within the grain of the clock, under the same times."""
    checksums = Checksums(index, at_once=1, at_once_per_client=1, settled_ms=3_600_000)
    async with checksums.watch(opened, None) as computation:
        assert await computation.result() == DIGESTS
    assert checksums.known(opened.status) is UNKNOWN
    assert await checksums.find(opened.status) is None
    await checksums.close()


@pytest.mark.parametrize(("grain_ms", "is_kept"), [(20, True), (3_600_000, False)])
async def test_a_file_whose_clock_is_ahead_of_ours_is_hashed_after_its_grain_and_kept(
    index: Index, opened: OpenFile, gate: Gate, monkeypatch: pytest.MonkeyPatch, grain_ms: int, is_kept: bool
) -> None:
    """Our clock would call it changed for as long as it is behind; but the other one goes on, too."""
    waits: list[tuple[float, int]] = []
    late = SimpleNamespace(
        time_ns=lambda: time.time_ns() - 3600 * 10**9, sleep=lambda wait_s: waits.append((wait_s, gate.reads))
    )
    monkeypatch.setattr(checksums_module, "time", late)
    gate.open.set()
    checksums = Checksums(index, at_once=1, at_once_per_client=1, settled_ms=grain_ms)
    async with checksums.watch(opened, None) as computation:
        assert await computation.result() == DIGESTS
    assert waits == ([(0.02, 0)] if is_kept else [])
    assert await checksums.find(opened.status) == (DIGESTS if is_kept else None)
    assert index.find(opened.status) == (DIGESTS if is_kept else None)
    await checksums.close()


async def test_two_watchers_share_one_pass(checksums: Checksums, opened: OpenFile, gate: Gate) -> None:
    async with checksums.watch(opened, "one") as one:
        await gate.wait()
        async with checksums.watch(opened, "other") as other:
            assert other is one
            assert other.hashed == 0
            gate.open.set()
            assert list(await asyncio.gather(one.result(), other.result())) == [DIGESTS, DIGESTS]
    assert gate.reads == 4


async def test_a_pass_without_sha512_does_not_serve_who_wants_it(
    checksums: Checksums, opened: OpenFile, gate: Gate
) -> None:
    async with checksums.watch(opened, "one"), checksums.watch(opened, "other", sha512=True) as other:
        gate.open.set()
        assert (await other.result()).sha512 == hashlib.sha512(CONTENT).digest()


async def test_a_pass_with_sha512_serves_who_does_not_want_it(
    checksums: Checksums, opened: OpenFile, gate: Gate
) -> None:
    async with checksums.watch(opened, "one", sha512=True) as one, checksums.watch(opened, "other") as other:
        assert other is one


async def test_the_last_to_leave_stops_the_pass(checksums: Checksums, opened: OpenFile, gate: Gate) -> None:
    async with checksums.watch(opened, "one") as computation:
        await gate.wait()
        async with checksums.watch(opened, "other"):
            pass
        assert not computation.reading.stopped
    gate.open.set()
    with pytest.raises(Busy, match="stopped"):
        await computation.done
    assert gate.reads == 1
    assert await checksums.find(opened.status) is None


async def test_who_comes_after_the_last_has_left_begins_anew(
    checksums: Checksums, opened: OpenFile, gate: Gate
) -> None:
    async with checksums.watch(opened, "one") as stopped:
        await gate.wait()
    async with checksums.watch(opened, "other") as computation:
        assert computation is not stopped
        gate.open.set()
        assert await computation.result() == DIGESTS


async def test_the_file_may_be_closed_meanwhile(checksums: Checksums, opened: OpenFile, gate: Gate) -> None:
    async with checksums.watch(opened, None) as computation:
        opened.close()
        gate.open.set()
        assert await computation.result() == DIGESTS


async def test_a_wait_that_times_out_may_be_repeated(checksums: Checksums, opened: OpenFile, gate: Gate) -> None:
    async with checksums.watch(opened, None) as computation:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(computation.result(), 0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(computation.result()), 0.001)
        gate.open.set()
        assert await computation.result() == DIGESTS


def rewrite(path: Path) -> None:
    path.write_bytes(bytes(len(CONTENT)))


def grow(path: Path) -> None:
    path.write_bytes(CONTENT + b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 10)


def rewrite_with_the_mtime_restored(path: Path) -> None:
    mtime_ns = path.stat().st_mtime_ns
    rewrite(path)
    os.utime(path, ns=(mtime_ns, mtime_ns))


CHANGES = [rewrite, grow, shrink, rewrite_with_the_mtime_restored]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changes_has_no_digest(
    checksums: Checksums, opened: OpenFile, gate: Gate, change: Callable[[Path], None]
) -> None:
    async with checksums.watch(opened, None) as computation:
        await gate.wait()
        await asyncio.to_thread(wait_for_the_clock, opened)
        change(path_of(opened))
        gate.open.set()
        with pytest.raises(ContentChanged):
            await computation.result()
    assert await checksums.find(opened.status) is None


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changed_since_it_was_opened_has_no_digest(
    checksums: Checksums, opened: OpenFile, change: Callable[[Path], None]
) -> None:
    wait_for_the_clock(opened)
    change(path_of(opened))
    async with checksums.watch(opened, None) as computation:
        with pytest.raises(ContentChanged):
            await computation.result()


def wait_for_the_clock(opened: OpenFile) -> None:
    """Return when a change would get another ctime: the file system's clock has a grain of some milliseconds."""
    beside = path_of(opened).with_name("clock")
    while True:
        beside.touch()
        if beside.stat().st_ctime_ns != opened.status.ctime_ns:
            return


async def test_a_device_that_fails_is_told(
    checksums: Checksums, opened: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.EIO, "the device is gone")

    monkeypatch.setattr(os, "preadv", fail)
    async with checksums.watch(opened, None) as computation:
        with pytest.raises(Unreadable):
            await computation.result()


async def test_limits_are_kept(checksums: Checksums, open_file: Open, gate: Gate) -> None:
    one, two, three = (open_file(content) for content in (b"1", b"2", b"3"))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(checksums.watch(one, "a"))
        with pytest.raises(Busy, match="this client"):
            await stack.enter_async_context(checksums.watch(two, "a"))
        await stack.enter_async_context(checksums.watch(two, None))
        with pytest.raises(Busy, match=r"too many digests are being computed$"):
            await stack.enter_async_context(checksums.watch(three, None))
        joined = await stack.enter_async_context(checksums.watch(one, "b"))
        gate.open.set()
        await joined.result()
        last = await stack.enter_async_context(checksums.watch(three, None))
        await last.result()


async def test_a_client_who_left_may_come_again(checksums: Checksums, open_file: Open) -> None:
    for number in range(5):
        async with checksums.watch(open_file(bytes([number])), "client") as computation:
            await computation.result()


async def test_without_descriptors_it_is_busy_and_nothing_is_counted(checksums: Checksums, opened: OpenFile) -> None:
    with no_descriptors_left():
        for _ in range(5):
            with pytest.raises(Busy, match="descriptors"):
                async with checksums.watch(opened, "client"):
                    pass
    assert await checksums.crc32(opened, "client") == DIGESTS.crc32


async def test_without_threads_it_is_busy_and_nothing_is_counted(
    checksums: Checksums, opened: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    await checksums.find(opened.status)  # the disk pool has its thread
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(5):
            with pytest.raises(Busy, match="thread"):
                async with checksums.watch(opened, "client"):
                    pass
    assert await checksums.crc32(opened, "client") == DIGESTS.crc32


async def test_a_crc_that_is_known_reads_nothing(
    checksums: Checksums, index: Index, opened: OpenFile, gate: Gate
) -> None:
    index.store(opened.status, DIGESTS)
    assert await checksums.crc32(opened, None) == DIGESTS.crc32
    assert gate.reads == 0


async def test_a_crc_waits_its_turn(checksums: Checksums, open_file: Open, gate: Gate) -> None:
    """It is asked for in the middle of a transfer, where there is no way left to say "later"."""
    contents = [bytes([number]) for number in range(10)]
    crcs = [asyncio.create_task(checksums.crc32(open_file(content), "client")) for content in contents]
    await gate.wait()
    gate.open.set()
    assert await asyncio.gather(*crcs) == [zlib.crc32(content) for content in contents]


async def test_a_crc_that_nobody_waits_for_is_stopped(checksums: Checksums, opened: OpenFile, gate: Gate) -> None:
    crc = asyncio.create_task(checksums.crc32(opened, "client"))
    await gate.wait()
    waiting = asyncio.create_task(checksums.crc32(opened, "client"))
    await asyncio.sleep(0)
    for task in (waiting, crc):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    gate.open.set()
    await checksums.close()
    assert gate.reads == 1


async def computed_in_background(checksums: Checksums) -> None:
    """Wait until nothing is computed any more."""
    while checksums._running:
        await asyncio.wait([computation.done for computation in checksums._running])
        await asyncio.sleep(0)


async def test_requests_are_computed_while_nobody_waits(checksums: Checksums, open_file: Open) -> None:
    files = [open_file(bytes([number])) for number in range(5)]
    for file in files:
        checksums.request(file, pieces=True)
    await computed_in_background(checksums)
    for number, file in enumerate(files):
        found = await checksums.find(file.status)
        assert found is not None
        assert found.crc32 == zlib.crc32(bytes([number]))
        assert await checksums.find_pieces(file.status) == Pieces(MIB, (found.sha256,))


async def test_a_request_made_twice_is_computed_once(checksums: Checksums, open_file: Open, gate: Gate) -> None:
    first, second = open_file(b"first"), open_file(b"second")
    for file in (first, second, first, second):
        checksums.request(file)
    gate.open.set()
    await computed_in_background(checksums)
    assert gate.reads == 2


async def test_a_request_for_what_is_being_computed_is_not_queued(index: Index, opened: OpenFile, gate: Gate) -> None:
    """Not even where the result cannot be kept, so that looking it up would not spare the second pass."""
    checksums = Checksums(index, at_once=1, at_once_per_client=1, settled_ms=3_600_000)
    checksums.request(opened)
    await gate.wait()
    checksums.request(opened)
    gate.open.set()
    await computed_in_background(checksums)
    assert gate.reads == 4
    await checksums.close()


async def test_a_request_for_what_is_indexed_reads_nothing(
    checksums: Checksums, index: Index, opened: OpenFile, gate: Gate
) -> None:
    index.store(opened.status, DIGESTS)
    checksums.request(opened)
    await computed_in_background(checksums)
    assert gate.reads == 0
    assert checksums.known(opened.status) == DIGESTS


@pytest.mark.parametrize("wanted", [{"sha512": True}, {"pieces": True}], ids=["sha512", "pieces"])
async def test_a_request_for_more_than_is_indexed_is_computed(
    checksums: Checksums, index: Index, opened: OpenFile, wanted: dict[str, bool]
) -> None:
    index.store(opened.status, DIGESTS)
    checksums.request(opened, **wanted)
    await computed_in_background(checksums)
    found = index.find(opened.status)
    assert found is not None
    assert (found.sha512 is not None, index.find_pieces(opened.status) is not None) == (
        "sha512" in wanted,
        "pieces" in wanted,
    )


async def test_the_queue_of_requests_is_bounded(
    checksums: Checksums, open_file: Open, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_QUEUED", 2)
    for content in (b"computed", b"queued", b"queued too"):
        checksums.request(open_file(content))
    with pytest.raises(Busy, match="wait"):
        checksums.request(open_file(b"one too many"))


async def test_a_watcher_who_leaves_does_not_stop_the_background(
    checksums: Checksums, opened: OpenFile, gate: Gate
) -> None:
    checksums.request(opened)
    await gate.wait()
    async with checksums.watch(opened, None):
        pass
    gate.open.set()
    await computed_in_background(checksums)
    assert await checksums.find(opened.status) == DIGESTS
    assert gate.reads == 4


async def test_the_background_keeps_alive_what_a_client_began(
    checksums: Checksums, opened: OpenFile, gate: Gate
) -> None:
    async with checksums.watch(opened, None):
        await gate.wait()
        checksums.request(opened)
    gate.open.set()
    await computed_in_background(checksums)
    assert await checksums.find(opened.status) == DIGESTS
    assert gate.reads == 4


async def test_the_background_takes_no_place_of_a_client(checksums: Checksums, open_file: Open, gate: Gate) -> None:
    checksums.request(open_file(b"background"))
    one, two = open_file(b"one"), open_file(b"two")
    async with checksums.watch(one, "a") as first, checksums.watch(two, "b") as second:
        gate.open.set()
        await asyncio.gather(first.result(), second.result())


async def test_a_request_that_fails_does_not_hold_up_the_next(
    checksums: Checksums, open_file: Open, gate: Gate
) -> None:
    changing, other = open_file(CONTENT), open_file(b"other")
    checksums.request(changing)
    checksums.request(other)
    await gate.wait()
    shrink(path_of(changing))
    gate.open.set()
    await computed_in_background(checksums)
    assert await checksums.find(changing.status) is None
    assert await checksums.find(other.status) is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
async def test_the_background_goes_after_all_others(checksums: Checksums, open_file: Open, gate: Gate) -> None:
    gate.open.set()
    async with checksums.watch(open_file(b"foreground"), None) as computation:
        await computation.result()
    checksums.request(open_file(b"background"))
    await computed_in_background(checksums)
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert gate.priorities == [usual, min(19, usual + 10)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_the_background_goes_after_all_others_of_a_server_that_is_nice_itself(open_file: Open) -> None:
    def note(reading: Pass) -> Result:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        reading.close()
        raise Unreadable

    async def compute() -> None:
        reading = Pass(open_file(CONTENT), Work())
        await asyncio.wait((Computation(reading, note, background=True).done,))

    def serve() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        asyncio.run(compute())

    priorities: list[int] = []
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
    server = threading.Thread(target=serve)
    server.start()
    server.join()
    assert priorities == [min(19, nice + 10)]


async def test_who_fills_without_a_rate_waits_for_none(checksums: Checksums, opened: OpenFile) -> None:
    slow = asyncio.ensure_future(checksums.fill(opened, rate=1))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await checksums.fill(opened)
        await slow


async def test_filling_keeps_to_its_rate_until_somebody_waits(checksums: Checksums, opened: OpenFile) -> None:
    """At a byte a second the first piece is the last for days; a client who joins takes the brake off."""
    filling = asyncio.ensure_future(checksums.fill(opened, rate=1))
    await asyncio.sleep(0)
    async with checksums.watch(opened, "client") as computation:
        assert (await computation.result()).sha256 == hashlib.sha256(CONTENT).digest()
    await filling


async def test_filling_that_is_cancelled_stops_at_once(checksums: Checksums, opened: OpenFile) -> None:
    filling = asyncio.ensure_future(checksums.fill(opened, rate=1))
    await asyncio.sleep(0)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    await checksums.close()
    assert await checksums.find(opened.status) is None


async def test_closing_stops_all_work(index: Index, open_file: Open, gate: Gate) -> None:
    checksums = Checksums(index, at_once=1, at_once_per_client=1, settled_ms=0)
    watched, queued, waiting_for = open_file(CONTENT), open_file(b"queued"), open_file(b"crc")
    checksums.request(open_file(CONTENT + b"background"))
    checksums.request(queued)
    async with checksums.watch(watched, "client") as computation:
        await gate.wait(2)
        crc = asyncio.create_task(checksums.crc32(waiting_for, "client"))
        waiting = asyncio.create_task(computation.result())
        await checksums.find(waiting_for.status)
        closing = asyncio.create_task(checksums.close())
        await asyncio.sleep(0)
        gate.open.set()
        await closing
        with pytest.raises(Busy, match="stopped"):
            await waiting
    with pytest.raises(Busy, match="shutting down"):
        await crc
    with pytest.raises(Busy, match="shutting down"):
        checksums.request(queued)
    assert gate.reads == 2


HANGS = """
import asyncio, os, sys, threading
from fileserve.storage.checksums import Checksums
from fileserve.storage.computation import Computation, Result
from fileserve.storage.index import Index
from fileserve.storage.reader import OpenFile
begun = threading.Event()
def never(*arguments):
    begun.set()
    threading.Event().wait()
async def main():
    checksums = Checksums(Index(None, max_rows=1), at_once=1, at_once_per_client=1, settled_ms=0)
    os.preadv = never
    async with checksums.watch(OpenFile(os.open(sys.argv[1], os.O_RDONLY)), None):
        await asyncio.to_thread(begun.wait)
asyncio.run(main())
"""


def test_the_exit_does_not_wait_for_a_disk_that_does_not_answer(opened: OpenFile) -> None:
    subprocess.run([sys.executable, "-c", HANGS, str(path_of(opened))], check=True, timeout=60)


def test_a_miss_is_remembered_for_some_seconds() -> None:
    now = 100.0
    known = Known(clock=lambda: now)
    known.remember((1, 1, 1, 1), None)
    now = 104.9
    assert known.find((1, 1, 1, 1)) is None
    now = 105.0
    assert known.find((1, 1, 1, 1)) is UNKNOWN


def test_files_asked_for_longest_ago_are_forgotten() -> None:
    known = Known(files=2)
    first, second, third = ((number, 0, 0, 0) for number in range(3))
    known.remember(first, DIGESTS)
    known.remember(second, DIGESTS)
    assert known.find(first) == DIGESTS
    known.remember(third, DIGESTS)
    assert [known.find(file) for file in (first, second, third)] == [DIGESTS, UNKNOWN, DIGESTS]


@pytest.mark.parametrize("less", [None, DIGESTS], ids=["absence", "digests_without_sha512"])
def test_less_does_not_replace_more(less: Digests | None) -> None:
    """A look into the index that began before a computation ended comes back after it."""
    more = Digests(DIGESTS.sha256, DIGESTS.crc32, bytes(64))
    known = Known()
    known.remember((1, 1, 1, 1), more)
    known.remember((1, 1, 1, 1), less)
    assert known.find((1, 1, 1, 1)) == more
