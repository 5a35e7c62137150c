"""The room that is kept free: looked at before an upload and behind what was reserved, and the more often the less."""

import itertools
import os
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from fileserve.storage.changes import room
from fileserve.storage.changes.changes import Changes
from fileserve.storage.changes.room import Need, Room
from fileserve.storage.errors import NoSpace
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from tests.pool import settle
from tests.storage.conftest import Served

MIB, GIB = 1 << 20, 1 << 30
NEW: Name = (b"new.bin",)


class Disk:
    """A disk with so much room, as ``available`` tells it; without room that can be reserved, where that is said."""

    def __init__(self, left: int, monkeypatch: pytest.MonkeyPatch, *, reserves: bool = True) -> None:
        self.left = left
        self.looks = self.given_back = 0
        self.reserved: dict[int, int] = {}
        self.reserving_s = 0.0
        monkeypatch.setattr(room, "give_back", self._give_back)
        monkeypatch.setattr(room, "available", self._available)
        monkeypatch.setattr(room, "reserve", self._reserve if reserves else lambda fd, length: False)

    def _available(self, fd: int) -> int:
        self.looks += 1
        return self.left

    def _reserve(self, fd: int, length: int) -> bool:
        self.left -= length
        time.sleep(self.reserving_s)
        self.reserved[fd] = length
        return bool(length)

    def _give_back(self, fd: int) -> None:
        self.given_back += 1
        self.left += self.reserved.pop(fd)


def grow(disk: Disk, rooms: list[Room], batch: int) -> None:
    """Let many files grow in turn until there is no room for one of them."""
    written = 0
    while True:
        written += batch
        for one in rooms:
            disk.left -= batch
            one.look(0, written)


@pytest.mark.parametrize("count", [1, 32, 128])
@pytest.mark.parametrize("length", [None, 3 * GIB], ids=["of_unknown_length", "where_nothing_can_be_reserved"])
def test_many_that_grow_at_once_leave_free_what_is_to_be_kept(
    count: int, length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, need = Disk(4 * GIB, monkeypatch, reserves=False), Need(length, keep_free=GIB)
    rooms = [Room(need) for _ in range(count)]
    for one in rooms:
        one.reserve(0)
    with pytest.raises(NoSpace):
        grow(disk, rooms, 256 * 1024)
    assert GIB - 2 * count * 256 * 1024 <= disk.left < GIB


def test_where_there_is_much_room_it_is_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, one = Disk(1000 * GIB, monkeypatch), Room(Need(keep_free=GIB))
    for written in range(0, GIB, 256 * 1024):
        one.look(0, written)
    assert disk.looks <= GIB // (64 * MIB) + 1


def test_what_is_reserved_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, one = Disk(4 * GIB, monkeypatch), Room(Need(GIB, keep_free=GIB))
    one.reserve(0)
    looks = disk.looks
    disk.left = 0  # others have filled the disk
    for written in range(0, GIB, MIB):
        one.look(0, written)
    assert disk.looks == looks


def test_of_two_that_looked_at_the_same_time_one_is_refused_behind_its_reservation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Disk(4 * GIB, monkeypatch)
    need = Need(2 * GIB, keep_free=GIB)
    for _ in range(2):
        room.check_space(0, need)
    Room(need).reserve(0)
    with pytest.raises(NoSpace):
        Room(need).reserve(1)


def test_of_several_at_once_in_one_process_all_that_fit_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, need = Disk(8 * GIB, monkeypatch), Need(2 * GIB, keep_free=GIB)
    disk.reserving_s = 0.01
    refused: list[int] = []

    def take(fd: int) -> None:
        try:
            Room(need).reserve(fd)
        except NoSpace:
            refused.append(fd)

    threads = [threading.Thread(target=take, args=(fd,)) for fd in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (len(refused), disk.left, disk.given_back) == (1, 2 * GIB, 0)


@pytest.mark.parametrize(("seen", "is_taken"), [([4, 0, 4, 2], True), ([4, 0, 4, 0, 4, 2], True), ([4, 0, 2], False)])
def test_where_two_processes_have_reserved_the_same_room_one_of_them_gets_it(
    seen: list[int], is_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are what is seen before and behind each reservation, of GiB."""
    disk, looks = Disk(0, monkeypatch), iter(seen)
    monkeypatch.setattr(room, "_TRIES_S", (0.001, 0.001))
    monkeypatch.setattr(room, "available", lambda fd: next(looks) * GIB)
    with nullcontext() if is_taken else pytest.raises(NoSpace):
        Room(Need(2 * GIB, keep_free=GIB)).reserve(0)
    assert (bool(disk.reserved), disk.given_back) == (is_taken, (len(seen) - 1) // 2)
    assert next(looks, None) is None


@pytest.mark.parametrize("unnamed", [True, False])
async def test_a_file_that_is_refused_behind_its_reservation_leaves_nothing(
    changing: Served, changing_root: Root, unnamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.chain([10 * MIB], itertools.repeat(0))
    monkeypatch.setattr(room, "available", lambda fd: next(looks))
    with pytest.raises(NoSpace):
        await Changes(changing_root, unnamed=unnamed).stage(NEW, Need(MIB, keep_free=MIB))
    settle()
    assert list(changing.path.rglob(".fileserve-*")) == []


async def test_a_file_of_unknown_length_is_looked_at_while_it_comes(
    changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    with await Changes(changing_root).stage(NEW, Need(keep_free=1)) as staged:
        monkeypatch.setattr(room, "available", lambda fd: 0)
        await staged.write(bytes(MIB))
        with pytest.raises(NoSpace):
            await staged.finish()
    settle()


def test_a_real_disk_tells_of_reserved_room(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    try:
        one: Callable[[int], None] = Room(Need(MIB)).reserve
        one(fd)
        assert os.fstat(fd).st_size == 0
    finally:
        os.close(fd)
