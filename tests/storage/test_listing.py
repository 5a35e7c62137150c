import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve import disk
from fileserve.storage import listing
from fileserve.storage.errors import NotDirectory, NotFound, OutsideRoot, StorageError
from fileserve.storage.listing import Entry, Kind, SortKey
from fileserve.storage.root import Root
from tests.storage.conftest import AWKWARD, OpenRoot, Served, content

YEAR_NS = 31_556_952 * 10**9

# name, size, years since 1970; sorted by name
FILES = [
    (b"Alpha", 30, 50),
    (b"alpha", 10, 40),
    (b"ALPHABET", 20, -1),
    (b"beta", 20, 330),  # in 2300: more nanoseconds than 64 bits hold
    (b"Gamma", 5, 0),
    (b"zeta", 20, 45),
]


@pytest.fixture
def sorted_root(tmp_path: Path, open_root: OpenRoot) -> Root:
    """Six files and two directories, made in an order of their own."""
    for name, size, years in sorted(FILES, key=lambda file: file[1:]):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(bytes(size))
        os.utime(path, ns=(years * YEAR_NS, years * YEAR_NS))
    for directory, years in (("Videos", 10), ("audio", 20)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "inner").write_bytes(b"makes no directory larger")
        os.utime(tmp_path / directory, ns=(years * YEAR_NS, years * YEAR_NS))
    return open_root(tmp_path)


async def names_of(root: Root, **how: object) -> list[bytes]:
    return [entry.name for entry in (await root.list((), **how)).entries]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sort", "descending", "expected"),
    [
        pytest.param(
            SortKey.NAME,
            False,
            "audio Videos Alpha alpha ALPHABET beta Gamma zeta",
            id="letters_of_either_case_together",
        ),
        pytest.param(SortKey.NAME, True, "Videos audio zeta Gamma beta ALPHABET alpha Alpha", id="names_descending"),
        pytest.param(
            SortKey.SIZE, False, "audio Videos Gamma alpha ALPHABET beta zeta Alpha", id="equal_sizes_by_name"
        ),
        pytest.param(
            SortKey.SIZE, True, "audio Videos Alpha ALPHABET beta zeta alpha Gamma", id="sizes_descending_equal_by_name"
        ),
        pytest.param(
            SortKey.MODIFIED, False, "Videos audio ALPHABET Gamma alpha zeta Alpha beta", id="from_1969_to_2300"
        ),
        pytest.param(SortKey.MODIFIED, True, "audio Videos beta Alpha zeta alpha Gamma ALPHABET", id="newest_first"),
    ],
)
async def test_directories_come_first_and_each_group_is_sorted(
    sorted_root: Root, sort: SortKey, descending: bool, expected: str
) -> None:
    assert await names_of(sorted_root, sort=sort, descending=descending) == expected.encode().split()


async def test_an_entry_tells_kind_size_and_time(sorted_root: Root) -> None:
    entries = (await sorted_root.list(())).entries
    assert entries[0] == Entry(b"audio", Kind.DIRECTORY, 0, 20 * YEAR_NS)
    assert entries[2] == Entry(b"Alpha", Kind.FILE, 30, 50 * YEAR_NS)


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        pytest.param(0, 3, b"audio Videos Alpha", id="first_page"),
        pytest.param(1, 2, b"Videos Alpha", id="page_over_both_groups"),
        pytest.param(6, 3, b"Gamma zeta", id="last_page"),
        pytest.param(8, 3, b"", id="behind_the_end"),
        pytest.param(0, 0, b"", id="no_entries"),
    ],
)
async def test_a_page_is_part_of_the_whole_order(sorted_root: Root, offset: int, limit: int, expected: bytes) -> None:
    page = await sorted_root.list((), offset=offset, limit=limit)
    assert [entry.name for entry in page.entries] == expected.split()
    assert (page.total, page.offset) == (8, offset)


async def test_what_is_listed_is_what_opens(root: Root, served_root: Served) -> None:
    """FIFO, socket, device, hidden names, and links that lead nowhere or out are not shown."""
    shown = {entry.name: entry for entry in (await root.list(())).entries}
    assert set(AWKWARD.values()) <= set(shown)
    for name in os.listdir(os.fsencode(served_root.path)):
        try:
            entry = None if name.startswith(b".") else await root.stat((name,))
        except StorageError:
            entry = None
        assert shown.get(name) == entry
        if entry and entry.kind is Kind.FILE:
            assert len(await content(root, (name,))) == entry.size


