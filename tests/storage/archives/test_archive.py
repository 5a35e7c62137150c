"""Archives: spans, members that change, sums that come late, what is kept, and limits."""

import asyncio
import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fileserve.storage.archives import archive as archive_module
from fileserve.storage.archives.archive import Archives, Format
from fileserve.storage.archives.scan import scan_tree
from fileserve.storage.errors import Busy, ContentChanged, InvalidName, NotFound, TooManyMembers
from fileserve.storage.reader import FileRegion
from fileserve.storage.root import Root
from tests.storage.archiving import Sums, archives_of, opened, span_of, whole
from tests.storage.conftest import Served

BOTH = pytest.mark.parametrize("form", list(Format))
LARGE = 200_000


@pytest.fixture
def folder(changing: Served) -> Path:
    """Two large members, with small ones around them."""
    for name, size in {"a": 10, "b-large": LARGE, "c": 10, "d-large": LARGE + 1, "e": 0}.items():
        changing.write(f"folder/{name}".encode(), os.urandom(size))
    return changing.path / "folder"


@BOTH
async def test_large_members_are_regions_and_the_rest_is_joined(
    folder: Path, changing_root: Root, form: Format
) -> None:
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        parts = [
            (part.offset, part.count) if isinstance(part, FileRegion) else "bytes"
            async for part in archive.regions(0, archive.length)
        ]
    feet = ["bytes", "bytes"] if form is Format.ZIP else ["bytes"]  # what stands before a sum does not wait for it
    assert [part for part in parts if part != "bytes"] == [(0, LARGE), (0, LARGE + 1)]
    assert len(parts) <= 5 + len(feet)


@BOTH
async def test_one_member_is_open_at_a_time(folder: Path, changing_root: Root, form: Format) -> None:
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        regions = [part.file async for part in archive.regions(0, archive.length) if isinstance(part, FileRegion)]
        for file in regions:
            with pytest.raises(ValueError, match="closed"):
                _ = file.fd


@BOTH
@pytest.mark.parametrize("is_begun", [False, True])
async def test_closing_closes_the_member_and_may_be_repeated(
    folder: Path, changing_root: Root, form: Format, is_begun: bool
) -> None:
    archive = await archives_of(changing_root).open((b"folder",), form)
    parts = archive.regions(0, archive.length)
    file = None
    async for part in parts:
        if isinstance(part, FileRegion):
            file = part.file
            break
        if not is_begun:
            break
    archive.close()
    archive.close()
    assert (file is not None) is is_begun
    if file is not None:
        with pytest.raises(ValueError, match="closed"):
            _ = file.fd
    await parts.aclose()


