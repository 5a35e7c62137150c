"""The end of sessions: when somebody asks for it, when they fail, and when their time is over. All of it blocks."""

import time
from contextlib import suppress

from fileserve.storage.changes.paused import has_its_name
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.whereabouts import unlink_wherever
from fileserve.storage.errors import Locked, NotFound
from fileserve.storage.root import Root

__all__ = ["end", "end_expired", "give_up"]


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
    has noted yet, is told until *expires_s*: its last request is still to be answered, or was lost in a crash.
    """
    count = lost = 0
    for session in sessions.expired(time.time()):
        with suppress(Locked, NotFound):
            if sessions.find(session.id).expires_s > time.time():  # somebody came back meanwhile
                continue
            if not session.stored and has_its_name(root, session):
                _keep_stored(sessions, session, expires_s)
                continue
            lost += not end(root, sessions, session)
            count += 1
    return count, lost
