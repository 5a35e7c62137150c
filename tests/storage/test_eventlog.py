"""The log of events: order, numbers, what it forgets, and files that are damaged, deleted or cannot be written."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fileserve.storage.errors import Unreadable
from fileserve.storage.eventlog import EventLog, RowsForgotten

MANY = 1_000_000
OpenLog = Callable[..., EventLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.sqlite"


@pytest.fixture
def open_log(path: Path) -> Iterator[OpenLog]:
    logs: list[EventLog] = []

    def open_one(where: Path | None = path, max_rows: int = 1000) -> EventLog:
        logs.append(EventLog(where, max_rows=max_rows))
        return logs[-1]

    yield open_one
    for log in logs:
        log.close()


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, open_log: OpenLog, path: Path) -> EventLog:
    return open_log(path if request.param == "file" else None)


def data_after(log: EventLog, row: int, *topics: str, limit: int = MANY) -> list[str]:
    return [found.data for found in log.after(row, topics or ("a", "b"), limit)]


def test_rows_come_in_their_order(log: EventLog) -> None:
    log.add([("a", "1"), ("b", "2")])
    log.add([("a", "3")])
    rows = log.after(0, ("a", "b"), MANY)
    assert [(row.topic, row.data) for row in rows] == [("a", "1"), ("b", "2"), ("a", "3")]
    assert [row.id for row in rows] == sorted({row.id for row in rows})
    assert log.newest() == rows[-1].id
    assert list(log.news(0, MANY).rows) == rows


def test_rows_of_other_topics_and_before_the_number_are_left_out(log: EventLog) -> None:
    log.add([("a", "1"), ("b", "2"), ("a", "3")])
    first = log.after(0, ("a", "b"), 1)[0]
    assert data_after(log, first.id) == ["2", "3"]
    assert data_after(log, 0, "a") == ["1", "3"]
    assert data_after(log, 0, "a", limit=1) == ["1"]
    assert data_after(log, 0, "c") == []


def test_the_last_rows_come_in_their_order_too(log: EventLog) -> None:
    log.add([("a", str(number)) for number in range(10)] + [("b", "other")])
    assert [row.data for row in log.last("a", 3)] == ["7", "8", "9"]
    assert [row.data for row in log.last("a", 3, lambda row: row.data in "2468")] == ["4", "6", "8"]
    assert log.last("a", 0) == []


def test_an_empty_log_has_no_newest_row(log: EventLog) -> None:
    assert log.newest() == 0


def test_a_number_is_the_time_or_later(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """So numbers grow also where the clock goes back, or where a new file knows nothing of the old one's numbers."""
    before_us = time.time_ns() // 1000
    log.add([("a", "1")])
    assert before_us <= log.newest() <= time.time_ns() // 1000
    newest = log.newest()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    log.add([("a", "2"), ("a", "3")])
    assert log.newest() == newest + 2


def test_each_topic_forgets_its_oldest_rows(open_log: OpenLog) -> None:
    """Those of a topic with few rows stay, whatever comes under the others."""
    log = open_log(max_rows=32)
    log.add([("b", "rare")])
    for number in range(500):
        log.add([("a", str(number))])
    kept = [row.data for row in log.last("a", MANY)]
    assert kept == [str(number) for number in range(500 - len(kept), 500)]
    assert 32 <= len(kept) <= 32 + 32 // 16 + 1
    assert data_after(log, 0, "b") == ["rare"]


def test_who_was_away_for_too_long_is_told(open_log: OpenLog) -> None:
    log = open_log(max_rows=32)
    log.add([("a", "0"), ("b", "0")])
    away = log.newest()
    for number in range(1, 100):
        log.add([("a", str(number))])
    with pytest.raises(RowsForgotten) as forgotten:
        log.after(away, ("a", "b"), MANY)
    assert data_after(log, forgotten.value.row, "a") == [row.data for row in log.last("a", MANY)]
    assert data_after(log, away, "b") == []
    assert log.news(away, MANY).forgotten == {"a": forgotten.value.row}


