"""The file of a session, between its requests and during one. All of it blocks.

It lies under a random hidden name in the directory that it is for, or the nearest that is there, and never shows there.
Whoever writes to it holds its lock (flock): one writer at a time, over all processes, and none after a process has
ended, however it ended. Whoever holds it is told that another one does by ``Locked``.

How much is there is what the file's size says after a flush: what a client is told, it never has to send again. What is
beyond ``Session.sure`` was to be compared with a checksum when a process ended, and is cut off.

Where the file has its name already, and a crash kept that from being noted, its inode number tells.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from fileserve.storage.changes.draft import Draft
from fileserve.storage.changes.hiding import LEFT_OPEN, HiddenName, open_hidden
from fileserve.storage.changes.placing import sync_directory
from fileserve.storage.changes.room import Need, Room, check_space
from fileserve.storage.changes.sessions import Session, Staged
from fileserve.storage.changes.target import Target
from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import (
    LinkLoop,
    Locked,
    NotDirectory,
    NotFound,
    OutsideRoot,
    StorageError,
    Unreadable,
    os_errors_of_changes,
)
from fileserve.storage.hashing import Sums
from fileserve.storage.root import Root

__all__ = ["Flushed", "ResumedDraft", "create", "has_its_name", "open_draft_of", "size_on_disk", "unlink"]

#: Returns the session as it is now. It may be another one than before its file was locked.
Look = Callable[[], Session]
#: So many bytes are on the disk of what was last written to at that time, in nanoseconds since 1970.
Flushed = tuple[int, int]

_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BUFFER = 1024 * 1024
_BLOCK = 512  # bytes of what st_blocks counts, whatever the file system has
_NO_COPIES = frozenset((errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))


class ResumedDraft(Draft):
    """A session's file, open and locked. ``keep`` leaves it for the next request, ``discard`` deletes it.

    *written* counts what is there; *sums* are those of all that, or ``None``.
    """

    __slots__ = ("_has_failed", "_need")

    def __init__(self, target: Target, need: Need, fd: int, hidden: HiddenName) -> None:
        super().__init__(target, replace(need, digests=False), fd, hidden)
        self._need = need
        self._has_failed = False

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append *chunks*, unless writing has failed before: what comes behind a gap would be at the wrong place."""
        if self._has_failed:
            raise Unreadable("what came before could not be written")
        self._has_failed = True
        super().write(chunks)
        self._has_failed = False

    def begin_at(self, offset: int) -> None:
        """Have *offset* bytes be all that is there. What comes next is written behind them."""
        with self._descriptor.held() as fd, os_errors_of_changes():
            if os.fstat(fd).st_size > offset:
                os.ftruncate(fd, offset)
                self._sums = None
            os.lseek(fd, offset, os.SEEK_SET)
        self.written = offset

    def check_room(self) -> None:
        """Reserve room for the rest. Raises ``NoSpace``."""
        with self._descriptor.held() as fd, os_errors_of_changes():
            check_space(fd, replace(self._need, length=(self._need.length or 0) - self.written))
            Room(self._need).reserve(fd)

    def keep_room(self) -> None:
        """Reserve room for the rest anew, where it is not reserved any more: what is cut off takes that along."""
        with self._descriptor.held() as fd:
            is_short = os.fstat(fd).st_blocks * _BLOCK < (self._need.length or 0)
        if is_short and self.written < (self._need.length or 0):
            self.check_room()

    def checksum(self, algorithm: str, start: int) -> bytes:
        """Return a digest of all bytes from *start* on, by an algorithm of hashlib's."""
        computed, buffer = hashlib.new(algorithm, usedforsecurity=False), memoryview(bytearray(_BUFFER))
        with self._descriptor.held() as fd, os_errors_of_changes():
            while count := os.preadv(fd, [buffer], start):
                computed.update(buffer[:count])
                start += count
        return computed.digest()

    def append(self, part: "ResumedDraft", start: int, count: int) -> None:
        """Append bytes of another file: shared between the two where the file system can do that, else copied."""
        with self._descriptor.held() as fd, part._descriptor.held() as source, os_errors_of_changes():
            while count:
                copied = _copy(source, fd, start, self.written, count)
                start, count, self.written = start + copied, count - copied, self.written + copied
        self._sums = None

    def pause(self) -> tuple[int, Sums | None]:
        """Make what is there durable, close the file, and return how much that is, with its sums."""
        try:
            with self._descriptor.held() as fd, os_errors_of_changes():
                size = os.fstat(fd).st_size
                if not self._ended:
                    os.fsync(fd)
        finally:
            self.keep()
        return size, self._sums if self.written == size else None


