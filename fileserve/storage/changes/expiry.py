"""The end of sessions: when somebody asks for it, when they fail, and when their time is over. All of it blocks."""

import logging
import time

from fileserve.storage.changes.paused import has_its_name
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.whereabouts import unlink_wherever
from fileserve.storage.errors import Busy, Locked, NotFound, StorageError, os_errors_of_changes
from fileserve.storage.names import display_name
from fileserve.storage.root import Root

__all__ = ["end", "end_expired", "give_up"]

_MOST_TOLD = 5  # of those that cannot be ended, which may be as many as there are sessions

_log = logging.getLogger(__name__)


def end(root: Root, sessions: Sessions, session: Session) -> bool:
    """Delete what is there of an upload, and forget it; return whether it was where it belongs. Raises ``Locked``."""
    was_there = session.stored or unlink_wherever(root, sessions, session)
    sessions.remove(session.id)
    return was_there


def give_up(root: Root, sessions: Sessions, session: Session, expires_s: int) -> bool:
    """End an upload that has failed, unless its file has its name; return whether it has. Raises ``Locked``.

    One that has is kept, and told until *expires_s*. Another one of the same id, begun since, is not touched.
    """
    try:
        current = sessions.find(session.id)
    except NotFound:
        return False
    if current.staged.name[-1] != session.staged.name[-1]:
        return current.stored
    # Asked behind the look for its file as well, which another process may have given its name meanwhile.
    is_gone = current.stored or has_its_name(root, current) or not unlink_wherever(root, sessions, current)
    if is_gone and (current.stored or has_its_name(root, current)):
        _keep_stored(sessions, current, expires_s)
        return True
    sessions.remove(session.id)
    return False


def _keep_stored(sessions: Sessions, session: Session, expires_s: int) -> None:
    sessions.extend(session.id, expires_s)
    sessions.set_stored(session.id)


def end_expired(root: Root, sessions: Sessions, expires_s: int) -> tuple[int, int]:
    """End the sessions whose time is over and that nobody writes to.

    Returns how many that were, and of how many the file was not where it belongs. One that has its name, which nobody
    has noted yet, is told until *expires_s*: its last request is still to be answered, or was lost in a crash. One
    whose file may not be opened waits for the next time, and keeps no other waiting. Raises ``Busy``.
    """
    ended = lost = failed = 0
    for session in sessions.expired(time.time()):
        try:
            was_there = _end_if_expired(root, sessions, session, expires_s)
        except (Locked, NotFound):
            continue
        except Busy:  # the table, or all descriptors: it would be the same with every other one
            raise
        except StorageError as error:
            failed += 1
            if failed <= _MOST_TOLD:
                name = display_name(b"/".join(session.name))
                _log.warning("the upload of %s has expired, but cannot be ended: %s", name, error)
            continue
        ended += was_there is not None
        lost += was_there is False
    if failed > _MOST_TOLD:
        _log.warning("%d uploads have expired, but cannot be ended", failed)
    return ended, lost


def _end_if_expired(root: Root, sessions: Sessions, session: Session, expires_s: int) -> bool | None:
    """Do what ``end`` does; return ``None`` where somebody came back meanwhile, or the file has its name."""
    if sessions.find(session.id).expires_s > time.time():
        return None
    if not session.stored and has_its_name(root, session):
        _keep_stored(sessions, session, expires_s)
        return None
    with os_errors_of_changes():
        return end(root, sessions, session)
