"""Staged files: whole under their name or gone, with what Linux offers, and with what every system has."""

import asyncio
import errno
import fcntl
import gc
import hashlib
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fileserve import disk
from fileserve.storage.changes import draft as draft_module
from fileserve.storage.changes import placing, room
from fileserve.storage.changes import writer as writer_module
from fileserve.storage.changes.changes import Changes
from fileserve.storage.changes.draft import Committed
from fileserve.storage.changes.room import Need
from fileserve.storage.errors import (
    AlreadyExists,
    Busy,
    InvalidName,
    IsDirectory,
    NameTooLong,
    NoDirectory,
    NoSpace,
    NotPermitted,
    NotRegular,
    StorageError,
    Unreadable,
)
from fileserve.storage.hashing import Sums
from fileserve.storage.names import Name, parse_name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.hostile import HOSTILE, SECRET
from tests.pool import settle
from tests.storage.conftest import AWKWARD, OpenRoot, Served, content, no_descriptors_left

NEW: Name = (b"new.bin",)
OLD: Name = (b"plain.txt",)
MIB = 1 << 20


def take_any(current: OpenFile | None) -> None:
    """Judge that whatever has the name may be replaced."""


def take_nothing(current: OpenFile | None) -> None:
    """Judge that nothing may be replaced."""
    if current is not None:
        raise AlreadyExists


@pytest.fixture(params=["pool", "walker"])
def way(request: pytest.FixtureRequest) -> str:
    """How names are resolved, and with it how files are staged. Neither happens on the event loop's thread."""
    return str(request.param)


@pytest.fixture
def changes(way: str, changing_root: Root) -> Changes:
    """Staging without a name beside openat2, with a hidden one beside the walker."""
    return Changes(changing_root, unnamed=way == "pool")


@pytest.fixture(autouse=True)
def ended(changing: Served) -> Iterator[None]:
    """Wait for what goes on in threads when a test is over; nothing hidden is left but what the tests put there."""
    yield
    settle()
    assert leftovers(changing.path) == []


def leftovers(path: Path) -> list[Path]:
    return sorted(path.rglob(".fileserve-*"))


async def put(
    changes: Changes, name: Name, *chunks: bytes, need: Need | None = None, parents: bool = False
) -> Committed:
    with await changes.stage(name, need or Need(), parents=parents) as staged:
        for chunk in chunks:
            await staged.write(chunk)
        await staged.finish()
        return await staged.commit(take_any)


async def test_a_file_of_any_name_is_stored(changing: Served, changes: Changes) -> None:
    for name in AWKWARD.values():
        committed = await put(changes, (b"directory", name), b"new ", name)
        assert not committed.replaced
        assert (changing.path / "directory" / os.fsdecode(name)).read_bytes() == b"new " + name


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([], id="empty"),
        pytest.param([1], id="one_byte"),
        pytest.param([MIB // 4], id="exactly_a_batch"),
        pytest.param([3 * MIB + 1], id="one_chunk_of_several_batches"),
        pytest.param([1] * 5000, id="more_buffers_than_one_call_takes"),
        pytest.param([65536] * 100 + [17], id="chunks_as_a_server_brings_them"),
    ],
)
async def test_what_is_stored_is_what_came_with_its_digests(
    changing_root: Root, changes: Changes, sizes: list[int]
) -> None:
    chunks = [os.urandom(size) for size in sizes]
    whole = b"".join(chunks)
    with await changes.stage(NEW, Need(length=len(whole), sha512=True)) as staged:
        for chunk in chunks:
            await staged.write(chunk)
        digests = await staged.finish()
        committed = await staged.commit(take_nothing)
    assert (staged.size, committed.status.size) == (len(whole), len(whole))
    assert digests is not None
    assert (digests.sha256, digests.crc32) == (hashlib.sha256(whole).digest(), zlib.crc32(whole))
    assert digests.sha512 == hashlib.sha512(whole).digest()
    opened = await changing_root.open(NEW)
    try:
        assert opened.status == committed.status
        assert await opened.read(0, len(whole) + 1) == whole
    finally:
        opened.close()


