"""``Index``: digests of files, kept over restarts and shared by processes.

A row belongs to one state of one file: inode number, size, mtime and ctime. Whatever changes a file's content changes
its ctime, which nobody can set back; so a row is never stale, it is only no longer asked for. The exception is a
writer through a shared memory map: the kernel sets the ctime when it first writes to a page, and not when it writes
there again before the page is on the disk. A file that is written so should not be hashed meanwhile. On file systems
without a ctime of their own (vfat), mtime is all there is.

Strategy: the index is a cache. What fails (a full disk, a lock held for too long) is a warning in the log, once until
something succeeds again, and a miss; never an error to whoever asks. Of too many rows those stored first go.

Left out: computing (``hashing``), when to (``checksums``), and how SQLite is opened, shared and mended (``database``).
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fileserve.storage.database import Database, is_damage
from fileserve.storage.errors import Unreadable
from fileserve.storage.reader import FileStatus

__all__ = ["Digests", "Identity", "Index", "Pieces", "identity"]

#: A state of a file's content: inode number, size, mtime_ns and ctime_ns.
Identity = tuple[int, int, int, int]

_VERSION = 1
# The key is text: inode numbers and times can be larger than SQLite's integers.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS digests (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE,
    sha256 BLOB NOT NULL, crc32 INTEGER NOT NULL, sha512 BLOB);
CREATE TABLE IF NOT EXISTS pieces (id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE,
    length INTEGER NOT NULL, sha256 BLOB NOT NULL)
"""
_FIND = "SELECT sha256, crc32, sha512 FROM digests WHERE file = ?"
_FIND_PIECES = "SELECT length, sha256 FROM pieces WHERE file = ?"
_STORE = """
INSERT INTO digests (file, sha256, crc32, sha512) VALUES (?, ?, ?, ?)
ON CONFLICT (file) DO UPDATE SET sha256 = excluded.sha256, crc32 = excluded.crc32,
    sha512 = coalesce(excluded.sha512, sha512)
"""
_STORE_PIECES = """
INSERT INTO pieces (file, length, sha256) VALUES (?, ?, ?)
ON CONFLICT (file) DO UPDATE SET length = excluded.length, sha256 = excluded.sha256
"""
# Each new row has an id one above the highest, so that many ids are at least as many rows. No row is counted.
_EVICT = "DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?"

# Policy: a row of pieces takes up to 128 KiB, one of digests some 200 bytes; so there may be fewer by this factor.
_PIECES_SHARE = 64
_SHA256_LENGTH = 32

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Digests:
    """The raw digests of one content; CRC-32 is the one of zip (ISO 3309), as a number."""

    sha256: bytes
    crc32: int
    sha512: bytes | None = None


@dataclass(frozen=True, slots=True)
class Pieces:
    """The raw SHA-256 of each piece of *length* bytes, in order; the last piece may be shorter."""

    length: int
    sha256: tuple[bytes, ...]


def identity(status: FileStatus) -> Identity:
    """Return what tells this state of this file from every other."""
    return status.inode, status.size, status.mtime_ns, status.ctime_ns


class Index:
    """The digests in the file *path*, or in memory; at most *max_rows* files, and fewer with pieces.

    All methods block, for a millisecond as a rule and for half a second while another process writes, and may be called
    by any thread. Raises ``Unreadable`` when *path* cannot be opened and written: the caller may take one in memory.
    """

    __slots__ = ("_database", "_failing", "_max_rows", "_reader")

    def __init__(self, path: Path | None, *, max_rows: int) -> None:
        try:
            self._database = Database(path, _SCHEMA, _VERSION)
            # A writer that waits for another process's lock must not make those wait who only read.
            self._reader = Database(path, _SCHEMA, _VERSION) if path else self._database
        except (OSError, sqlite3.Error) as error:
            raise Unreadable("the index cannot be opened") from error
        self._max_rows = max_rows
        self._failing = False

    def find(self, status: FileStatus) -> Digests | None:
        """Return the digests of this state of the file; ``None`` when they are not known, or the index fails."""
        row = self._attempt(self._reader, lambda connection: connection.execute(_FIND, (_key(status),)).fetchone())
        return None if row is None else Digests(*row)

    def find_all(self, statuses: Sequence[FileStatus]) -> list[Digests | None]:
        """Return the digests of each of these states, as ``find`` does, in one transaction."""
        keys = [(_key(status),) for status in statuses]
        rows = self._attempt(
            self._reader, lambda connection: [connection.execute(_FIND, key).fetchone() for key in keys]
        )
        return [None if row is None else Digests(*row) for row in rows or [None] * len(keys)]

    def store(self, status: FileStatus, digests: Digests) -> None:
        """Keep the digests of this state of the file. A SHA-512 that is there already stays."""
        row = (_key(status), digests.sha256, digests.crc32, digests.sha512)
        self._store(_STORE, row, _EVICT.format(table="digests"), self._max_rows)

    def find_pieces(self, status: FileStatus) -> Pieces | None:
        """Return the piece digests of this state of the file; ``None`` when they are not known, or the index fails."""
        key = (_key(status),)
        row = self._attempt(self._reader, lambda connection: connection.execute(_FIND_PIECES, key).fetchone())
        if row is None:
            return None
        length, joined = row
        starts = range(0, len(joined), _SHA256_LENGTH)
        return Pieces(length, tuple(joined[start : start + _SHA256_LENGTH] for start in starts))

    def store_pieces(self, status: FileStatus, pieces: Pieces) -> None:
        """Keep the piece digests of this state of the file."""
        row = (_key(status), pieces.length, b"".join(pieces.sha256))
        self._store(_STORE_PIECES, row, _EVICT.format(table="pieces"), max(1, self._max_rows // _PIECES_SHARE))

    def check(self) -> None:
        """Return if rows can be written now, and found again: it writes what is there already.

        A file that another process has put in the place of a damaged one is opened. Raises ``Unreadable``.
        """
        try:
            if not self._database.is_in_place():
                self._database.doubt()
                self._reader.doubt()
            with self._database.transaction() as connection:
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        except FileNotFoundError as error:
            raise Unreadable("its file was deleted: restart the server, which makes it anew") from error
        except (OSError, sqlite3.Error) as error:
            raise Unreadable("the index cannot be written") from error

    def close(self) -> None:
        """Close the database. Afterwards nothing is found or stored, and nothing fails."""
        self._reader.close()
        self._database.close()

    def _store(self, statement: str, row: tuple[object, ...], evict: str, max_rows: int) -> None:
        def store(connection: sqlite3.Connection) -> None:
            connection.execute(statement, row)
            connection.execute(evict, (max_rows,))

        self._attempt(self._database, store)

    def _attempt(self, database: Database, work: Callable[[sqlite3.Connection], T]) -> T | None:
        try:
            with database.transaction() as connection:
                result = work(connection)
        except (OSError, sqlite3.Error) as error:
            if is_damage(error):
                self._database.doubt()
                self._reader.doubt()
            if not self._failing and not database.closed:
                _log.warning("the index of digests fails; they are computed anew meanwhile: %s", error)
            self._failing = True
            return None
        self._failing = False
        return result


def _key(status: FileStatus) -> str:
    return " ".join(map(str, identity(status)))