def create(target: Target, need: Need) -> Staged:
    """Make the empty file of a session for *target*, with room for what is needed; return where it is."""
    target.check()
    with target.staging() as (directory, place), os_errors_of_changes():
        check_space(directory, need)
        fd, hidden = open_hidden(directory, LEFT_OPEN)
        with hidden.directory.held() as opened:
            try:
                Room(need).reserve(fd)
                os.fsync(fd)
                sync_directory(opened)
                return Staged((*place, hidden.component), os.fstat(fd).st_ino)
            except BaseException:
                os.unlink(hidden.component, dir_fd=opened)
                raise
            finally:
                os.close(fd)
                hidden.directory.close()


def open_draft_of(root: Root, look: Look, need: Need, known: tuple[int, Sums] | None) -> ResumedDraft:
    """Open and lock the file of a session; *known* are the sums of so many bytes, from the request before.

    Raises ``Locked``, ``NotFound`` when it is gone, and ``NoSpace`` when there is no room for the rest any more.
    """
    session = look()
    draft = _opened(root, session, need)
    try:
        session = look()
        offset = draft.status().size if session.sure is None else min(draft.status().size, session.sure)
        draft.begin_at(offset)
        draft.keep_room()
        if known is not None and known[0] == offset:
            draft._sums = known[1]
        elif not offset and need.digests:
            draft._sums = Sums(need.sha512)
    except BaseException:
        draft.keep()
        raise
    return draft


def size_on_disk(root: Root, staged: Staged, known: Flushed | None = None) -> Flushed:
    """Return how much of a session's file is on the disk for good, whoever writes to it, and when it was last written.

    Nothing is flushed where that is *known* already. Raises ``NotFound``.
    """
    directory, fd = _open(root, staged)
    os.close(directory)
    try:
        with os_errors_of_changes():
            status = os.fstat(fd)
            if known != (status.st_size, status.st_mtime_ns):
                os.fsync(fd)
            return status.st_size, status.st_mtime_ns
    finally:
        os.close(fd)


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


def unlink(root: Root, session: Session) -> None:
    """Delete a session's file, if it is there. Raises ``Locked``."""
    with suppress(NotFound):
        _opened(root, session, Need()).discard()


def _opened(root: Root, session: Session, need: Need) -> ResumedDraft:
    directory, fd = _open(root, session.staged)
    hidden = HiddenName(Descriptor(directory), session.staged.name[-1])
    target = Target(root, session.name, bool(session.details.get("parents")))
    draft = ResumedDraft(target, replace(need, length=session.length), fd, hidden)
    try:
        _lock(fd)
    except BaseException:
        draft.keep()
        raise
    return draft


def _open(root: Root, staged: Staged) -> tuple[int, int]:
    """Return descriptors of the directory and of the file in it."""
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


def _lock(fd: int) -> None:
    """Lock a file that still has its hidden name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Locked from None
    except OSError:
        pass  # this file system has no such locks
    if not os.fstat(fd).st_nlink:
        raise NotFound("the upload was ended a moment ago")


def _copy(source: int, target: int, start: int, at: int, count: int) -> int:
    """Copy at most *count* bytes, and return how many. The system shares them where it can."""
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, count, start, at)
        except OSError as error:
            if error.errno not in _NO_COPIES:
                raise
        else:
            if copied:
                return copied
    copied = os.pwrite(target, os.pread(source, min(count, _BUFFER), start), at)
    if not copied:
        raise NotFound("a part is shorter than it was")
    return copied