async def test_digests_are_left_out_on_request(changes: Changes) -> None:
    with await changes.stage(NEW, Need(digests=False)) as staged:
        await staged.write(b"x")
        assert await staged.finish() is None


async def test_the_name_is_not_there_before_the_commit(changing: Served, changes: Changes) -> None:
    with await changes.stage(NEW, Need(length=MIB)) as staged:
        await staged.write(bytes(MIB))
        await staged.finish()
        assert not (changing.path / "new.bin").exists()
        await staged.commit(take_any)
        assert (changing.path / "new.bin").stat().st_size == MIB


async def test_leaving_the_block_leaves_nothing(changing: Served, changes: Changes) -> None:
    before = sorted(changing.path.iterdir())
    with await changes.stage(NEW, Need()) as staged:
        await staged.write(bytes(MIB))
    settle()
    assert sorted(changing.path.iterdir()) == before


async def test_a_replaced_file_is_the_old_one_until_it_is_the_new_one(
    changing: Served, changing_root: Root, changes: Changes
) -> None:
    opened = await changing_root.open(OLD)
    try:
        with await changes.stage(OLD, Need()) as staged:
            await staged.write(b"new")
            await staged.finish()
            assert await content(changing_root, OLD) == b"plain.txt"
            assert (await staged.commit(take_any)).replaced
        assert await content(changing_root, OLD) == b"new"
        assert await opened.read(0, 100) == b"plain.txt"  # who reads it goes on reading it
    finally:
        opened.close()


async def test_the_judge_sees_what_has_the_name_at_the_commit(changing: Served, changes: Changes) -> None:
    seen: list[int | None] = []

    def judge(current: OpenFile | None) -> None:
        seen.append(current.status.size if current else None)

    for written in (None, b"1", b"22"):
        if written is not None:
            changing.write(b"new.bin", written)
        with await changes.stage(NEW, Need()) as staged:
            await staged.finish()
            await staged.commit(judge)
    assert seen == [None, 1, 2]


async def test_what_the_judge_raises_leaves_the_old_file(changing_root: Root, changes: Changes) -> None:
    with await changes.stage(OLD, Need()) as staged:
        await staged.write(b"new")
        await staged.finish()
        with pytest.raises(AlreadyExists):
            await staged.commit(take_nothing)
    assert await content(changing_root, OLD) == b"plain.txt"


async def test_a_name_taken_after_the_judgement_is_not_overwritten(
    changing: Served, changing_root: Root, changes: Changes
) -> None:
    """A program that knows nothing of our locks is faster by a hair."""

    def judge(current: OpenFile | None) -> None:
        changing.write(b"new.bin", b"theirs")

    with await changes.stage(NEW, Need()) as staged:
        await staged.finish()
        with pytest.raises(AlreadyExists):
            await staged.commit(judge)
    assert await content(changing_root, NEW) == b"theirs"


async def test_of_two_that_create_one_name_one_wins(changing_root: Root, changes: Changes) -> None:
    async def create(number: int) -> bool:
        with await changes.stage(NEW, Need()) as staged:
            await staged.write(b"%d" % number)
            await staged.finish()
            try:
                await staged.commit(take_nothing)
            except AlreadyExists:
                return False
            return True

    won = await asyncio.gather(*map(create, range(8)))
    assert won.count(True) == 1
    assert await content(changing_root, NEW) == b"%d" % won.index(True)


async def test_of_two_that_replace_one_name_both_are_done_and_one_is_last(
    changing_root: Root, changes: Changes
) -> None:
    committed = await asyncio.gather(*(put(changes, NEW, b"%d" % number * MIB) for number in range(8)))
    assert [one.replaced for one in committed].count(False) == 1
    opened = await changing_root.open(NEW)
    try:
        assert len(set(await opened.read(0, 2 * MIB))) == 1
        assert opened.status in [one.status for one in committed]
    finally:
        opened.close()


