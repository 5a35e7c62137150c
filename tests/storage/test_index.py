"""The index of digests: what it finds, what it forgets, who shares it, and what it does when it fails."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fileserve.storage import database
from fileserve.storage.errors import Unreadable
from fileserve.storage.index import Digests, Index, Pieces
from fileserve.storage.reader import FileStatus

STATUS = FileStatus(size=10, mtime_ns=20, ctime_ns=30, inode=40, mode=0o100644)
DIGESTS = Digests(bytes(32), 0xFFFFFFFF)
PIECES = Pieces(1 << 20, (b"a" * 32, b"b" * 32))

OpenIndex = Callable[..., Index]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "index.sqlite3"


@pytest.fixture
def open_index(path: Path) -> Iterator[OpenIndex]:
    indexes: list[Index] = []

    def open_one(where: Path | None = path, max_rows: int = 1000) -> Index:
        indexes.append(Index(where, max_rows=max_rows))
        return indexes[-1]

    yield open_one
    for index in indexes:
        index.close()


@pytest.fixture(params=["file", "memory"])
def index(request: pytest.FixtureRequest, open_index: OpenIndex, path: Path) -> Index:
    return open_index(path if request.param == "file" else None)


def file(number: int) -> FileStatus:
    return STATUS._replace(inode=number)


def test_what_is_stored_is_found(index: Index) -> None:
    assert index.find(STATUS) is None
    assert index.find_pieces(STATUS) is None
    index.store(STATUS, DIGESTS)
    index.store_pieces(STATUS, PIECES)
    assert index.find(STATUS) == DIGESTS
    assert index.find_pieces(STATUS) == PIECES


@pytest.mark.parametrize("part", ["inode", "size", "mtime_ns", "ctime_ns"])
def test_another_state_is_another_file(index: Index, part: str) -> None:
    other = STATUS._replace(**{part: 99})
    index.store(STATUS, DIGESTS)
    index.store_pieces(STATUS, PIECES)
    assert index.find(other) is None
    assert index.find_pieces(other) is None


def test_a_mode_is_no_part_of_the_state(index: Index) -> None:
    """What changes the mode changes the ctime."""
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS._replace(mode=0)) == DIGESTS


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(STATUS._replace(inode=2**64 - 1), id="inode_of_64_bits"),
        pytest.param(STATUS._replace(mtime_ns=2**63 + 1), id="mtime_after_2262"),
        pytest.param(STATUS._replace(mtime_ns=-(2**62)), id="mtime_before_1970"),
        pytest.param(STATUS._replace(size=2**63 - 1), id="size_of_8_eib"),
        pytest.param(STATUS._replace(size=0), id="empty_file"),
    ],
)
def test_extreme_states_are_kept(index: Index, status: FileStatus) -> None:
    index.store(status, DIGESTS)
    assert index.find(status) == DIGESTS


def test_a_sha512_that_is_known_stays(index: Index) -> None:
    index.store(STATUS, replace(DIGESTS, sha512=bytes(64)))
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS) == replace(DIGESTS, sha512=bytes(64))


def test_a_sha512_that_comes_later_is_added(index: Index) -> None:
    index.store(STATUS, DIGESTS)
    index.store(STATUS, replace(DIGESTS, sha512=bytes(64)))
    assert index.find(STATUS) == replace(DIGESTS, sha512=bytes(64))


def test_an_empty_file_has_no_pieces(index: Index) -> None:
    index.store_pieces(STATUS, Pieces(1 << 20, ()))
    assert index.find_pieces(STATUS) == Pieces(1 << 20, ())


def test_rows_stored_first_go_first(open_index: OpenIndex) -> None:
    index = open_index(max_rows=3)
    for number in (1, 2, 3, 1, 4):
        index.store(file(number), DIGESTS)
    assert [number for number in range(6) if index.find(file(number))] == [2, 3, 4]


def test_pieces_are_fewer(open_index: OpenIndex) -> None:
    index = open_index(max_rows=2 * 64)
    for number in range(5):
        index.store_pieces(file(number), PIECES)
    assert [number for number in range(5) if index.find_pieces(file(number))] == [3, 4]


def test_a_restart_forgets_nothing(open_index: OpenIndex) -> None:
    before = open_index()
    before.store(STATUS, DIGESTS)
    before.close()
    assert open_index().find(STATUS) == DIGESTS


def test_two_indexes_of_one_file_share_it(open_index: OpenIndex) -> None:
    one, other = open_index(), open_index()
    one.store(STATUS, DIGESTS)
    assert other.find(STATUS) == DIGESTS
    other.store(STATUS, DIGESTS)
    assert one.find(STATUS) == DIGESTS


def test_threads_share_one_index(index: Index) -> None:
    def store_and_find(number: int) -> Digests | None:
        index.store(file(number), replace(DIGESTS, crc32=number))
        return index.find(file(number))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store_and_find, range(400)))
    assert found == [replace(DIGESTS, crc32=number) for number in range(400)]


STORE_MANY = """
import pathlib, sys
from fileserve.storage.index import Digests, Index
from fileserve.storage.reader import FileStatus
index = Index(pathlib.Path(sys.argv[1]), max_rows=1000)
for number in range(200):
    index.store(FileStatus(10, 20, 30, number, 0), Digests(bytes(32), number))
