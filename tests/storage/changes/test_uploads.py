"""Uploads over several requests, without HTTP: what has arrived stays, digests go on, and time ends what is left."""

import asyncio
import errno
import gc
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fileserve import disk
from fileserve.storage.changes import uploads as uploads_module
from fileserve.storage.changes.resumable import ResumedDraft
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.sessions import Sessions, TooManySessions
from fileserve.storage.changes.uploads import ResumedFile, Uploads
from fileserve.storage.errors import Locked, NotFound
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.pool import settle
from tests.storage.conftest import Served, unprivileged

NAME: Name = (b"directory", b"new")
MIB = 1 << 20
BATCHES = [bytes([number]) * 256 * 1024 for number in b"NM"]  # each is written by itself


def take_any(current: OpenFile | None) -> None:
    """Judge that whatever has the name may be replaced."""


@pytest.fixture
async def uploads(changing_root: Root, tmp_path: Path) -> AsyncIterator[Uploads]:
    opened = Uploads(changing_root, Sessions(tmp_path / "uploads.sqlite"), 1000)
    yield opened
    settle()
    opened.close()


async def begin(uploads: Uploads, length: int | None = 10, most: int = 100, id: str | None = None) -> Session:
    return await uploads.begin(NAME, Need(length), {}, "client", (most, most), id)


async def send(uploads: Uploads, session: Session, *chunks: bytes, is_checked: bool = False) -> ResumedFile:
    async with uploads.resume(session, Need(session.length), is_checked=is_checked) as staged:
        for chunk in chunks:
            await staged.write(bytes(memoryview(chunk)))
    return staged


def hidden_in(served: Served) -> list[Path]:
    return list(served.path.rglob(".fileserve-*"))


async def test_what_has_arrived_stays_whatever_ends_the_request(uploads: Uploads) -> None:
    session = await begin(uploads, 3 * MIB)
    staged = await send(uploads, session, b"0123", bytes(MIB))
    assert (staged.offset, await uploads.offset(session)) == (MIB + 4, MIB + 4)
    with pytest.raises(TypeError):
        await send(uploads, session, b"45", None)  # type: ignore[arg-type]
    assert await uploads.offset(session) == MIB + 6
    writing = asyncio.Event()

    async def write_for_ever() -> None:
        async with uploads.resume(session, Need()) as staged:
            await staged.write(b"67")
            writing.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(write_for_ever())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    settle()
    assert await uploads.offset(session) == MIB + 8


async def test_one_request_writes_at_a_time(uploads: Uploads) -> None:
    session = await begin(uploads)
    async with uploads.resume(session, Need()):
        with pytest.raises(Locked):
            await send(uploads, session)
        with pytest.raises(Locked):
            await uploads.end(session)
    await uploads.end(session)


async def test_what_is_to_be_compared_counts_once_it_was(uploads: Uploads) -> None:
    session = await begin(uploads)
    await send(uploads, session, b"01")
    await send(uploads, session, b"23", is_checked=True)
    assert await uploads.offset(session) == 2
    digest = hashlib.sha256(b"2345").digest()
    for content, matches in ((b"xxxx", False), (b"2345", True)):
        async with uploads.resume(await uploads.find(session.id), Need(10), is_checked=True) as staged:
            await staged.write(content)
            await staged.finish()
            assert await staged.verify("sha256", digest) is matches
        assert await uploads.offset(session) == (6 if matches else 2)