async def test_a_commit_waits_for_who_has_the_directory_locked(changing: Served, changes: Changes) -> None:
    directory = os.open(changing.path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with await changes.stage(NEW, Need()) as staged:
            await staged.finish()
            committing = asyncio.ensure_future(staged.commit(take_any))
            done, _ = await asyncio.wait([committing], timeout=0.1)
            assert not done
            fcntl.flock(directory, fcntl.LOCK_UN)
            assert not (await committing).replaced
    finally:
        os.close(directory)


REFUSED = [
    pytest.param("directory", IsDirectory, id="directory"),
    pytest.param("link-directory", IsDirectory, id="link_to_a_directory"),
    pytest.param("fifo", NotRegular, id="fifo"),
    pytest.param("socket", NotRegular, id="socket"),
    pytest.param("link-dangling", AlreadyExists, id="dangling_link"),
    pytest.param("out", AlreadyExists, id="link_out"),
    pytest.param("out-absolute", AlreadyExists, id="absolute_link_out"),
    pytest.param("out-dangling", AlreadyExists, id="dangling_link_out"),
    pytest.param("loop", AlreadyExists, id="loop"),
    pytest.param("missing/new", NoDirectory, id="directory_missing"),
    pytest.param("plain.txt/new", NoDirectory, id="beneath_a_file"),
    pytest.param("out-directory/new", NoDirectory, id="through_a_link_out"),
    pytest.param("out-directory-absolute/new", NoDirectory, id="through_an_absolute_link_out"),
    pytest.param("out-parent/new", NoDirectory, id="through_a_link_to_the_parent"),
    pytest.param("magic-directory/new", NoDirectory, id="through_a_magic_link"),
    pytest.param("link-dangling/new", NoDirectory, id="through_a_dangling_link"),
    pytest.param(".hidden-new", NotPermitted, id="hidden"),
    pytest.param("directory/.hidden/new", NotPermitted, id="in_a_hidden_directory"),
    pytest.param(".fileserve-put-0", NotPermitted, id="name_of_a_staged_file"),
    pytest.param("", InvalidName, id="root"),
]


@pytest.mark.parametrize(("path", "error"), REFUSED)
async def test_what_cannot_be_replaced_is_refused_and_stays(
    changing: Served, changes: Changes, path: str, error: type[StorageError]
) -> None:
    name = tuple(path.encode().split(b"/")) if path else ()
    before = snapshot(changing)
    with pytest.raises(error):
        await changes.look(name)
    with pytest.raises(error):
        await put(changes, name, b"x")
    settle()
    assert snapshot(changing) == before


def snapshot(served: Served) -> dict[str, tuple[int, int, int]]:
    """Return every name in the served directory and beside it, with what would show a change."""
    found = {}
    for path in sorted([*served.path.rglob("*"), *served.outside.rglob("*")]):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_mode, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns)
    return found


async def test_a_hostile_name_is_refused_or_names_only_itself(changing: Served, changes: Changes) -> None:
    for key, path in HOSTILE.items():
        before = snapshot(changing)
        try:
            name, _ = parse_name(path)
            await put(changes, name, b"x", parents=True)
        except StorageError:
            settle()
            assert snapshot(changing) == before, key
        else:
            changed = {path for path, state in snapshot(changing).items() if state != before.get(path)}
            assert os.path.join(changing.path, *map(os.fsdecode, name)) in changed, key
            assert all(changed_path.startswith(f"{changing.path}/") for changed_path in changed), key
    assert (changing.outside / "secret.txt").read_bytes() == SECRET


async def test_a_link_is_replaced_and_what_it_leads_to_stays(changing: Served, changes: Changes) -> None:
    assert (await put(changes, (b"link",), b"new")).replaced
    assert not (changing.path / "link").is_symlink()
    assert (changing.path / "link").read_bytes() == b"new"
    assert (changing.path / "plain.txt").read_bytes() == b"plain.txt"


async def test_directories_may_be_reached_through_links_beneath_the_root(changing: Served, changes: Changes) -> None:
    await put(changes, (b"link-directory", b"new"), b"new")
    assert (changing.path / "directory" / "new").read_bytes() == b"new"


