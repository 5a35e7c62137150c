import asyncio
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fileserve import disk

CONTENT = bytes(range(256)) * 64  # 16 KiB

needs_probe = pytest.mark.skipif(not disk.CAN_PROBE, reason="reads that never wait are Linux's")


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(disk, "_pool", pool)
        yield


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, len(CONTENT), 0)
    if disk.CAN_PROBE and not disk.is_resident(fd, 0):
        pytest.skip("this file system does not answer probes")
    yield fd
    os.close(fd)


async def test_a_call_runs_in_a_thread_of_the_pool_and_returns_its_result() -> None:
    assert (await disk.run(lambda: threading.current_thread().name)).startswith("disk")
    assert await disk.run(divmod, 7, 2) == (3, 1)


async def test_a_call_raises_what_it_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await disk.run(divmod, 7, 0, discard=lambda result: None)


async def test_a_submitted_call_gives_a_future_without_a_loop() -> None:
    assert disk.submit(divmod, 7, 2).result() == (3, 1)


async def test_there_is_room_for_eight_calls_at_once() -> None:
    barrier = threading.Barrier(8)
    await asyncio.gather(*(disk.run(barrier.wait, 10) for _ in range(8)))


async def test_who_reads_does_not_wait_behind_what_changes_files() -> None:
    may_end = threading.Event()
    changing = [disk.submit_change(may_end.wait, 10) for _ in range(8)]
    assert await disk.run(threading.get_ident) != threading.get_ident()
    assert not any(future.done() for future in changing)
    may_end.set()
    assert await disk.run_change(threading.get_ident) != threading.get_ident()
    assert all(future.result(10) for future in changing)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
async def test_what_changes_files_gives_way_to_who_reads() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert await disk.run(priority) == priority()
    assert await disk.run_change(priority) == min(19, priority() + 10)


@pytest.mark.usefixtures("one_thread")
async def test_a_call_that_has_not_begun_is_dropped_when_its_caller_leaves() -> None:
    gate = threading.Event()
    calls: list[object] = []
    running = asyncio.create_task(disk.run(gate.wait))
    waiting = asyncio.create_task(disk.run(calls.append, "ran", discard=calls.append))
    await asyncio.sleep(0)  # both are submitted now
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    await running
    await disk.run(int)  # behind it in the queue
    assert calls == []


@pytest.mark.usefixtures("one_thread")
async def test_a_call_that_runs_ends_without_its_caller_and_its_result_is_discarded() -> None:
    begun, gate = threading.Event(), threading.Event()
    discarded: list[str] = []

    def open_slowly() -> str:
        begun.set()
        gate.wait()
        return "descriptor"

    asking = asyncio.create_task(disk.run(open_slowly, discard=discarded.append))
    await asyncio.to_thread(begun.wait)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert discarded == []
    gate.set()
    await disk.run(int)
    assert discarded == ["descriptor"]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("turns", [pytest.param(0, id="not_yet_told"), pytest.param(1, id="told_and_not_resumed")])
