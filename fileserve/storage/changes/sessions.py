"""``Sessions``: uploads that go on over several requests, kept in SQLite and shared by processes.

A row says what a session is for, and where its file is. How much of it is there, the file alone says: a row is never
believed for that, with one exception that makes it less. While content is written that is still to be compared with a
checksum, ``sure`` says how much was there before, so that after a crash nobody takes the rest for good.

Strategy: rows are written through to the disk before a session is told to anybody. A session that has ended keeps its
row until it expires, so that whoever did not hear of the end can ask; of those, the oldest are forgotten when there are
many.

Left out: the files (``paused``, ``resumable``).
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fileserve.storage.changes.session import COLUMNS, Session, row_of, session_of
from fileserve.storage.database import Database
from fileserve.storage.errors import Busy, Locked, NotFound, StorageError, Unreadable
from fileserve.storage.names import Name

__all__ = ["Sessions", "TooManySessions"]

_VERSION = 1
# The inode number is text: it can be larger than SQLite's integers.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name BLOB NOT NULL,
    staged BLOB NOT NULL, inode TEXT NOT NULL, length INTEGER, sure INTEGER, stored INTEGER NOT NULL,
    expires_s INTEGER NOT NULL, details TEXT NOT NULL, client TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS clients ON sessions (stored, client);
CREATE INDEX IF NOT EXISTS expiry ON sessions (expires_s)
"""
_INSERT = f"INSERT INTO sessions ({COLUMNS}, client) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COUNT = "SELECT count(*), count(CASE WHEN client = ? THEN 1 END) FROM sessions WHERE stored = 0"
_FORGET = """
DELETE FROM sessions WHERE stored = 1 AND number <=
    (SELECT number FROM sessions WHERE stored = 1 ORDER BY number DESC LIMIT 1 OFFSET ?)
"""
_RELOCATE = "UPDATE sessions SET name = ?, staged = ? WHERE id = ? AND staged = ?"
_MOST_STORED = 10_000  # Policy: a row takes some 500 bytes

_log = logging.getLogger(__name__)


class TooManySessions(StorageError):
    """As many sessions are open as may be, in all or for one client."""

    sentence = "too many uploads have been begun and not ended"


