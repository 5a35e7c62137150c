"""A directory that another program has locked: whoever changes something in it waits, and holds up nobody else."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from typing import Any

import pytest

from fileserve import disk
from fileserve.storage.changes import patience
from fileserve.storage.changes.changes import Changes
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.writer import commit_all
from fileserve.storage.errors import Busy
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.storage.conftest import Served

THREADS = disk._CHANGING_THREADS


def take_any(current: OpenFile | None) -> None:
    """Judge that whatever has the name may be changed."""


@pytest.fixture
def locked(changing: Served) -> Iterator[int]:
    """The lock of ``directory``, which another program holds."""
    fd = os.open(changing.path / "directory", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield fd
    os.close(fd)


async def put(changes: Changes, name: Name) -> None:
    with await changes.stage(name, Need()) as staged:
        await staged.finish()
        await staged.commit(take_any)


async def post(changes: Changes, name: Name) -> None:
    with await changes.stage(name, Need()) as staged:
        await staged.finish()
        await commit_all([staged], take_any, None)


async def test_others_are_not_held_up(changing: Served, changing_root: Root, locked: int) -> None:
    """More of them wait than there are threads."""
    changes = Changes(changing_root)
    (changing.path / "directory" / "old").write_bytes(b"old")
    (changing.path / "directory" / "other").write_bytes(b"other")
    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(put(changes, (b"directory", b"%d" % n))) for n in range(2 * THREADS)
    ]
    waiting.append(asyncio.ensure_future(post(changes, (b"directory", b"form"))))
    waiting.append(asyncio.ensure_future(changes.delete((b"directory", b"old"), take_any)))
    waiting.append(asyncio.ensure_future(changes.move((b"directory", b"other"), (b"moved",), take_any, replace=False)))
    for number in range(3):
        await asyncio.wait_for(put(changes, (b"elsewhere-%d" % number,)), 10)
    assert not any(one.done() for one in waiting)
    fcntl.flock(locked, fcntl.LOCK_UN)
    await asyncio.gather(*waiting)
    left = set(os.listdir(changing.path / "directory"))
    assert {*map(str, range(2 * THREADS)), "form"} <= left
    assert left.isdisjoint({"old", "other"})


async def test_patience_has_an_end(changing_root: Root, locked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_PATIENCE_S", 0.2)
    with pytest.raises(Busy, match="locked by somebody else"):
        await put(Changes(changing_root), (b"directory", b"new"))


async def test_who_leaves_waits_no_longer(changing: Served, changing_root: Root, locked: int) -> None:
    waiting = asyncio.ensure_future(put(Changes(changing_root), (b"directory", b"new")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    fcntl.flock(locked, fcntl.LOCK_UN)
    assert not (changing.path / "directory" / "new").exists()