async def test_missing_directories_are_made_at_the_commit_when_that_is_asked_for(
    changing: Served, changes: Changes
) -> None:
    name = (b"directory", b"a", b"b", b"new")
    with await changes.stage(name, Need(), parents=True) as staged:
        await staged.finish()
        assert not (changing.path / "directory" / "a").exists()
        await staged.commit(take_any)
    assert (changing.path / "directory" / "a" / "b" / "new").is_file()


async def test_a_directory_that_was_moved_meanwhile_is_not_followed(changing: Served, changes: Changes) -> None:
    with await changes.stage((b"directory", b"new"), Need()) as staged:
        (changing.path / "directory").rename(changing.outside / "moved")
        await staged.finish()
        with pytest.raises(NoDirectory):
            await staged.commit(take_any)
    settle()
    assert not list(changing.outside.rglob("new"))
    assert leftovers(changing.outside) == []


async def test_a_directory_swapped_for_a_link_leads_nowhere(changing: Served, changes: Changes) -> None:
    """While uploads go on, another program swaps their directory for a link out of the root and back."""
    real, link = changing.path / "directory", changing.path / "swapping"
    stop = threading.Event()

    def swap() -> None:
        link.symlink_to(changing.outside)
        while not stop.is_set():
            os.rename(real, changing.path / "aside")
            os.rename(link, real)
            os.rename(real, link)
            os.rename(changing.path / "aside", real)

    swapping = threading.Thread(target=swap)
    swapping.start()
    stored = 0
    try:
        for number in range(150):
            try:
                await put(changes, (b"directory", b"%d" % number), b"x")
                stored += 1
            except NoDirectory:
                pass
    finally:
        stop.set()
        swapping.join(10)
    settle()
    assert {path.name for path in changing.outside.iterdir()} == {"secret.txt"}
    assert stored == len([path for path in changing.path.rglob("*") if path.name.isdecimal()])


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(errno.ENOSPC, NoSpace, id="disk_full"),
        pytest.param(errno.EDQUOT, NoSpace, id="quota_used_up"),
        pytest.param(errno.EFBIG, NoSpace, id="larger_than_the_file_system_allows"),
        pytest.param(errno.EIO, Unreadable, id="device_failed"),
    ],
)
@pytest.mark.parametrize("call", ["writev", "fsync"])
async def test_what_the_disk_refuses_leaves_nothing(
    changing: Served,
    changes: Changes,
    call: str,
    number: int,
    error: type[StorageError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    before = snapshot(changing)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(error):
            await put(changes, NEW, bytes(2 * MIB))
        settle()
    assert snapshot(changing) == before


async def test_a_write_that_the_system_cuts_short_goes_on(
    changing_root: Root, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, chunks: writev(fd, [b"".join(chunks)[:7]]))
    await put(changes, NEW, b"0123456789", b"abcdef")
    assert await content(changing_root, NEW) == b"0123456789abcdef"


@pytest.mark.parametrize(
    ("need", "chunks"),
    [
        pytest.param(Need(length=1 << 60), [], id="longer_than_the_disk"),
        pytest.param(Need(length=1, keep_free=1 << 60), [], id="more_kept_free_than_there_is"),
        pytest.param(Need(keep_free=1 << 60), [], id="unknown_length"),
    ],
)
async def test_what_will_not_fit_is_refused_at_once(changes: Changes, need: Need, chunks: list[bytes]) -> None:
    with pytest.raises(NoSpace):
        await changes.stage(NEW, need)


async def test_reserved_room_leaves_the_size_true(changing: Served, changes: Changes) -> None:
    with await changes.stage(NEW, Need(length=4 * MIB)) as staged:
        await staged.write(b"x")
        await staged.finish()
        committed = await staged.commit(take_any)
    assert committed.status.size == 1


async def test_memory_holds_two_batches_while_the_disk_is_slow(
    changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, writev = threading.Event(), os.writev

    def wait(fd: int, chunks: list[bytes]) -> int:
        assert may_go_on.wait(10)
        return writev(fd, chunks)

    monkeypatch.setattr(os, "writev", wait)
    with await changes.stage(NEW, Need()) as staged:

        async def send() -> None:
            for _ in range(100):
                await staged.write(bytes(65536))

        sending = asyncio.ensure_future(send())
        done, _ = await asyncio.wait([sending], timeout=0.1)
        assert not done
        assert staged.size <= 9 * 65536
        may_go_on.set()
        await sending


async def test_memory_does_not_fill_with_tiny_chunks(changes: Changes) -> None:
    with await changes.stage(NEW, Need()) as staged:
        for _ in range(5000):
            await staged.write(b"xy")
            assert len(staged._batch) < 512


async def test_without_descriptors_nothing_is_left(changing: Served, changes: Changes) -> None:
    with await changes.stage(OLD, Need()) as staged:
        await staged.write(b"new")
        await staged.finish()
        with no_descriptors_left(), pytest.raises(Busy):
            await staged.commit(take_any)
        assert (await staged.commit(take_any)).replaced


@pytest.mark.parametrize("step", ["stage", "write", "flush", "commit"])
async def test_whoever_is_cancelled_leaves_nothing_or_the_whole(
    changing: Served, changes: Changes, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is cancelled while its thread is at work, and goes on there."""
    at_work, may_go_on = threading.Event(), threading.Event()

    def held(call: Callable[..., object]) -> Callable[..., object]:
        def wait(*arguments: object, **named: object) -> object:
            at_work.set()
            assert may_go_on.wait(10)
            return call(*arguments, **named)

        return wait

    async def upload() -> None:
        with await changes.stage(NEW, Need()) as staged:
            await staged.write(bytes(MIB))
            await staged.write(bytes(MIB))
            await staged.finish()
            await staged.commit(take_any)

    where = {
        "stage": (room, "reserve"),
        "write": (os, "writev"),
        "flush": (os, "fsync"),
        "commit": (draft_module, "sync_directory"),
    }
    module, call = where[step]
    monkeypatch.setattr(module, call, held(getattr(module, call)))
    uploading = asyncio.ensure_future(upload())
    assert await asyncio.to_thread(at_work.wait, 10)
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    settle(held=1)  # the file is given up by now, while a thread is still in the midst of the step
    may_go_on.set()
    settle()
    stored = changing.path / "new.bin"
    assert stored.stat().st_size == 2 * MIB if step == "commit" else not stored.exists()


async def test_whoever_is_cancelled_while_a_batch_waits_for_a_thread_leaves_nothing(
    changing: Served, changes: Changes, caplog: pytest.LogCaptureFixture
) -> None:
    before, may_go_on = snapshot(changing), threading.Event()

    async def upload() -> None:
        with await changes.stage(NEW, Need()) as staged:
            for _ in range(4):
                disk.submit_change(may_go_on.wait, 10)
            await staged.write(bytes(MIB))
            waiting.set()
            await staged.finish()

    waiting, uploading = asyncio.Event(), asyncio.ensure_future(upload())
    await waiting.wait()
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    may_go_on.set()
    settle()
    gc.collect()
    assert snapshot(changing) == before
    assert not caplog.records


async def test_a_discarded_file_cannot_get_a_name(changes: Changes) -> None:
    staged = await changes.stage(NEW, Need())
    await staged.finish()
    staged._draft.discard()
    with pytest.raises((Busy, ValueError)):
        await staged.commit(take_any)


async def test_a_committed_file_settles_unless_somebody_changes_it(changing: Served, changes: Changes) -> None:
    for is_changed in (False, True):
        with await changes.stage(NEW, Need()) as staged:
            await staged.write(b"x")
            await staged.finish()
            committed = await staged.commit(take_any)
            if is_changed:
                changing.write(b"new.bin", b"y")
            assert await staged.settle(committed, 20) is not is_changed


async def test_where_the_file_system_s_clock_is_ahead_of_ours_nobody_waits_for_it(
    changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = SimpleNamespace(time_ns=lambda: time.time_ns() - 3600 * 10**9)
    with await changes.stage(NEW, Need()) as staged:
        await staged.write(b"x")
        await staged.finish()
        committed = await staged.commit(take_any)
        monkeypatch.setattr(writer_module, "time", late)
        async with asyncio.timeout(20):
            assert not await staged.settle(committed, 20)


async def test_a_stored_file_has_the_permissions_of_any_new_file(changing: Served, changes: Changes) -> None:
    changing.write(b"by-hand", b"")
    await put(changes, NEW, b"")
    assert (changing.path / "new.bin").stat().st_mode == (changing.path / "by-hand").stat().st_mode


def test_sums_are_the_same_for_any_division() -> None:
    whole, parts = Sums(sha512=True), Sums(sha512=True)
    whole.update(b"abcdef")
    for part in (b"a", memoryview(b"bc"), b"", b"def"):
        parts.update(part)
    assert whole.results() == parts.results()


async def test_the_file_is_locked_while_it_is_written(changing: Served, changing_root: Root) -> None:
    with await Changes(changing_root, unnamed=False).stage(NEW, Need()):
        (staged,) = leftovers(changing.path)
        with staged.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_file_is_locked_when_it_gets_a_hidden_name_for_a_moment(
    changing: Served, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, looked = os.replace, []

    def look_and_replace(*names: bytes, **directories: Any) -> None:
        (hidden,) = leftovers(changing.path)
        with hidden.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        looked.append(hidden)
        replace(*names, **directories)

    monkeypatch.setattr(os, "replace", look_and_replace)
    await put(changes, OLD, b"new")
    assert len(looked) == 1


async def test_a_rename_that_fails_leaves_no_hidden_name(
    changing: Served, changing_root: Root, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*names: bytes, **directories: int) -> None:
        raise OSError(errno.EIO, "text")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Unreadable):
        await put(changes, OLD, b"new")
    assert await content(changing_root, OLD) == b"plain.txt"


async def test_a_file_swapped_for_a_link_while_it_is_looked_at_is_not_followed(
    changing: Served, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat_of = os.stat

    def stat_and_swap(path: bytes, **where: Any) -> os.stat_result:
        status = stat_of(path, **where)
        if path == OLD[0]:
            (changing.path / "plain.txt").unlink()
            changing.link("plain.txt", "../outside/secret.txt")
        return status

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat_and_swap)
        with pytest.raises(StorageError):
            await changes.look(OLD)


async def test_the_time_of_a_stored_file_is_one_that_no_later_change_can_have(changes: Changes) -> None:
    with await changes.stage(NEW, Need()) as staged:
        await staged.write(b"x")
        await staged.finish()
        written = staged._draft.status()
        committed = await staged.commit(take_any)
    assert committed.status.mtime_ns == written.mtime_ns - 1


async def test_staged_files_are_never_shown(changing: Served, open_root: OpenRoot) -> None:
    root = open_root(changing.path, hidden=True)
    with await Changes(root, unnamed=False).stage(NEW, Need()):
        (staged,) = leftovers(changing.path)
        listed = {entry.name for entry in (await root.list(())).entries}
        assert b".hidden" in listed
        assert os.fsencode(staged.name) not in listed
        with pytest.raises(StorageError):
            await root.open((os.fsencode(staged.name),))


async def test_a_name_that_is_too_long_is_refused(changes: Changes) -> None:
    with pytest.raises(NameTooLong):
        await changes.stage((b"x" * 256,), Need())


async def test_a_directory_that_was_taken_away_at_the_last_moment_is_made_again(
    changing: Served, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another upload, which had made it and came to nothing."""
    alone_in, made = placing.alone_in, changing.path / "made"

    def take_away(*directories: int) -> Any:
        monkeypatch.setattr(draft_module, "alone_in", alone_in)
        made.rmdir()
        return alone_in(*directories)

    made.mkdir()
    with await changes.stage((b"made", b"new"), Need(), parents=True) as staged:
        await staged.finish()
        if leftovers(changing.path):  # a hidden name keeps its directory
            return
        monkeypatch.setattr(draft_module, "alone_in", take_away)
        await staged.commit(take_nothing)
    assert (made / "new").exists()
