"""Closing a file while a thread of the pool still reads from it."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fileserve import disk
from fileserve.storage.reader import OpenFile

CONTENT = b"what the file holds"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def opened(path: Path) -> Iterator[OpenFile]:
    opened = OpenFile(os.open(path, os.O_RDONLY))
    yield opened
    opened.close()


@contextmanager
def slow_pread(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Make a read begin, and stay in the system call until it may go on; with a pool of one thread."""
    begun, may_end = threading.Event(), threading.Event()
    pread = os.pread

    def slowly(fd: int, count: int, offset: int) -> bytes:
        begun.set()
        may_end.wait()
        return pread(fd, count, offset)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(disk, "_pool", pool)
        monkeypatch.setattr(disk, "read_resident", lambda fd, offset, count: None)
        monkeypatch.setattr(os, "pread", slowly)
        yield begun, may_end
        may_end.set()


async def test_a_descriptor_is_not_closed_under_a_thread_that_reads(
    opened: OpenFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number, given to the next file opened, would hand the thread another file's bytes."""
    other = path.with_name("other")
    other.write_bytes(b"another file's bytes")
    fd = opened.fd
    with slow_pread(monkeypatch) as (begun, may_end):
        reading = asyncio.create_task(opened.read(0, 100))
        await asyncio.to_thread(begun.wait)
        opened.close()
        next_fd = os.open(other, os.O_RDONLY)
        assert next_fd != fd
        may_end.set()
        assert await reading == CONTENT
    os.close(next_fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_a_reader_that_is_cancelled_leaves_the_closing_to_its_thread(
    opened: OpenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = opened.fd
    with slow_pread(monkeypatch) as (begun, may_end):
        reading = asyncio.create_task(opened.read(0, 100))
        await asyncio.to_thread(begun.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        opened.close()
        os.fstat(fd)
        may_end.set()
        await disk.run(int)  # the pool's one thread is done with the read
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_a_read_that_has_not_begun_does_not_delay_the_closing(
    opened: OpenFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = OpenFile(os.open(path, os.O_RDONLY))
    with slow_pread(monkeypatch) as (begun, may_end):
        first = asyncio.create_task(opened.read(0, 100))
        await asyncio.to_thread(begun.wait)
        second = asyncio.create_task(waiting.read(0, 100))
        await asyncio.sleep(0)  # it stands in the pool's queue now
        fd = waiting.fd
        waiting.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        may_end.set()
        await first
        with pytest.raises(ValueError, match="closed"):
            await second