def test_a_restart_keeps_rows_numbers_and_boot(open_log: OpenLog) -> None:
    before = open_log()
    before.add([("a", "1")])
    newest, boot = before.newest(), before.boot
    before.close()
    log = open_log()
    assert (log.boot, log.newest()) == (boot, newest)
    log.add([("a", "2")])
    assert data_after(log, newest) == ["2"]


ADD_MANY = """
import pathlib, sys
from fileserve.storage.eventlog import EventLog
log = EventLog(pathlib.Path(sys.argv[1]), max_rows=10_000)
for number in range(100):
    log.add([("a", f"{sys.argv[2]} {number}"), ("a", f"{sys.argv[2]} and")])
log.close()
"""


def test_processes_add_at_once_and_a_reader_misses_and_doubles_nothing(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    command = [sys.executable, "-W", "error", "-c", ADD_MANY, str(path)]
    processes = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(3)]
    found: list[str] = []
    row = 0
    while len(found) < 600:
        running = any(process.poll() is None for process in processes)
        rows = log.after(row, ("a",), 7)
        found += [row.data for row in rows]
        row = rows[-1].id if rows else row
        assert running or rows or len(found) == 600
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    for number in range(3):
        of_one = [data for data in found if data.startswith(f"{number} ") and not data.endswith("and")]
        assert of_one == [f"{number} {count}" for count in range(100)]


def damage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def delete(path: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def delete_all(path: Path) -> None:
    delete(path)
    path.parent.rmdir()


def become_another_version(path: Path) -> None:
    delete(path)
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE events (something); PRAGMA user_version = 99")


@pytest.mark.parametrize("harm", [damage, delete, delete_all, become_another_version])
def test_a_file_that_is_lost_between_two_starts_is_begun_anew(
    open_log: OpenLog, path: Path, harm: Callable[[Path], None]
) -> None:
    before = open_log()
    before.add([("a", "lost")])
    boot, newest = before.boot, before.newest()
    before.close()
    harm(path)
    log = open_log()
    log.add([("a", "kept")])
    assert log.boot != boot
    assert data_after(log, newest) == ["kept"]


@pytest.mark.parametrize("harm", [delete, delete_all])
def test_a_file_that_is_deleted_under_two_processes_is_made_anew_once(
    open_log: OpenLog, path: Path, harm: Callable[[Path], None]
) -> None:
    """Both find each other again in the new one, which has another boot; and the numbers go on."""
    one, other = open_log(), open_log()
    one.add([("a", "lost")])
    boot, newest = one.boot, one.newest()
    harm(path)
    one.add([("a", "1")])
    other.add([("a", "2")])
    assert data_after(one, newest) == data_after(other, newest) == ["1", "2"]
    assert one.boot == other.boot != boot


def test_what_is_written_is_for_this_user_alone(open_log: OpenLog, path: Path) -> None:
    """It tells who downloads what."""
    open_log().add([("a", "1")])
    found = list(path.parent.iterdir())
    assert len(found) == 3
    assert [file.stat().st_mode & 0o077 for file in found] == [0, 0, 0]


@pytest.mark.parametrize("name", ["", "file/events.sqlite"], ids=["a_directory", "beneath_a_file"])
def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreadable, match="events"):
        EventLog(tmp_path / name, max_rows=100)


def test_a_lock_held_for_long_is_an_error_and_nothing_is_added(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    log._writer._connection.execute("PRAGMA busy_timeout = 1")  # type: ignore[union-attr]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unreadable):
            log.add([("a", "1")])
        assert data_after(log, 0) == []  # readers do not wait
        other.execute("ROLLBACK")
    log.add([("a", "2")])
    assert data_after(log, 0) == ["2"]


def test_a_closed_log_is_unreadable(log: EventLog) -> None:
    log.close()
    with pytest.raises(Unreadable):
        log.newest()


def test_descriptors_do_not_pile_up_over_deletions(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        delete(path)
        log.add([("a", "1")])
        assert data_after(log, 0) == ["1"]
    assert len(os.listdir("/dev/fd")) <= before
