"""``Database``: one SQLite file that several processes and threads use at once, and that can always be made anew.

What it holds is a cache: a file that is corrupt, or of another version, is set aside under another name and begun
again, with a warning in the log. Opening goes on under a lock on the directory, so that of several workers one sets
the file aside, and the others find the new one.

Strategy: one connection for each process, guarded by one lock. Write-ahead logging lets processes read while one
writes; ``synchronous=NORMAL`` survives a crash, and may forget the last rows when the power fails; what is *durable* is
written through with each transaction. A forked child leaves the inherited connection alone, as SQLite demands, and
opens its own.

Left out: the tables (``index``), and what a failure means: errors are SQLite's and the system's own.
"""

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

__all__ = ["Database", "is_damage"]

# Policy: a thread waits half a second for another process's write, which takes a millisecond; then it goes without.
_BUSY_MS = 500
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SET_ASIDE = ".set-aside"

_log = logging.getLogger(__name__)


class _UnusableError(Exception):
    """The file is damaged, or holds something else."""


class _Connection(sqlite3.Connection):
    """A connection that knows which file it has; ``None`` in memory."""

    file: os.stat_result | None = None


class Database:
    """The database file *path*, or one in memory; *schema* is SQL that makes its tables, *version* its number.

    With *durable*, a transaction that has ended survives a power failure.

    Its directory is made where it is missing. Raises ``OSError`` or ``sqlite3.Error`` when it cannot be opened for
    writing.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_durable",
        "_lock",
        "_path",
        "_schema",
        "_suspect",
        "_version",
        "closed",
    )

    def __init__(self, path: Path | None, schema: str, version: int, *, durable: bool = False) -> None:
        self._path = path and Path(os.path.abspath(path))
        self._schema = schema
        self._version = version
        self._durable = durable
        self._suspect = False
        self.closed = False
        self._lock = threading.Lock()
        self._connection: _Connection | None = self._open()
        _databases.add(self)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction: nothing of it stays when it raises. For any thread.

        A first statement that reads does not wait for a writer; one that writes later fails at once where another
        process has written meanwhile, so what reads first and then writes is for ``change``. After damage was found,
        the next use looks at the whole file, and sets it aside. Raises ``sqlite3.ProgrammingError`` after ``close``.
        """
        with self._begun("BEGIN") as connection:
            yield connection

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Do what ``transaction`` does, as the only writer of all processes from the beginning. Waits for others."""
        with self._begun("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _begun(self, statement: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self.closed:
                raise sqlite3.ProgrammingError("the database is closed")
            if self._connection is None:
                self._connection = self._open()
            try:
                self._connection.execute(statement)
                with self._connection:
                    yield self._connection
            except sqlite3.DatabaseError as error:
                if is_damage(error):
                    self._suspect = True
                    self._close()
                raise

    def doubt(self) -> None:
        """Have the next use look at the whole file: another connection has found it damaged."""
        with self._lock:
            self._suspect = True
            self._close()

    def is_in_place(self) -> bool:
        """Tell whether the file in use is the one at its path; one that was deleted takes rows that nobody finds.

        Raises ``FileNotFoundError`` where nothing is there.
        """
        with self._lock:
            used = self._connection.file if self._connection else None
        return used is None or self._path is None or os.path.samestat(used, os.stat(self._path))

    def close(self) -> None:
        """Close the connection, once no thread uses it."""
        with self._lock:
            self.closed = True
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """Leave the connection of the process before the fork alone: not used, and never closed here."""
        _inherited.append(self._connection)
        self._connection = None
        self._lock = threading.Lock()

    def _open(self) -> "_Connection":
        if self._path is None:
            return self._connect(":memory:")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone_in(self._path.parent):
            try:
                connection = self._connect(self._path)
            except _UnusableError as error:
                _log.warning("%s: %s; set aside as %s%s, and made anew", self._path, error, self._path.name, _SET_ASIDE)
                _set_aside(self._path)
                connection = self._connect(self._path)
            connection.file = os.stat(self._path)
        self._suspect = False
        return connection

    def _connect(self, path: Path | str) -> "_Connection":
        if isinstance(path, Path):
            _make_private(path)
        connection = sqlite3.connect(
            path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            self._prepare(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            if is_damage(error):
                raise _UnusableError(str(error)) from error
            raise
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version != self._version and (version or tables):
            raise _UnusableError(f"its version is {version}, not {self._version}")
        if self._suspect and (report := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise _UnusableError(str(report))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        # Written each time, so that a file which cannot be written is found out here.
        connection.executescript(f"BEGIN IMMEDIATE; {self._schema}; PRAGMA user_version = {self._version}; COMMIT")


def is_damage(error: Exception) -> bool:
    """Tell whether *error* says that the file is no database, or not a whole one."""
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the module itself have none
    return code & 0xFF in _DAMAGED  # the upper bits tell more of the same


def _make_private(path: Path) -> None:
    """Make the file, where it is missing, one that only this user reads: it tells of files and clients.

    A file that is there is not opened: to close it again would give up SQLite's locks on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep the other processes that open a database in *directory* waiting: each holds it for some milliseconds."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _set_aside(path: Path) -> None:
    """Rename the database and what lies beside it, in place of what was set aside before."""
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{path}{_SET_ASIDE}{ending}")


_databases: WeakSet[Database] = WeakSet()
_inherited: list[sqlite3.Connection | None] = []


def _forget_connections() -> None:
    for database in _databases:
        database.forget()


os.register_at_fork(after_in_child=_forget_connections)