def _shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _rewrite(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _replace(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(status.st_size))
    os.utime(other, ns=(0, status.st_mtime_ns))
    other.replace(path)


def _swap_for_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("../../outside/secret.txt")


CHANGES = pytest.mark.parametrize("change", [_shrink, _grow, _rewrite, _replace, Path.unlink, _swap_for_a_link])


@BOTH
@CHANGES
@pytest.mark.parametrize("member", ["a", "b-large", "d-large"])
async def test_a_member_that_changed_since_the_opening_breaks_off(
    folder: Path, changing_root: Root, form: Format, change: Callable[[Path], None], member: str
) -> None:
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        change(folder / member)
        with pytest.raises(ContentChanged, match=f"{member} changed"):
            await span_of(archive)


@BOTH
@pytest.mark.parametrize("change", [_shrink, _rewrite])
async def test_a_member_that_changes_while_it_is_sent_breaks_off_before_the_next(
    folder: Path, changing_root: Root, form: Format, change: Callable[[Path], None]
) -> None:
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        parts = archive.regions(0, archive.length)
        while not isinstance(await anext(parts), FileRegion):
            pass
        change(folder / "b-large")
        with pytest.raises(ContentChanged, match="b-large changed"):
            await anext(parts)


@BOTH
async def test_the_open_member_is_what_check_unchanged_looks_at(
    folder: Path, changing_root: Root, form: Format
) -> None:
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        archive.check_unchanged()
        parts = archive.regions(0, archive.length)
        async for part in parts:
            if isinstance(part, FileRegion):
                break
        archive.check_unchanged()
        _shrink(folder / "b-large")
        with pytest.raises(ContentChanged, match="b-large changed"):
            archive.check_unchanged()
        await parts.aclose()


async def test_what_stands_before_a_sum_is_sent_while_it_is_computed(folder: Path, changing_root: Root) -> None:
    sums = Sums()
    sums.gate.clear()
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        parts = archive.regions(0, archive.length)
        sent = 0
        async for part in parts:
            sent += len(part) if isinstance(part, bytes) else part.count
            if isinstance(part, FileRegion):
                break
        assert sent > LARGE
        waiting = asyncio.ensure_future(anext(parts))
        await sums.begun.wait()
        assert not waiting.done()
        sums.gate.set()
        assert isinstance(await waiting, bytes)
        await parts.aclose()


async def test_each_sum_is_computed_once_and_small_members_need_none(folder: Path, changing_root: Root) -> None:
    sums = Sums()
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        content = await span_of(archive)
        assert sums.asked == [LARGE, LARGE + 1]
        assert await span_of(archive, 7) == content[7:]
        assert sums.asked == [LARGE, LARGE + 1]


async def test_a_known_sum_is_not_computed(folder: Path, changing_root: Root) -> None:
    sums = Sums()
    for path in folder.glob("*-large"):
        sums.known[path.stat().st_ino] = zlib.crc32(path.read_bytes())
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        content = await span_of(archive)
    assert (content, sums.asked) == (await whole(changing_root, b"folder", form=Format.ZIP), [])


async def test_a_range_computes_no_sum_that_it_does_not_show(folder: Path, changing_root: Root) -> None:
    sums = Sums()
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        await span_of(archive, 300, LARGE)
    assert sums.asked == []


async def test_closing_ends_the_reading_ahead(folder: Path, changing_root: Root) -> None:
    sums, before = Sums(), asyncio.all_tasks()
    sums.gate.clear()
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        parts = archive.regions(0, archive.length)
        await anext(parts)
        await sums.begun.wait()
        (task,) = asyncio.all_tasks() - before
        await parts.aclose()
    await asyncio.wait({task}, timeout=10)
    assert (task.cancelled(), sums.cancelled) == (True, 1)


async def test_sums_that_are_refused_for_now_are_asked_for_again(
    folder: Path, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileserve.storage.archives.readahead._BUSY_S", 0)
    expected = await whole(changing_root, b"folder", form=Format.ZIP)
    sums, refusals = Sums(), [Busy("busy"), Busy("busy")]
    compute = sums.crc32

    async def refuse_at_first(*arguments: object) -> int:
        if refusals:
            raise refusals.pop()
        return await compute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sums, "crc32", refuse_at_first)
    async with opened(archives_of(changing_root, sums), b"folder", form=Format.ZIP) as archive:
        assert await span_of(archive) == expected


@BOTH
async def test_read_is_a_slice_and_ends_with_the_archive(folder: Path, changing_root: Root, form: Format) -> None:
    content = await whole(changing_root, b"folder", form=form)
    async with opened(archives_of(changing_root), b"folder", form=form) as archive:
        assert await archive.read(100, LARGE) == content[100 : 100 + LARGE]
        assert await archive.read(len(content) - 5, 10) == content[-5:]
        assert await archive.read(0, 0) == b""


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How often a directory is read; everything counts as settled."""
    found: list[object] = []

    def scan_and_count(*arguments: object) -> object:
        found.append(arguments)
        return scan_tree(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_module, "scan_tree", scan_and_count)
    monkeypatch.setattr(archive_module, "_SETTLED_NS", 0)
    return found


@BOTH
async def test_an_unchanged_directory_is_read_once(
    folder: Path, changing_root: Root, form: Format, scans: list[object]
) -> None:
    archives = archives_of(changing_root)
    async with opened(archives, b"folder", form=form) as first, opened(archives, b"folder", form=form) as second:
        assert (len(scans), first.identity, first.length) == (1, second.identity, second.length)
        assert await span_of(first) == await span_of(second)
        (folder / "a").write_bytes(b"another thing")
        async with opened(archives, b"folder", form=form) as third:
            assert (len(scans), third.identity != first.identity) == (2, True)
            assert third.mtime_ns == (folder / "a").stat().st_mtime_ns
    archives.close()
    async with opened(archives, b"folder", form=form):
        assert len(scans) == 3


@pytest.mark.parametrize(("cache", "expected"), [pytest.param(0, 4, id="none"), pytest.param(4500, 3, id="one")])
async def test_what_is_kept_is_limited(
    folder: Path, changing_root: Root, scans: list[object], cache: int, expected: int
) -> None:
    archives = archives_of(changing_root, cache=cache)
    for name in (b"folder", b"folder", b"directory", b"folder"):
        async with opened(archives, name):
            pass
    assert len(scans) == expected


async def test_a_directory_that_changed_a_moment_ago_is_not_kept(
    folder: Path, changing_root: Root, scans: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "_SETTLED_NS", 10**18)
    archives = archives_of(changing_root)
    for _ in range(2):
        async with opened(archives, b"folder"):
            pass
    assert len(scans) == 2


async def test_patterns_and_formats_are_archives_of_their_own(folder: Path, changing_root: Root) -> None:
    archives = archives_of(changing_root)
    found = set()
    for form in Format:
        for include, exclude in (((), ()), (("a",), ()), ((), ("a",))):
            archive = await archives.open((b"folder",), form, include=include, exclude=exclude)
            found.add(archive.identity)
            archive.close()
    assert len(found) == 6


@pytest.mark.parametrize(
    ("name", "include", "error"),
    [
        pytest.param((b"missing",), (), NotFound, id="missing"),
        pytest.param((b"..",), (), InvalidName, id="climbing"),
        pytest.param((b"folder",), ("",), InvalidName, id="bad_pattern"),
        pytest.param((), (), TooManyMembers, id="too_many_members"),
    ],
)
async def test_refusals(
    folder: Path, changing_root: Root, name: tuple[bytes, ...], include: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await archives_of(changing_root, max_members=6).open(name, Format.TAR, include=include)


async def test_more_archives_than_may_wait_are_refused(
    folder: Path, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def scan_later(*arguments: object) -> object:
        gate.wait(30)
        return scan_tree(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archive_module, "scan_tree", scan_later)
    monkeypatch.setattr(archive_module, "_WAITING", 3)
    archives = Archives(changing_root, Sums(), max_members=100, builds=1, cache_bytes=0)
    waiting = [asyncio.ensure_future(archives.open((b"folder",), Format.TAR)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await archives.open((b"folder",), Format.TAR)
    gate.set()
    for archive in await asyncio.gather(*waiting):
        archive.close()
    (await archives.open((b"folder",), Format.TAR)).close()


async def test_a_client_that_leaves_ends_the_reading_of_the_directory(
    folder: Path, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, left, ended = threading.Event(), threading.Event(), threading.Event()

    def scan_later(*arguments: object) -> object:
        begun.set()
        left.wait(30)
        try:
            return scan_tree(*arguments)  # type: ignore[arg-type]
        except Busy:
            ended.set()
            raise

    monkeypatch.setattr(archive_module, "scan_tree", scan_later)
    waiting = asyncio.ensure_future(archives_of(changing_root).open((b"folder",), Format.TAR))
    await asyncio.to_thread(begun.wait, 30)
    waiting.cancel()
    await asyncio.wait({waiting})
    left.set()
    assert await asyncio.to_thread(ended.wait, 30)