async def test_a_link_is_shown_with_its_targets_size(root: Root) -> None:
    shown = {entry.name: entry for entry in (await root.list(())).entries}
    assert shown[b"link-absolute"].size == len(b"inner")
    assert shown[b"link-directory"].kind is Kind.DIRECTORY
    assert b"out" not in shown


async def test_links_of_a_subdirectory_are_resolved_from_the_root(root: Root) -> None:
    assert [entry.name for entry in (await root.list((b"link-directory",))).entries] == [
        b"deeper",
        b"inner.txt",
        b"link-back",
    ]


async def test_hidden_names_are_listed_where_they_are_wanted(served_root: Served, open_root: OpenRoot) -> None:
    shown = await names_of(open_root(served_root.path, hidden=True))
    assert {b".hidden", b".git"} <= set(shown)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param(b"plain.txt", NotDirectory, id="file"),
        pytest.param(b"link", NotDirectory, id="link_to_a_file"),
        pytest.param(b"fifo", NotDirectory, id="fifo"),
        pytest.param(b"missing", NotFound, id="missing"),
        pytest.param(b".git", NotFound, id="hidden"),
        pytest.param(b"out-directory", OutsideRoot, id="link_out"),
        pytest.param(b"link-dangling", NotFound, id="dangling_link"),
    ],
)
async def test_only_a_directory_beneath_the_root_is_listed(root: Root, name: bytes, error: type[StorageError]) -> None:
    with pytest.raises(error):
        await root.list((name,))


def swap_for_a_link_out(path: Path) -> None:
    path.unlink()
    path.symlink_to(__file__)


def swap_for_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("sort", SortKey)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(Path.unlink, id="vanished"),
        pytest.param(swap_for_a_link_out, id="swapped_for_a_link_out"),
        pytest.param(swap_for_a_fifo, id="swapped_for_a_fifo"),
    ],
)
async def test_what_can_no_longer_be_opened_after_the_scan_is_left_out(
    sorted_root: Root,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sort: SortKey,
    change: Callable[[Path], None],
) -> None:
    scan = listing._scan

    def scan_and_change(*arguments: Any) -> tuple[list[bytes], list[bytes]]:
        found = scan(*arguments)
        change(tmp_path / "beta")
        return found

    monkeypatch.setattr(listing, "_scan", scan_and_change)
    page = await sorted_root.list((), sort=sort)
    assert sorted(entry.name for entry in page.entries) == sorted(
        b"audio Videos Alpha alpha ALPHABET Gamma zeta".split()
    )
    assert page.total == 8


@given(st.lists(st.binary(min_size=1, max_size=4) | st.text("aAbB", min_size=1).map(str.encode), unique=True))
def test_names_are_ordered_by_lower_case_and_then_by_bytes(names: list[bytes]) -> None:
    expected = sorted(names, key=lambda name: (name.lower(), name))
    listing._sort(names, SortKey.NAME, False, lambda name: None)
    assert names == expected


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 20,000 files with names of 40 bytes in mixed case."""
    path = tmp_path_factory.mktemp("crowded")
    for number in range(20_000):
        os.close(os.open(path / f"Recording-{number * 7919 % 20_000:05d}-of-a-long-series-x.WAV", os.O_CREAT))
    return path


@pytest.mark.parametrize("sort", SortKey)
async def test_a_large_directory_takes_less_than_200_bytes_a_name_and_one_job(
    crowded: Path, monkeypatch: pytest.MonkeyPatch, sort: SortKey
) -> None:
    submit, jobs = disk.submit, 0

    def count_and_submit(*job: Any) -> Future[Any]:
        nonlocal jobs
        jobs += 1
        return submit(*job)

    monkeypatch.setattr(disk, "submit", count_and_submit)
    root = Root(crowded)
    tracemalloc.start()
    try:
        page = await root.list((), sort=sort, offset=19_000)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        root.close()
    assert (len(page.entries), page.total, jobs) == (1000, 20_000, 1)
    assert peak / 20_000 < 200
