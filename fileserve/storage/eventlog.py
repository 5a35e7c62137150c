"""``EventLog``: rows of text under topics, in the order in which any process on this machine has added them.

A row's number is the time of its adding in microseconds, or one more than the newest row's where that is later. So
numbers grow in every case: also when the power failed and took the newest rows along, and when the file was deleted
and made anew. ``boot`` tells one file from the next: it is random, and made with the tables.

Strategy: each topic keeps its newest rows, and the number of the newest that it has forgotten, so that a reader who
was away for too long learns of it. A file that was deleted or replaced is noticed at the next use, and opened anew.

Left out: who is told of new rows. How SQLite is opened, shared and mended is ``database``'s.
"""

import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fileserve.storage.database import Database, is_damage
from fileserve.storage.errors import Unreadable

__all__ = ["EventLog", "News", "Row", "RowsForgotten"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_topic ON events (topic, id);
CREATE TABLE IF NOT EXISTS forgotten (topic TEXT PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS boot (id TEXT NOT NULL);
INSERT INTO boot SELECT lower(hex(randomblob(6))) WHERE NOT EXISTS (SELECT 1 FROM boot)
"""
_BOOT = "SELECT id FROM boot"
_ADD = "INSERT INTO events VALUES (max(?, (SELECT coalesce(max(id), 0) + 1 FROM events)), ?, ?)"
_NEWEST = "SELECT coalesce(max(id), 0) FROM events"
_AFTER = "SELECT id, topic, data FROM events WHERE id > ?{topics} ORDER BY id LIMIT ?"
_LAST = "SELECT id, topic, data FROM events WHERE topic = ? ORDER BY id DESC"
_TO_FORGET = "SELECT id FROM events WHERE topic = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
_FORGET = "DELETE FROM events WHERE topic = ? AND id <= ?"
_HAVE_FORGOTTEN = "INSERT INTO forgotten VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET id = excluded.id"
_FORGOTTEN = "SELECT topic, id FROM forgotten WHERE id > ?"

_SLACK = 16  # a topic may have this part of its rows too many, so that not every adding looks for the oldest


@dataclass(frozen=True, slots=True)
class Row:
    """What was added: its number, its topic, and one line of text."""

    id: int
    topic: str
    data: str


@dataclass(frozen=True, slots=True)
class News:
    """The *rows* after a number; and of each topic that has *forgotten* such rows, the newest of those."""

    rows: Sequence[Row]
    forgotten: dict[str, int]


class RowsForgotten(Exception):
    """Rows that were asked for are no longer kept; those after *row* are."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class EventLog:
    """The rows in the file *path*, or in memory; about *max_rows* of each topic.

    All methods block, for a millisecond as a rule and for half a second while another process writes, and may be called
    by any thread. They raise ``Unreadable`` when the file cannot be opened, read or written.
    """

    __slots__ = ("_grown", "_max_rows", "_opened", "_path", "_reader", "_writer", "boot")

    def __init__(self, path: Path | None, *, max_rows: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._grown: Counter[str] = Counter()
        with _failures():
            self._writer = Database(path, _SCHEMA, _VERSION)
            # A writer that waits for another process's lock must not make those wait who only read.
            self._reader = Database(path, _SCHEMA, _VERSION) if path else self._writer
        self._opened = _inode_of(path)
        self.boot = ""
        self.newest()

    def add(self, rows: Sequence[tuple[str, str]]) -> None:
        """Add topic and data of each, all of them or none."""
        now_us = time.time_ns() // 1000
        with self._transaction(self._writer) as connection:
            connection.executemany(_ADD, [(now_us, topic, data) for topic, data in rows])
            self._grown.update(topic for topic, _ in rows)
            for topic in [topic for topic, count in self._grown.items() if count > self._max_rows // _SLACK]:
                self._grown[topic] = 0
                _forget_oldest(connection, topic, self._max_rows)

    def newest(self) -> int:
        """Return the number of the newest row; 0: there is none."""
        with self._transaction(self._reader) as connection:
            newest: int = connection.execute(_NEWEST).fetchone()[0]
            return newest

    def after(self, row: int, topics: Collection[str], limit: int) -> Sequence[Row]:
        """Return the first *limit* rows of *topics* after *row*. Raises ``RowsForgotten`` where some are gone."""
        among = f" AND topic IN ({','.join('?' * len(topics))})"
        with self._transaction(self._reader) as connection:
            found = connection.execute(_AFTER.format(topics=among), (row, *topics, limit)).fetchall()
            forgotten = dict(connection.execute(_FORGOTTEN, (row,)))
        gone = [forgotten[topic] for topic in topics if topic in forgotten]
        if gone:
            raise RowsForgotten(max(gone))
        return [Row(*values) for values in found]

    def news(self, row: int, limit: int) -> News:
        """Return the first *limit* rows of any topic after *row*, and what is gone of those."""
        with self._transaction(self._reader) as connection:
            found = connection.execute(_AFTER.format(topics=""), (row, limit)).fetchall()
            return News([Row(*values) for values in found], dict(connection.execute(_FORGOTTEN, (row,))))

    def last(self, topic: str, count: int, wanted: Callable[[Row], bool] | None = None) -> Sequence[Row]:
        """Return the last *count* rows of *topic* that are *wanted*, in their order; without *wanted*, any."""
        rows: list[Row] = []
        with self._transaction(self._reader) as connection:
            found = connection.execute(_LAST, (topic,))
            while len(rows) < count and (values := found.fetchone()):
                row = Row(*values)
                if wanted is None or wanted(row):
                    rows.append(row)
        return rows[::-1]

    def close(self) -> None:
        """Close the file. Afterwards everything is ``Unreadable``."""
        self._reader.close()
        self._writer.close()

    @contextmanager
    def _transaction(self, database: Database) -> Iterator[sqlite3.Connection]:
        self._look_for_another_file()
        with _failures(self._doubt), database.transaction() as connection:
            yield connection
            self.boot = connection.execute(_BOOT).fetchone()[0]  # last: a transaction that writes begins with that

    def _look_for_another_file(self) -> None:
        """Open the file anew where it was deleted, or another process has set it aside."""
        found = _inode_of(self._path)
        if self._path is not None and not self._writer.closed and (found is None or found != self._opened):
            self._doubt()
            with _failures(), self._writer.transaction():
                self._opened = _inode_of(self._path)

    def _doubt(self) -> None:
        self._writer.doubt()
        self._reader.doubt()


def _forget_oldest(connection: sqlite3.Connection, topic: str, max_rows: int) -> None:
    newest = connection.execute(_TO_FORGET, (topic, max_rows)).fetchone()
    if newest is not None:
        connection.execute(_FORGET, (topic, *newest))
        connection.execute(_HAVE_FORGOTTEN, (topic, *newest))


def _inode_of(path: Path | None) -> int | None:
    try:
        return os.stat(path).st_ino if path else None
    except OSError:
        return None


@contextmanager
def _failures(damaged: Callable[[], None] | None = None) -> Iterator[None]:
    """Raise SQLite's and the system's errors as ``Unreadable``; call *damaged* when the file is found so."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if damaged is not None and is_damage(error):
            damaged()
        raise Unreadable("the log of events cannot be read or written") from error