class Sessions:
    """The sessions in the file *path*, or in memory, where each process has its own.

    All methods block, and may be called by any thread. They raise ``Busy`` when the table cannot be used just now.
    Raises ``Unreadable`` when *path* cannot be opened and written.
    """

    __slots__ = ("_database",)

    def __init__(self, path: Path | None) -> None:
        try:
            self._database = Database(path, _SCHEMA, _VERSION, durable=True)
        except (OSError, sqlite3.Error) as error:
            raise Unreadable("the sessions of uploads cannot be opened") from error

    def add(self, session: Session, client: str, *, most: int, most_of_client: int) -> None:
        """Keep a new session. Raises ``TooManySessions`` when *most* are open, or *most_of_client* of *client*.

        Raises ``Locked`` when there is one of this id.
        """
        with self._change() as connection:
            try:
                connection.execute(_INSERT, (*row_of(session), client))
            except sqlite3.IntegrityError:
                raise Locked from None
            count, of_client = connection.execute(_COUNT, (client,)).fetchone()
            if count > most or of_client > most_of_client:
                raise TooManySessions

    def count(self) -> int:
        """Return how many are open."""
        with self._transaction() as connection:
            count: int = connection.execute(_COUNT, ("",)).fetchone()[0]
        return count

    def find(self, id: str) -> Session:
        """Return the session *id*. Raises ``NotFound`` for one that never was, or was ended.

        Policy: one that has expired, and was not swept yet, goes on when its client comes back.
        """
        with self._transaction() as connection:
            return _find(connection, id)

    @contextmanager
    def settled(self, id: str) -> Iterator[Session]:
        """Find the session *id* as ``find`` does; nobody's ``following`` is under way then, or begins in the block.

        In the block, no other method may be called.
        """
        with self._change() as connection:
            yield _find(connection, id)

    def expired(self, now_s: float) -> list[Session]:
        """Return the sessions whose time is over."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM sessions WHERE expires_s <= ?", (now_s,)).fetchall()
        return [session_of(row) for row in rows]

    def exist(self) -> bool:
        """Return whether any session is open, expired ones too."""
        with self._transaction() as connection:
            return connection.execute("SELECT 1 FROM sessions WHERE stored = 0 LIMIT 1").fetchone() is not None

    def staged_as(self, component: bytes) -> Session | None:
        """Return the session that has a file of this hidden name, in whatever directory."""
        with self._transaction() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM sessions WHERE substr(staged, -?) = ?", (len(component), component)
            ).fetchone()
        return row and session_of(row)

    @contextmanager
    def following(self, directory: Name, new: Name) -> Iterator[None]:
        """Let the sessions of what is beneath *directory* be of what is beneath *new*, where the block moves it.

        Nobody else changes a row meanwhile. When the block raises, nothing has changed; it raises no ``OSError``, and
        calls no other method.
        """
        old = (*directory, b"")
        with self._change() as connection:
            rows = connection.execute("SELECT number, name, staged FROM sessions").fetchall()
            moved = [
                (*(_moved(path, b"/".join(old), b"/".join((*new, b""))) for path in row[1:]), row[0]) for row in rows
            ]
            changed = [after for after, row in zip(moved, rows, strict=True) if after[:2] != row[1:]]
            connection.executemany("UPDATE sessions SET name = ?, staged = ? WHERE number = ?", changed)
            yield

    @contextmanager
    def relocating(self, session: Session, name: Name, place: Name) -> Iterator[None]:
        """Let the file of *session* be at *place*, and be for *name*, unless the block raises; as for ``following``.

        Raises ``NotFound`` where it is not as *session* says any more.
        """
        values = (b"/".join(name), b"/".join(place), session.id, b"/".join(session.staged.name))
        with self._change() as connection:
            if not connection.execute(_RELOCATE, values).rowcount:
                raise NotFound
            yield

    def set_length(self, id: str, length: int) -> None:
        """Say how long an upload will be; its length counts from then on."""
        self._update("UPDATE sessions SET length = ? WHERE id = ? AND length IS NULL", length, id)

    def set_sure(self, id: str, sure: int | None) -> None:
        """Say how much of an upload counts at the most; ``None``: all of it."""
        self._update("UPDATE sessions SET sure = ? WHERE id = ?", sure, id)

    def extend(self, id: str, expires_s: int) -> None:
        """Let a session last until *expires_s*."""
        self._update("UPDATE sessions SET expires_s = ? WHERE id = ?", expires_s, id)

    def set_stored(self, id: str) -> None:
        """Say that an upload has its name."""
        with self._change() as connection:
            connection.execute("UPDATE sessions SET stored = 1 WHERE id = ?", (id,))
            connection.execute(_FORGET, (_MOST_STORED,))

    def remove(self, id: str) -> None:
        """Forget a session."""
        self._update("DELETE FROM sessions WHERE id = ?", id)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _update(self, statement: str, *values: object) -> None:
        with self._change() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _failures(), self._database.transaction() as connection:
            yield connection

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with _failures(), self._database.change() as connection:
            yield connection


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        _log.warning("the sessions of uploads cannot be read or written: %s", error)
        raise Busy("the sessions of uploads cannot be read just now") from error


def _find(connection: sqlite3.Connection, id: str) -> Session:
    row = connection.execute(f"SELECT {COLUMNS} FROM sessions WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise NotFound("there is no such upload; it may have expired")
    return session_of(row)


def _moved(path: bytes, old: bytes, new: bytes) -> bytes:
    return new + path.removeprefix(old) if path.startswith(old) else path