async def test_what_was_compared_is_not_cut_off_by_who_comes_before_that_is_noted(
    uploads: Uploads, changing_root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Uploads(changing_root, Sessions(tmp_path / "uploads.sqlite"), 1000)
    is_noting, may_note, note = threading.Event(), threading.Event(), Sessions.set_sure

    def note_late(sessions: Sessions, id: str, sure: int | None) -> None:
        if sure is None and not is_noting.is_set():
            is_noting.set()
            may_note.wait(10)
        note(sessions, id, sure)

    async def compare() -> None:
        async with uploads.resume(session, Need(10), is_checked=True) as staged:
            await staged.write(b"2345")
            await staged.finish()
            assert await staged.verify("sha256", hashlib.sha256(b"2345").digest())

    session = await begin(uploads)
    await send(uploads, session, b"01")
    monkeypatch.setattr(Sessions, "set_sure", note_late)
    request = asyncio.ensure_future(compare())
    assert await asyncio.to_thread(is_noting.wait, 10)
    try:
        with pytest.raises(Locked):
            await send(other, session)
    finally:
        may_note.set()
    await request
    assert (await send(other, session, b"67")).offset == 8
    other.close()


async def test_what_counts_is_asked_once_the_file_is_locked(uploads: Uploads) -> None:
    """A session that was found before is told to be compared, and is not any more; or the other way round."""
    session = await begin(uploads)
    await send(uploads, session, b"0123")
    uploads._sessions.set_sure(session.id, 2)  # a process has ended while it compared
    assert (await send(uploads, session, b"xx")).offset == 4  # found before that
    assert await uploads.offset(session) == 4


async def test_digests_are_known_when_all_has_come_in_its_order_to_one_process(
    uploads: Uploads, changing_root: Root, tmp_path: Path
) -> None:
    for is_shared in (False, True):
        session = await begin(uploads)
        other = Uploads(changing_root, Sessions(tmp_path / "uploads.sqlite"), 1000)
        for number, content in enumerate((b"0123", b"456", b"789")):
            await send(other if is_shared and number == 1 else uploads, session, content)
        async with uploads.resume(session, Need(10)) as staged:
            digests = await staged.finish()
        assert (digests is None) == is_shared
        if digests is not None:
            assert digests.sha256 == hashlib.sha256(b"0123456789").digest()
        other.close()


async def test_few_sums_are_kept(changing_root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "_MOST_SUMS", 1)
    uploads = Uploads(changing_root, Sessions(None), 1000)
    first, second = await begin(uploads), await begin(uploads)
    for session in (first, second):
        await send(uploads, session, b"0123")
    for session, is_known in ((first, False), (second, True)):
        async with uploads.resume(session, Need(10)) as staged:
            assert (await staged.finish() is not None) is is_known
    settle()
    uploads.close()


async def test_an_upload_that_has_its_name_is_told_so(uploads: Uploads, changing: Served) -> None:
    session = await begin(uploads)
    async with uploads.resume(session, Need(10)) as staged:
        await staged.write(b"0123456789")
        await staged.finish()
        await staged.commit(take_any)
    assert await uploads.offset(session) == 10  # nobody has noted it yet
    assert (await uploads.find(session.id)).stored
    await uploads.end(session)
    assert (changing.path / "directory" / "new").read_bytes() == b"0123456789"


async def test_where_too_many_are_open_nothing_is_left(uploads: Uploads, changing: Served) -> None:
    await begin(uploads, most=1)
    with pytest.raises(TooManySessions):
        await begin(uploads, most=1)
    assert len(hidden_in(changing)) == 1


async def test_of_two_with_one_id_the_second_is_told_to_wait(uploads: Uploads, changing: Served) -> None:
    assert (await begin(uploads, id="given")).id == "given"
    with pytest.raises(Locked):
        await begin(uploads, id="given")
    assert len(hidden_in(changing)) == 1


async def put_together(uploads: Uploads, whole: Session, parts: list[Session], length: int) -> None:
    async with uploads.concatenated(whole, parts, Need(length)):
        pass


async def test_of_two_who_want_the_same_parts_in_another_order_one_gets_them(uploads: Uploads) -> None:
    parts = [await begin(uploads, 0) for _ in range(4)]
    for order in (parts, parts[::-1]):
        wholes = [await begin(uploads, 0) for _ in range(2)]
        wishes = (
            put_together(uploads, whole, wish, 0) for whole, wish in zip(wholes, (order, order[::-1]), strict=True)
        )
        ends = await asyncio.gather(*wishes, return_exceptions=True)
        assert None in ends
        assert {type(end) for end in ends} <= {type(None), Locked}


async def test_parts_become_a_whole(uploads: Uploads) -> None:
    contents = [os.urandom(MIB + 1), b"", b"end"]
    parts = []
    for content in contents:
        part = await begin(uploads, len(content))
        await send(uploads, part, content)
        parts.append(part)
    whole = await begin(uploads, MIB + 4)
    await put_together(uploads, whole, parts, MIB + 4)
    assert await uploads.offset(whole) == MIB + 4
    async with uploads.resume(whole, Need()) as staged:
        assert await staged.verify("sha256", bytes(32)) is False


async def test_a_whole_is_nobody_else_s_from_before_its_parts_are_until_the_end(uploads: Uploads) -> None:
    part, whole = await begin(uploads, 10), await begin(uploads, 10)
    await send(uploads, part, b"0123456789")
    async with uploads.concatenated(whole, [part], Need(10)) as staged:
        assert (staged.offset, staged.size) == (0, 10)
        async with uploads.resume(part, Need(10)):  # the parts are free again
            for attempt in (send(uploads, whole), uploads.end(whole), uploads.give_up(whole)):
                with pytest.raises(Locked):
                    await attempt
    async with uploads.resume(whole, Need(10)):
        with pytest.raises(Locked):
            await put_together(uploads, whole, [part], 10)
        await send(uploads, part)


async def test_a_failed_upload_ends_unless_it_has_its_name_or_is_another_one_by_now(
    uploads: Uploads, changing: Served
) -> None:
    first = await begin(uploads, id="given")
    assert await uploads.give_up(first) is False
    second = await begin(uploads, id="given")
    assert await uploads.give_up(first) is False
    assert await uploads.find("given") == second
    async with uploads.resume(second, Need(10)) as staged:
        await staged.write(b"0123456789")
        await staged.finish()
        await staged.commit(take_any)
    assert await uploads.give_up(second) is True
    assert (await uploads.find("given")).stored
    await uploads.end(second)
    assert await uploads.give_up(second) is False
    assert hidden_in(changing) == []


async def test_time_ends_what_nobody_writes_to(changing: Served, changing_root: Root, tmp_path: Path) -> None:
    uploads = Uploads(changing_root, Sessions(tmp_path / "uploads.sqlite"), -10)
    left, written = await begin(uploads), await begin(uploads)
    async with uploads.resume(written, Need()):
        assert uploads.end_expired() == (1, 0)
    with pytest.raises(NotFound):
        await uploads.find(left.id)
    assert (await uploads.find(written.id)).id == written.id
    assert uploads.end_expired() == (1, 0)
    assert hidden_in(changing) == []
    uploads.close()


async def begin_unopenable(uploads: Uploads, changing: Served) -> Session:
    """Begin an upload whose file nobody may open any more, beside others that the unprivileged may end."""
    session = await begin(uploads)
    changing.path.joinpath(*map(os.fsdecode, session.staged.name)).chmod(0)
    return session


async def test_uploads_that_cannot_be_ended_keep_no_other_from_its_end_and_a_few_are_named(
    changing: Served, changing_root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    uploads = Uploads(changing_root, Sessions(None), -10)
    (changing.path / "directory").chmod(0o777)
    kept = [await begin_unopenable(uploads, changing) for _ in range(7)]
    for _ in range(2):
        ended = await begin(uploads)
        changing.path.joinpath(*map(os.fsdecode, ended.staged.name)).chmod(0o666)
        with unprivileged():
            assert uploads.end_expired() == (1, 0)
        assert [(await uploads.find(session.id)).id for session in kept] == [session.id for session in kept]
        with pytest.raises(NotFound):
            await uploads.find(ended.id)
        assert [record.getMessage().count("directory/new") for record in caplog.records] == [1, 1, 1, 1, 1, 0]
        caplog.clear()
    uploads.close()


async def test_a_file_that_may_not_be_opened_is_not_followed_and_ends_no_sweep(
    changing: Served, changing_root: Root
) -> None:
    uploads = Uploads(changing_root, Sessions(None), 1000)
    session = await begin_unopenable(uploads, changing)
    (changing.path / "directory").rename(changing.path / "moved")
    with unprivileged():
        assert not uploads.is_left((b"moved", session.staged.name[-1]), session.staged.inode, 2000)
    assert (await uploads.find(session.id)).staged == session.staged
    uploads.close()


async def test_what_has_just_got_its_name_is_told_although_its_time_is_over(
    changing_root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that took longer than a session lasts, and the look for those that have expired in its last moment."""
    uploads = Uploads(changing_root, Sessions(tmp_path / "uploads.sqlite"), -10)
    session = await begin(uploads)
    async with uploads.resume(session, Need(10)) as staged:
        await staged.write(b"0123456789")
        await staged.finish()
        await staged.commit(take_any)
        monkeypatch.setattr(uploads, "_lifetime_s", 1000)
        assert uploads.end_expired() == (0, 0)
        assert (await uploads.find(session.id)).stored
    assert uploads.end_expired() == (0, 0)
    uploads.close()


async def test_a_request_extends_its_session_when_it_begins_and_before_others_can_have_it(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await begin(uploads)
    monkeypatch.setattr(uploads, "_lifetime_s", 4000)
    async with uploads.resume(session, Need(10)):
        begun = (await uploads.find(session.id)).expires_s
        assert begun > session.expires_s + 900
        monkeypatch.setattr(uploads, "_lifetime_s", 6000)
        pause = ResumedFile.pause

        async def look_and_pause(staged: ResumedFile, note: Callable[[], None] | None) -> None:
            assert (await uploads.find(session.id)).expires_s > begun + 900
            await pause(staged, note)

        monkeypatch.setattr(ResumedFile, "pause", look_and_pause)


async def test_a_hidden_file_is_left_when_no_session_has_it_and_it_is_old(uploads: Uploads) -> None:
    session = await begin(uploads)
    place, inode = session.staged.name, session.staged.inode
    assert not uploads.is_left(place, inode, 2000)
    await uploads.end(session)
    assert uploads.is_left(place, inode, 2000)
    assert not uploads.is_left(place, inode, 500)


@pytest.mark.parametrize("age_s", [0, 2000])
async def test_a_session_goes_on_where_its_file_is_found(uploads: Uploads, changing: Served, age_s: float) -> None:
    """Another program has moved its directory, or a process was killed before the session could follow."""
    session = await begin(uploads)
    await send(uploads, session, b"0123")
    (changing.path / "directory").rename(changing.path / "moved")
    with pytest.raises(NotFound):
        await uploads.offset(session)
    assert not uploads.is_left((b"moved", session.staged.name[-1]), session.staged.inode, age_s)
    found = await uploads.find(session.id)
    assert (found.name, found.staged.name) == ((b"moved", b"new"), (b"moved", session.staged.name[-1]))
    assert await uploads.offset(session) == 4
    await send(uploads, session, b"456789")


async def test_a_copy_of_a_session_s_file_is_not_what_it_goes_on_with(uploads: Uploads, changing: Served) -> None:
    session = await begin(uploads)
    hidden = session.staged.name[-1]
    original = changing.path / "directory" / os.fsdecode(hidden)
    for name, copy in (("a-copy", shutil.copy), ("another-name", os.link)):
        path = changing.path / name / os.fsdecode(hidden)
        path.parent.mkdir()
        copy(original, path)
        assert not uploads.is_left((name.encode(), hidden), path.stat().st_ino, 2000)
        assert (await uploads.find(session.id)).staged == session.staged


async def test_what_was_cancelled_is_durable_before_the_table_is_closed(
    changing_root: Root, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uploads = Uploads(changing_root, Sessions(tmp_path / "closing.sqlite"), 1000)
    session = await begin(uploads, 10)
    writing, never = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with uploads.resume(session, Need(10), is_checked=True) as staged:
            await staged.write(b"01234")
            writing.set()
            await never.wait()

    request = asyncio.ensure_future(write())
    await writing.wait()
    request.cancel()
    await uploads.settle()
    uploads.close()
    await asyncio.wait((request,))
    assert request.cancelled()
    assert not caplog.records


def slow_first(call: Callable[..., int], begun: threading.Event, overtaken: threading.Event) -> Callable[..., int]:
    """Return a write that takes its time when it is the first, unless something overtakes it."""

    def write(fd: int, chunks: list[bytes]) -> int:
        if not begun.is_set():
            begun.set()
            overtaken.wait(0.2)
            return call(fd, chunks)
        count = call(fd, chunks)
        overtaken.set()
        return count

    return write


async def send_until_it_waits(uploads: Uploads, session: Session, *, is_checked: bool = False) -> asyncio.Task[None]:
    """Begin a request that waits for its first batch, and has the second one at hand."""

    async def write() -> None:
        async with uploads.resume(session, Need(session.length), is_checked=is_checked) as staged:
            ready.set()
            await held.wait()
            for batch in BATCHES:
                await staged.write(batch)

    ready, held = asyncio.Event(), asyncio.Event()
    request = asyncio.ensure_future(write())
    await ready.wait()
    held.set()
    return request


async def let_tasks_go_on() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def end_cancelled(request: asyncio.Task[None]) -> None:
    await asyncio.wait((request,))
    assert request.cancelled()
    settle()


async def read_all(uploads: Uploads, session: Session, changing: Served) -> bytes:
    content = changing.path.joinpath(*map(os.fsdecode, session.staged.name)).read_bytes()
    assert await uploads.offset(session) == len(content)
    return content


async def test_a_batch_that_has_not_begun_keeps_its_place_when_the_request_is_cancelled(
    uploads: Uploads, changing: Served
) -> None:
    session, may_go_on = await begin(uploads, 2 * len(BATCHES[0])), threading.Event()
    request = await send_until_it_waits(uploads, session)
    for _ in range(4):  # others have all the threads
        disk.submit_change(may_go_on.wait, 10)
    await let_tasks_go_on()
    request.cancel()
    await let_tasks_go_on()
    may_go_on.set()
    await end_cancelled(request)
    assert await read_all(uploads, session, changing) == b"".join(BATCHES)
    async with uploads.resume(session, Need(session.length)) as staged:
        digests = await staged.finish()
    assert digests is not None
    assert digests.sha256 == hashlib.sha256(b"".join(BATCHES)).digest()


@pytest.mark.parametrize("is_checked", [False, True], ids=["kept", "taken_back"])
async def test_a_batch_that_is_being_written_is_not_overtaken_when_the_request_is_cancelled(
    uploads: Uploads, changing: Served, is_checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, begun, overtaken = await begin(uploads, 2 * len(BATCHES[0])), threading.Event(), threading.Event()
    request = await send_until_it_waits(uploads, session, is_checked=is_checked)
    begin_at = ResumedDraft.begin_at

    def begin_and_tell(draft: ResumedDraft, offset: int) -> None:
        begin_at(draft, offset)
        overtaken.set()

    monkeypatch.setattr(ResumedDraft, "begin_at", begin_and_tell)
    monkeypatch.setattr(os, "writev", slow_first(os.writev, begun, overtaken))
    assert await asyncio.to_thread(begun.wait, 10)
    request.cancel()
    await end_cancelled(request)
    assert await read_all(uploads, session, changing) == (b"" if is_checked else b"".join(BATCHES))


async def test_a_batch_that_fails_when_the_request_was_cancelled_is_no_fault_to_be_logged(
    uploads: Uploads, changing: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    session, begun, never = await begin(uploads, 2 * len(BATCHES[0])), threading.Event(), threading.Event()
    request = await send_until_it_waits(uploads, session)
    monkeypatch.setattr(os, "writev", slow_first(fail, begun, never))
    assert await asyncio.to_thread(begun.wait, 10)
    request.cancel()
    await end_cancelled(request)
    assert await read_all(uploads, session, changing) == b""
    del request
    gc.collect()
    await let_tasks_go_on()
    assert not caplog.records