index.close()
"""


def test_processes_store_the_same_files_at_once(open_index: OpenIndex, path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", STORE_MANY, str(path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    index = open_index()
    assert [index.find(file(number)) for number in range(200)] == [Digests(bytes(32), n) for n in range(200)]


def test_processes_set_a_damaged_file_aside_once(open_index: OpenIndex, path: Path) -> None:
    """One makes it anew; what the others stored in the new one is there at the end."""
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)
    command = [sys.executable, "-c", STORE_MANY.replace("range(200)", "range(int(sys.argv[2]), 200, 3)"), str(path)]
    processes = [subprocess.Popen([*command, str(start)], stderr=subprocess.PIPE) for start in range(3)]
    said = b"".join(process.communicate()[1] for process in processes)
    assert said.count(b"set aside") == 1
    assert all(open_index().find(file(number)) for number in (0, 1, 2, 197, 198, 199))


FORK = """
import os, pathlib, sys
from fileserve.storage.index import Digests, Index
from fileserve.storage.reader import FileStatus
status = FileStatus(10, 20, 30, 40, 0)
index = Index(pathlib.Path(sys.argv[1]), max_rows=10)
index.store(status, Digests(bytes(32), 1))
index._database._lock.acquire()  # as another thread may hold it at the fork
child = os.fork()
if not child:
    os._exit(0 if index.find(status) else 1)
index._database._lock.release()
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert index.find(status)
index.close()
sys.exit(code)
"""


def test_a_forked_child_opens_its_own_connection(path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORK, str(path)], check=True, timeout=60)


def damaged(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE digests (something); PRAGMA user_version = 99")


def of_somebody_else(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE something (else_ TEXT)")


@pytest.mark.parametrize("unusable", [damaged, of_another_version, of_somebody_else])
def test_an_unusable_file_is_set_aside(
    open_index: OpenIndex, path: Path, unusable: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    unusable(path)
    before = path.read_bytes()
    index = open_index()
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS) == DIGESTS
    assert path.with_name("index.sqlite3.set-aside").read_bytes() == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_empty_file_is_made_an_index(open_index: OpenIndex, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.touch()
    open_index().store(STATUS, DIGESTS)
    assert open_index().find(STATUS) == DIGESTS
    assert not caplog.records


def test_damage_found_later_is_mended(open_index: OpenIndex, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = open_index()
    for number in range(500):
        index.store(file(number), DIGESTS)
    index.close()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xaa" * (len(content) - 4096))  # the first page, which opening reads, is whole
    index = open_index()
    assert index.find(file(0)) is None
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS) == DIGESTS
    assert path.with_name("index.sqlite3.set-aside").exists()
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_file_put_in_its_place_by_another_process_is_opened(open_index: OpenIndex, path: Path) -> None:
    index = open_index()
    path.rename(path.with_name("set-aside"))
    other = open_index()
    index.check()
    other.store(STATUS, DIGESTS)
    assert index.find(STATUS) == DIGESTS


def test_a_lock_held_for_long_is_a_miss_with_one_warning(
    open_index: OpenIndex, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 1)
    index = open_index()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        index.store(STATUS, DIGESTS)
        index.store(STATUS, DIGESTS)
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        other.execute("ROLLBACK")
    assert index.find(STATUS) is None
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS) == DIGESTS


def test_readers_do_not_wait_for_a_writer(open_index: OpenIndex, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = open_index()
    index.store(STATUS, DIGESTS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert index.find(STATUS) == DIGESTS
    assert not caplog.records


def test_a_full_disk_is_a_miss(open_index: OpenIndex, caplog: pytest.LogCaptureFixture) -> None:
    index = open_index()
    with index._database.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    index.store_pieces(STATUS, Pieces(1, (bytes(32),) * 4096))
    assert index.find_pieces(STATUS) is None
    assert "full" in caplog.text


@pytest.mark.parametrize("name", ["", "file/index.sqlite3", "file"], ids=["a_directory", "beneath_a_file", "read_only"])
def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    with closing(sqlite3.connect(tmp_path / "file")) as other:
        other.execute("PRAGMA user_version = 1")
    path = tmp_path / name
    if name == "file":
        path = Path("/proc/version")  # the superuser writes everywhere else
    with pytest.raises(Unreadable, match="index"):
        Index(path, max_rows=1)


def test_a_closed_index_finds_nothing_and_says_nothing(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    index.store(STATUS, DIGESTS)
    index.close()
    index.store(STATUS, DIGESTS)
    assert index.find(STATUS) is None
    assert not caplog.records
