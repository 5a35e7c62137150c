"""``Session``: an upload that goes on over several requests, and the row of the table that says so.

The inode number is text: it can be larger than SQLite's integers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fileserve.storage.names import Name

__all__ = ["COLUMNS", "Session", "Staged", "row_of", "session_of"]

COLUMNS = "id, name, staged, inode, length, sure, stored, expires_s, details"


@dataclass(frozen=True, slots=True)
class Staged:
    """Where a session's file is: its hidden name beneath the root, and its inode number, which it keeps."""

    name: Name
    inode: int


@dataclass(frozen=True, slots=True)
class Session:
    """An upload of *length* bytes (``None``: not known yet) that is to have *name*, and is *staged* until then.

    *sure* is how much of it counts at the most, where that is not all; *stored* says that it has its name. It ends at
    *expires_s*, seconds since 1970. *details* are the caller's.
    """

    id: str
    name: Name
    staged: Staged
    length: int | None
    expires_s: int
    details: Mapping[str, str]
    sure: int | None = None
    stored: bool = False


def row_of(session: Session) -> tuple[object, ...]:
    """Return the values of ``COLUMNS`` for a session."""
    return (
        session.id,
        b"/".join(session.name),
        b"/".join(session.staged.name),
        str(session.staged.inode),
        session.length,
        session.sure,
        session.stored,
        session.expires_s,
        json.dumps(dict(session.details)),
    )


def session_of(row: tuple[str, bytes, bytes, str, int | None, int | None, int, int, str]) -> Session:
    """Return the session whose values of ``COLUMNS`` these are."""
    id, name, staged, inode, length, sure, stored, expires_s, details = row
    place = Staged(tuple(staged.split(b"/")), int(inode))
    return Session(id, tuple(name.split(b"/")), place, length, expires_s, json.loads(details), sure, bool(stored))
