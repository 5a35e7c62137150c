"""The file of a session between its requests: where it lies, and how much of it is on the disk. All of it blocks.

It lies under a random hidden name in the directory that it is for, or the nearest that is there, and never shows there.

How much is there is what the file's size says after a flush: what a client is told, it never has to send again.

Where the file has its name already, and a crash kept that from being noted, its inode number tells.
"""

import fcntl
import os

from fileserve.storage.changes.hiding import LEFT_OPEN, open_hidden
from fileserve.storage.changes.placing import sync_directory
from fileserve.storage.changes.room import Need, check_space
from fileserve.storage.changes.session import Session, Staged
from fileserve.storage.changes.target import Target
from fileserve.storage.errors import LinkLoop, NotDirectory, NotFound, OutsideRoot, StorageError, os_errors_of_changes
from fileserve.storage.root import Root

__all__ = ["Flushed", "create", "has_its_name", "is_locked", "open_file", "size_on_disk"]

#: So many bytes are on the disk of what was last written to at that time, in nanoseconds since 1970.
Flushed = tuple[int, int]

_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def create(target: Target, need: Need) -> Staged:
    """Make the empty file of a session for *target*, where there is room for it; return where it is."""
    target.check()
    with target.staging() as (directory, place), os_errors_of_changes():
        check_space(directory, need)
        fd, hidden = open_hidden(directory, LEFT_OPEN)
        with hidden.directory.held() as opened:
            try:
                os.fsync(fd)
                sync_directory(opened)
                return Staged((*place, hidden.component), os.fstat(fd).st_ino)
            except BaseException:
                os.unlink(hidden.component, dir_fd=opened)
                raise
            finally:
                os.close(fd)
                hidden.directory.close()


def size_on_disk(root: Root, staged: Staged, known: Flushed | None = None) -> Flushed:
    """Return how much of a session's file is on the disk for good, whoever writes to it, and when it was last written.

    Nothing is flushed where that is *known* already. Raises ``NotFound``.
    """
    directory, fd = open_file(root, staged)
    os.close(directory)
    try:
        with os_errors_of_changes():
            status = os.fstat(fd)
            if known != (status.st_size, status.st_mtime_ns):
                os.fsync(fd)
            return status.st_size, status.st_mtime_ns
    finally:
        os.close(fd)


def is_locked(root: Root, staged: Staged) -> bool:
    """Return whether somebody writes to a session's file.

    Whoever begins to in the very moment of the question finds it locked, and has to try again.
    """
    try:
        directory, fd = open_file(root, staged)
    except NotFound:
        return False
    os.close(directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # this file system has no such locks
        return False
    finally:
        os.close(fd)
    return False


def has_its_name(root: Root, session: Session) -> bool:
    """Return whether what has the session's name now is its file, whole."""
    try:
        with Target(root, session.name).directory() as directory:
            current = Target(root, session.name).current(directory)
    except StorageError:
        return False
    if current is None:
        return False
    current.close()
    return (current.status.inode, current.status.size) == (session.staged.inode, session.length)


def open_file(root: Root, staged: Staged) -> tuple[int, int]:
    """Return descriptors of the directory and of the file in it, for the caller to close. Raises ``NotFound``."""
    try:
        directory = root.open_directory(staged.name[:-1])
    except (NotFound, NotDirectory, OutsideRoot, LinkLoop):
        raise NotFound("what was uploaded is gone") from None
    try:
        with os_errors_of_changes():
            if os.stat(staged.name[-1], dir_fd=directory, follow_symlinks=False).st_ino != staged.inode:
                raise NotFound("what was uploaded is gone")
            return directory, os.open(staged.name[-1], _FILE, dir_fd=directory)
    except BaseException:
        os.close(directory)
        raise
