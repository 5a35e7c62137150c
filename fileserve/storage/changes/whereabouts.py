"""Where the file of a session is although its directory has got another name. All of it blocks.

A directory is moved, and its sessions follow, in one transaction of the table: who does not find a file waits for the
table, and looks where it is by then. Where a process has ended in between, or another program has moved the directory,
the next sweep comes upon the file, and tells it by its hidden name and its inode number.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from fileserve.storage.changes.paused import Flushed, has_its_name, open_file, size_on_disk
from fileserve.storage.changes.remembered import Remembered
from fileserve.storage.changes.resumable import ResumedDraft, open_draft_of, unlink
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session, Staged
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.errors import Locked, NotFound, StorageError
from fileserve.storage.hashing import Sums
from fileserve.storage.root import Root

__all__ = ["find_again", "offset_of", "open_wherever", "settled", "size_wherever", "unlink_wherever", "wherever"]

T = TypeVar("T")


def wherever(sessions: Sessions, session: Session, work: Callable[[Session], T]) -> T:
    """Do *work* with a session; where that finds no file, once more with what the session is once nobody moves it.

    Then *work* may not ask *sessions*. Raises ``NotFound``, and what *work* raises.
    """
    try:
        return work(session)
    except NotFound:
        with sessions.settled(session.id) as settled:
            return work(settled)


def settled(sessions: Sessions, id: str) -> Session:
    """Return the session *id* as it is once nobody moves its directory. Raises ``NotFound``."""
    with sessions.settled(id) as session:
        return session


def open_wherever(root: Root, sessions: Sessions, id: str, need: Need, known: tuple[int, Sums] | None) -> ResumedDraft:
    """Open the file of the session *id*, as ``open_draft_of`` does; ``Locked`` where it has just got its name."""
    try:
        return open_draft_of(root, lambda: sessions.find(id), need, known)
    except NotFound:
        with sessions.settled(id) as session:
            try:
                return open_draft_of(root, lambda: session, need, known)
            except NotFound:
                if session.stored or has_its_name(root, session):
                    raise Locked from None  # it is not gone, and whoever asks again is told
                raise


def size_wherever(root: Root, sessions: Sessions, session: Session, known: Flushed | None) -> Flushed | None:
    """Return how much is on the disk, as ``size_on_disk`` does; ``None`` for what has its name."""

    def look(session: Session) -> Flushed | None:
        try:
            return None if session.stored else size_on_disk(root, session.staged, known)
        except NotFound:
            if has_its_name(root, session):
                return None
            raise

    return wherever(sessions, session, look)


def offset_of(root: Root, sessions: Sessions, session: Session, known: Remembered[str, Flushed]) -> int:
    """Return how much of an upload counts; note where it has its name. Raises ``NotFound`` when its file is gone."""
    before = sessions.find(session.id).sure  # what is there at the look, and taken back then, counts at no time
    flushed = size_wherever(root, sessions, session, known.get(session.id))
    session = sessions.find(session.id)
    if flushed is None:
        if not session.stored:
            sessions.set_stored(session.id)
        return session.length or 0
    known.put(session.id, flushed)
    return min((flushed[0], *(sure for sure in (before, session.sure) if sure is not None)))


def unlink_wherever(root: Root, sessions: Sessions, session: Session) -> bool:
    """Delete the file of a session, and return whether it was there. Raises ``Locked``."""
    try:
        wherever(sessions, session, lambda session: unlink(root, session))
    except NotFound:
        return False
    return True


def find_again(root: Root, sessions: Sessions, session: Session, found: Staged) -> None:
    """Note that the file of a session is where one was *found* of its name, if it is, and not where it should be.

    Where one of the two may not be opened, nobody can tell, and nothing is noted.
    """
    if found.inode != session.staged.inode or found.name == session.staged.name:
        return
    old, new, name = session.staged.name[:-1], found.name[:-1], session.name
    if name[: len(old)] == old:
        name = (*new, *name[len(old) :])
    with suppress(StorageError), sessions.relocating(session, name, found.name):
        if _is_there(root, session.staged) or not _is_there(root, found):
            raise NotFound


def _is_there(root: Root, staged: Staged) -> bool:
    try:
        opened = open_file(root, staged)
    except NotFound:
        return False
    for fd in opened:
        os.close(fd)
    return True
