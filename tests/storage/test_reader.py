import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserve import disk
from fileserve.storage.errors import ContentChanged, IsDirectory, NotFound, NotRegular, Unreadable
from fileserve.storage.reader import FileRegion, OpenFile

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("residency")


@pytest.fixture(params=["page_cache", "thread"])
def residency(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read what is in the page cache at once, or (nothing ever is) all in a thread."""
    if request.param == "thread":
        monkeypatch.setattr(disk, "read_resident", lambda fd, offset, count: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[OpenFile]:
    opened = open_file(path)
    yield opened
    opened.close()


def open_file(path: Path) -> OpenFile:
    return OpenFile(os.open(path, os.O_RDONLY))


async def collect(chunks: AsyncIterator[bytes]) -> list[bytes]:
    return [chunk async for chunk in chunks]


def test_the_status_is_that_of_the_descriptor(opened: OpenFile, path: Path) -> None:
    seen = path.stat()
    path.rename(path.with_name("moved"))
    path.write_bytes(b"another")
    status = opened.status
    assert (status.size, status.mtime_ns, status.ctime_ns, status.inode) == (
        len(CONTENT),
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        seen.st_ino,
    )
    assert stat.S_ISREG(status.mode)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(os.mkdir, IsDirectory, id="directory"),
        pytest.param(os.mkfifo, NotRegular, id="fifo"),
    ],
)
def test_only_a_regular_file_is_taken_over_and_any_other_is_closed(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception]
) -> None:
    make(tmp_path / "odd")
    with pytest.raises(error):
        OpenFile(os.open(tmp_path / "odd", os.O_RDONLY | os.O_NONBLOCK))


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        pytest.param(0, 10_240, CONTENT, id="all"),
        pytest.param(0, 0, b"", id="nothing"),
        pytest.param(100, 7, CONTENT[100:107], id="within"),
        pytest.param(10_230, 100, CONTENT[10_230:], id="over_the_end"),
        pytest.param(10_240, 1, b"", id="at_the_end"),
        pytest.param(99_999, 1, b"", id="behind_the_end"),
    ],
)
async def test_a_read_returns_what_is_asked_for_or_what_there_is(
    opened: OpenFile, offset: int, count: int, expected: bytes
) -> None:
    assert await opened.read(offset, count) == expected


async def test_short_reads_are_continued(opened: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread
    monkeypatch.setattr(disk, "read_resident", lambda fd, offset, count: None)
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: pread(fd, min(count, 999), offset))
    assert await opened.read(5, 5000) == CONTENT[5:5005]
    assert await opened.read(10_000, 5000) == CONTENT[10_000:]


async def test_a_failing_device_is_unreadable(tmp_path: Path) -> None:
    """The memory of a process is a file whose first page cannot be read: EIO."""
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("there is no /proc/self/mem")
    opened = open_file(Path("/proc/self/mem"))
    with pytest.raises(Unreadable):
        await opened.read(0, 1)
    opened.close()


@pytest.mark.parametrize(
    ("offset", "count", "chunk_size", "sizes"),
    [
        pytest.param(0, 10_240, 4096, [4096, 4096, 2048], id="a_shorter_last_chunk"),
        pytest.param(0, 8192, 4096, [4096, 4096], id="whole_chunks"),
        pytest.param(1, 5, 4096, [5], id="less_than_a_chunk"),
        pytest.param(10_239, 1, 1, [1], id="last_byte"),
        pytest.param(10_240, 0, 4096, [], id="nothing"),
    ],
)
async def test_chunks_are_of_one_size_and_end_at_the_count(
    opened: OpenFile, offset: int, count: int, chunk_size: int, sizes: list[int]
) -> None:
    chunks = await collect(opened.chunks(offset, count, chunk_size))
    assert [len(chunk) for chunk in chunks] == sizes
    assert b"".join(chunks) == CONTENT[offset : offset + count]


@given(st.integers(0, 10_240), st.integers(0, 10_240), st.integers(1, 3000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
async def test_chunks_join_to_the_slice(opened: OpenFile, start: int, stop: int, chunk_size: int) -> None:
    count = max(0, stop - start)
    assert b"".join(await collect(opened.chunks(start, count, chunk_size))) == CONTENT[start : start + count]


async def test_a_file_that_grows_is_read_no_further_than_asked(opened: OpenFile, path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")
    assert b"".join(await collect(opened.chunks(0, opened.status.size, 4096))) == CONTENT
    opened.check_unchanged()


async def test_a_file_that_shrinks_ends_in_content_changed(opened: OpenFile, path: Path) -> None:
    chunks = opened.chunks(0, opened.status.size, 4096)
    assert await anext(chunks) == CONTENT[:4096]
    os.truncate(path, 5000)
    with pytest.raises(ContentChanged):
        await anext(chunks)


async def test_the_loop_turns_at_least_once_each_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(8 * MIB))
    opened = open_file(path)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    async for _chunk in opened.chunks(0, 8 * MIB, 256 * 1024):
        pass
    counting.cancel()
    opened.close()
    assert turns >= 7


def unchanged(_path: Path) -> None:
    pass


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 100)


def rewrite(path: Path) -> None:
    path.write_bytes(bytes(len(CONTENT)))
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"new")
    path.with_name("new").rename(path)


def add_name(path: Path) -> None:
    os.link(path, path.with_name("second"))


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(unchanged, False, id="nothing"),
        pytest.param(grow, False, id="grown"),
        pytest.param(replace, False, id="replaced_by_name"),
        pytest.param(os.unlink, False, id="unlinked"),
        pytest.param(add_name, False, id="second_name"),
        pytest.param(shrink, True, id="shrunk"),
        pytest.param(rewrite, True, id="same_size_other_mtime"),
    ],
)
def test_a_change_that_may_touch_the_announced_bytes_is_noticed(
    opened: OpenFile, path: Path, change: Callable[[Path], None], changed: bool
) -> None:
    change(path)
    if changed:
        with pytest.raises(ContentChanged):
            opened.check_unchanged()
    else:
        opened.check_unchanged()


def test_a_file_lost_by_its_network_file_system_is_not_found(opened: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def fstat(_fd: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(NotFound):
        opened.check_unchanged()
    monkeypatch.undo()


async def test_the_content_of_a_file_is_one_region(opened: OpenFile) -> None:
    assert [region async for region in opened.regions(3, 10)] == [FileRegion(opened, 3, 7)]
    assert [region async for region in opened.regions(3, 3)] == []


async def test_a_closed_file_reads_nothing(opened: OpenFile) -> None:
    opened.close()
    opened.close()
    for use in (opened.read(0, 1), anext(opened.chunks(0, 1, 1)), anext(opened.regions(0, 1))):
        with pytest.raises(ValueError, match="closed"):
            await use
