"""The file of a session: how much of it is there, who may write to it, and the room that it keeps."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fileserve.storage.changes import room
from fileserve.storage.changes.paused import create, has_its_name, size_on_disk
from fileserve.storage.changes.resumable import ResumedDraft, open_draft_of, unlink
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.target import Target
from fileserve.storage.errors import Locked, NoDirectory, NoSpace, NotFound, Unreadable
from fileserve.storage.hashing import Sums
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.storage.conftest import Served

NAME: Name = (b"directory", b"new")
MIB = 1 << 20


def take_any(current: OpenFile | None) -> None:
    """Judge that whatever has the name may be replaced."""


class Kept:
    """A session of so many bytes, and the drafts of it that were opened, which are closed in the end."""

    def __init__(self, root: Root, served: Served, length: int | None) -> None:
        self.root = root
        self.need = Need(length)
        self.session = Session("id", NAME, create(Target(root, NAME), self.need), length, 0, {})
        self.path = served.path.joinpath(*map(os.fsdecode, self.session.staged.name))
        self._drafts: list[ResumedDraft] = []

    def open(self, known: tuple[int, Sums] | None = None) -> ResumedDraft:
        draft = open_draft_of(self.root, lambda: self.session, self.need, known)
        self._drafts.append(draft)
        return draft

    def write(self, content: bytes) -> tuple[int, Sums | None]:
        draft = self.open()
        draft.write([content])
        return draft.pause()

    def close(self) -> None:
        for draft in self._drafts:
            draft.keep()


@pytest.fixture
def keep(changing: Served, changing_root: Root) -> Iterator[Callable[[int | None], Kept]]:
    kept: list[Kept] = []

    def begin(length: int | None = 10) -> Kept:
        kept.append(Kept(changing_root, changing, length))
        return kept[-1]

    yield begin
    for one in kept:
        one.close()


Keep = Callable[..., Kept]


def test_it_is_hidden_in_its_directory_and_empty(keep: Keep, changing: Served) -> None:
    kept = keep()
    assert (kept.path.parent, kept.path.stat().st_size) == (changing.path / "directory", 0)
    assert kept.path.name.startswith(".fileserve-tus-")
    assert kept.path.stat().st_ino == kept.session.staged.inode


def test_without_its_directory_it_is_begun_in_the_nearest_where_that_is_asked_for(
    changing: Served, changing_root: Root
) -> None:
    target = Target(changing_root, (b"directory", b"missing", b"new"))
    with pytest.raises(NoDirectory):
        create(target, Need())
    staged = create(Target(changing_root, target.name, parents=True), Need())
    assert staged.name[:-1] == (b"directory",)
    assert not (changing.path / "directory" / "missing").exists()


@pytest.mark.parametrize("need", [Need(1 << 60), Need(keep_free=1 << 60), Need(room=1 << 60)])
def test_without_room_nothing_is_begun(changing: Served, changing_root: Root, need: Need) -> None:
    with pytest.raises(NoSpace):
        create(Target(changing_root, NAME), need)
    assert list(changing.path.rglob(".fileserve-*")) == []


def test_what_one_request_has_brought_is_there_for_the_next(keep: Keep) -> None:
    kept = keep()
    assert kept.write(b"0123")[0] == 4
    assert size_on_disk(kept.root, kept.session.staged)[0] == 4
    draft = kept.open()
    assert draft.written == 4
    draft.write([b"45"])
    assert draft.pause()[0] == 6
    assert kept.path.read_bytes() == b"012345"


def test_what_is_known_to_be_on_the_disk_is_not_flushed_again(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, flushed, sync = keep(), [], os.fsync
    kept.write(b"0123")
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(fd) or sync(fd))  # type: ignore[func-returns-value]
    known = size_on_disk(kept.root, kept.session.staged)
    assert size_on_disk(kept.root, kept.session.staged, known) == known
    assert len(flushed) == 1
    kept.write(b"45")
    flushed.clear()
    assert size_on_disk(kept.root, kept.session.staged, known)[0] == 6
    assert len(flushed) == 1


def test_sums_go_on_where_they_are_known_for_all_that_is_there(keep: Keep) -> None:
    kept = keep()
    size, sums = kept.write(b"0123")
    assert sums is not None
    assert kept.open((size, sums)).pause()[1] is sums
    assert kept.open((3, sums)).pause()[1] is None
    assert kept.open(None).pause()[1] is None


def test_one_has_it_at_a_time(keep: Keep) -> None:
    kept = keep()
    draft = kept.open()
    for attempt in (kept.open, lambda: unlink(kept.root, kept.session)):
        with pytest.raises(Locked):
            attempt()
    assert size_on_disk(kept.root, kept.session.staged)[0] == 0  # who asks is not in the way
    draft.keep()
    kept.open()


@pytest.mark.parametrize("what", ["deleted", "replaced", "directory_is_gone", "directory_is_a_link_out"])
def test_what_is_not_there_any_more_is_not_found(keep: Keep, changing: Served, tmp_path: Path, what: str) -> None:
    kept = keep()
    if what == "deleted":
        kept.path.unlink()
    elif what == "replaced":
        (changing.path / "other").write_bytes(b"theirs")
        (changing.path / "other").replace(kept.path)
    else:
        kept.path.parent.rename(tmp_path / "moved")
        if what == "directory_is_a_link_out":
            kept.path.parent.symlink_to(tmp_path / "moved")
    for attempt in (kept.open, lambda: size_on_disk(kept.root, kept.session.staged)):
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(NotFound):
        unlink(kept.root, kept.session)
    assert not has_its_name(kept.root, kept.session)


def test_what_was_to_be_compared_when_a_process_ended_is_cut_off(keep: Keep) -> None:
    kept = keep()
    kept.write(b"0123456")
    kept.session = Session("id", NAME, kept.session.staged, 10, 0, {}, sure=4)
    assert kept.open().written == 4
    assert kept.path.read_bytes() == b"0123"


def test_behind_a_gap_nothing_is_written(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = keep().open()

    def fail(*arguments: object) -> int:
        raise OSError(5, "broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "writev", fail)
        with pytest.raises(Unreadable):
            draft.write([b"01"])
    with pytest.raises(Unreadable):
        draft.write([b"23"])
    assert draft.pause()[0] == 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("what", ["commit", "pause"])
def test_what_the_disk_did_not_take_is_not_there_for_the_next(
    keep: Keep, changing: Served, monkeypatch: pytest.MonkeyPatch, what: str, number: int
) -> None:
    """The system tells of that once, and the next flush succeeds."""
    kept = keep()
    kept.write(b"0123")
    draft, sync = kept.open(), os.fsync
    draft.write([b"456789"])
    fails = [OSError(number, "lost")]

    def fail_once(fd: int) -> None:
        if fails:
            raise fails.pop()
        sync(fd)

    monkeypatch.setattr(os, "fsync", fail_once)
    if what == "commit":
        for _ in range(2):
            with pytest.raises((Unreadable, NoSpace)):
                draft.commit(take_any)
    with pytest.raises((Unreadable, NoSpace)):
        draft.pause()
    assert not fails
    assert size_on_disk(kept.root, kept.session.staged)[0] == 4
    assert kept.path.read_bytes() == b"0123"
    assert not (changing.path / "directory" / "new").exists()
    assert kept.write(b"456789")[0] == 10


def test_a_digest_is_that_of_what_came_behind_a_place(keep: Keep) -> None:
    draft = keep().open()
    draft.write([b"0123", b"45"])
    assert draft.checksum("md5", 4).hex() == hashlib.md5(b"45", usedforsecurity=False).hexdigest()


def test_a_session_s_file_gets_its_name_and_is_found_under_it(keep: Keep, changing: Served) -> None:
    kept = keep()
    kept.write(b"0123456789")
    draft = kept.open()
    assert not has_its_name(kept.root, kept.session)
    draft.commit(take_any)
    draft.pause()
    assert has_its_name(kept.root, kept.session)
    assert (changing.path / "directory" / "new").read_bytes() == b"0123456789"
    with pytest.raises(NotFound):
        size_on_disk(kept.root, kept.session.staged)


@pytest.mark.parametrize("copies", [True, False], ids=["by_the_system", "by_hand"])
def test_parts_are_appended_to_a_whole(keep: Keep, copies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not copies:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    part, whole = keep(2 * MIB + 1), keep(2 * MIB + 3)
    content = os.urandom(2 * MIB + 1)
    part.write(content)
    source, target = part.open(), whole.open()
    target.write([b"01"])
    target.append(source, 1, 2 * MIB)
    assert target.pause() == (2 * MIB + 2, None)
    assert whole.path.read_bytes() == b"01" + content[1:]
    with pytest.raises(NotFound):
        whole.open().append(source, 2 * MIB, 2)


def reserved(kept: Kept) -> bool:
    return kept.path.stat().st_blocks * 512 >= 4 * MIB


def test_room_is_reserved_while_what_it_is_for_comes(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(4 * MIB)
    draft = kept.open()
    draft.reserve_for(None)
    if not reserved(kept):
        pytest.skip("this file system reserves no room")
    draft.write([bytes(1000)])
    draft.begin_at(0)  # what came is not what its checksum says
    draft.pause()
    assert not reserved(kept)
    draft = kept.open()
    with monkeypatch.context() as full:
        full.setattr(room, "available", lambda fd: 4 * MIB - 1)
        with pytest.raises(NoSpace):
            draft.reserve_for(1)
    draft.reserve_for(None)
    assert reserved(kept)
    draft.pause()
    assert not reserved(kept)


def test_what_is_whole_needs_no_room(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(10)
    kept.write(b"0123456789")
    monkeypatch.setattr(room, "available", lambda fd: 0)
    kept.open()