async def test_a_result_that_comes_together_with_the_cancellation_is_discarded_too(turns: int) -> None:
    discarded: list[str] = []
    asking = asyncio.create_task(disk.run(lambda: "descriptor", discard=discarded.append))
    await asyncio.sleep(0)
    disk.submit(int).result()  # the loop stands still until the pool's one thread is done with both
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert discarded == ["descriptor"]


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    """The threads of the parent's pool do not exist in the child: a call given to them would wait for ever."""
    script = """
import asyncio, os
from fileserve import disk
asyncio.run(disk.run(int))
child = os.fork()
if child == 0:
    assert asyncio.run(disk.run(divmod, 7, 2)) == (3, 1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert asyncio.run(disk.run(divmod, 7, 2)) == (3, 1)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@needs_probe
@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        pytest.param(0, len(CONTENT), CONTENT, id="all"),
        pytest.param(5, 100, CONTENT[5:105], id="within"),
        pytest.param(0, 0, b"", id="nothing"),
        pytest.param(0, 1, CONTENT[:1], id="one_byte"),
        pytest.param(len(CONTENT) - 10, 100, CONTENT[-10:], id="over_the_end"),
        pytest.param(len(CONTENT), 1, b"", id="at_the_end"),
        pytest.param(10**12, 1, b"", id="behind_the_end"),
    ],
)
def test_resident_bytes_are_returned_up_to_the_end_of_the_file(
    fd: int, offset: int, count: int, expected: bytes
) -> None:
    taken = disk.read_resident(fd, offset, count)
    assert type(taken) is bytes
    assert taken == expected


@needs_probe
def test_each_read_has_a_buffer_of_its_own(fd: int) -> None:
    first, second = disk.read_resident(fd, 0, 100), disk.read_resident(fd, 100, 100)
    assert (first, second) == (CONTENT[:100], CONTENT[100:200])


@needs_probe
def test_every_byte_up_to_the_end_and_beyond_is_resident(fd: int) -> None:
    assert disk.is_resident(fd, 0)
    assert disk.is_resident(fd, len(CONTENT) - 1)
    assert disk.is_resident(fd, len(CONTENT))


@needs_probe
@pytest.mark.parametrize(
    "cached",
    [pytest.param(0, id="nothing_cached"), pytest.param(4096, id="first_page_cached")],
)
def test_bytes_that_are_not_all_in_memory_are_left_to_a_thread(
    fd: int, monkeypatch: pytest.MonkeyPatch, cached: int
) -> None:
    """The page cache cannot be made to forget on request everywhere, so the kernel's answer is played."""
    preadv = os.preadv

    def preadv_of_cached(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT  # a read that waits would have them all
        if offset >= cached:
            raise BlockingIOError
        return preadv(fd, [memoryview(buffers[0])[: cached - offset]], offset, flags)

    monkeypatch.setattr(os, "preadv", preadv_of_cached)
    assert disk.read_resident(fd, 0, len(CONTENT)) is None
    assert not disk.is_resident(fd, cached)


@needs_probe
def test_a_file_that_grows_in_between_is_left_to_a_thread(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short read, and then there is more at that place: the bytes in between were never seen."""
    answers, flags = iter([100, 1]), []

    def preadv(fd: int, buffers: list[memoryview], offset: int, flag: int) -> int:
        flags.append(flag)
        return next(answers)

    monkeypatch.setattr(os, "preadv", preadv)
    assert disk.read_resident(fd, 0, 200) is None
    assert flags == [os.RWF_NOWAIT] * 2  # neither look waits


@needs_probe
def test_bytes_dropped_from_the_page_cache_are_not_waited_for(fd: int) -> None:
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    taken = disk.read_resident(fd, 0, len(CONTENT))
    assert taken is None or taken == CONTENT  # a file system in memory forgets nothing


def fail_with(number: int) -> Callable[..., int]:
    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@needs_probe
@pytest.mark.parametrize(
    ("call", "number", "expected"),
    [
        pytest.param("preadv", errno.EAGAIN, True, id="not_resident_is_an_answer"),
        pytest.param("preadv", errno.EOPNOTSUPP, True, id="another_file_system_may_answer"),
        pytest.param("preadv", errno.ENOSYS, False, id="old_kernel"),
        pytest.param("preadv", errno.EPERM, False, id="sandbox"),
        pytest.param("memfd_create", errno.ENOSYS, False, id="no_memory_files"),
    ],
)
def test_probing_is_settled_by_one_try(monkeypatch: pytest.MonkeyPatch, call: str, number: int, expected: bool) -> None:
    monkeypatch.setattr(os, call, fail_with(number))
    assert disk._probe_kernel() is expected


def test_probing_is_not_tried_where_it_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    assert not disk._probe_kernel()


def test_without_probes_nothing_is_resident(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "CAN_PROBE", False)
    assert disk.read_resident(fd, 0, 1) is None
    assert not disk.is_resident(fd, 0)


@needs_probe
def test_a_descriptor_that_cannot_be_read_is_left_to_a_thread(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "write-only", os.O_CREAT | os.O_WRONLY)
    assert disk.read_resident(fd, 0, 1) is None
    assert not disk.is_resident(fd, 0)
    os.close(fd)
