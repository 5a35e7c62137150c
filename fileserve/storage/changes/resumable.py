"""The file of a session during a request, in threads; ``resumed`` has it for the event loop's. All of it blocks.

Whoever writes to it holds its lock (flock): one writer at a time, over all processes, and none after a process has
ended, however it ended. Whoever holds it is told that another one does by ``Locked``.

Policy: room is reserved for what a request brings, while it does, and given back where it did not come. What lasted
longer would let anybody have the whole disk for a day, by beginning uploads that never come. An upload that goes on
later may find the disk full by then; it is asked for all that is still to come.

A flush that fails has lost bytes, and nobody knows which: what the request brought is taken back. The system tells of
it once, and takes for written what the disk never took, so that the next flush would succeed.

What is beyond ``Session.sure`` was to be compared with a checksum when a process ended, and is cut off.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

from fileserve.storage.changes.copying import copy
from fileserve.storage.changes.draft import Draft
from fileserve.storage.changes.hiding import HiddenName
from fileserve.storage.changes.paused import open_file
from fileserve.storage.changes.room import Need, Room, check_space
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.target import Target
from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import Locked, NotFound, Unreadable, os_errors_of_changes
from fileserve.storage.hashing import Sums
from fileserve.storage.root import Root
from fileserve.storage.space import give_back

__all__ = ["Look", "ResumedDraft", "open_draft_of", "unlink"]

#: Returns the session as it is now. It may be another one than before its file was locked.
Look = Callable[[], Session]
_BUFFER = 1024 * 1024


class ResumedDraft(Draft):
    """A session's file, open and locked. ``keep`` leaves it for the next request, ``discard`` deletes it.

    *written* counts what is there; *sums* are those of all that, or ``None``.
    """

    __slots__ = ("_began_at", "_has_failed", "_is_lost", "_need", "session")

    def __init__(self, target: Target, need: Need, session: Session, fd: int, hidden: HiddenName) -> None:
        super().__init__(target, replace(need, length=None, digests=False), fd, hidden)
        self._need = need
        self.session = session
        self._began_at = 0
        self._has_failed = False
        self._is_lost = False

    @property
    def has_its_name(self) -> bool:
        """Whether it was committed; before ``keep`` and ``discard``."""
        return self._ended

    def set_session(self, session: Session) -> None:
        """Note what the session is by now."""
        self.session = session
        self.target = replace(self.target, name=session.name)
        self._need = replace(self._need, length=session.length)

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append *chunks*, unless writing has failed before: what comes behind a gap would be at the wrong place."""
        if self._has_failed:
            raise Unreadable("what came before could not be written")
        self._has_failed = True
        super().write(chunks)
        self._has_failed = False

    def begin_at(self, offset: int) -> None:
        """Have *offset* bytes be all that is there, and reserved. What comes next is written behind them."""
        with self._descriptor.held() as fd, os_errors_of_changes():
            if os.fstat(fd).st_size > offset:
                self._sums = None
            os.ftruncate(fd, offset)
            os.lseek(fd, offset, os.SEEK_SET)
        self.written = self._began_at = offset

    def check_room(self) -> None:
        """Raise ``NoSpace`` unless the rest fits."""
        with self._descriptor.held() as fd, os_errors_of_changes():
            check_space(fd, self._need, self.written)

    def reserve_for(self, coming: int | None) -> None:
        """Reserve room for *coming* bytes; ``None``: as many as are still to come. Raises ``NoSpace``."""
        self.check_room()
        length = self._need.length if coming is None else self.written + coming
        self._room = Room(replace(self._need, length=length))
        with self._descriptor.held() as fd, os_errors_of_changes():
            self._room.reserve(fd, self.written)

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
                copied = copy(source, fd, start, self.written, count)
                start, count, self.written = start + copied, count - copied, self.written + copied
        self._sums = None

    def flush(self, fd: int) -> tuple[int, int]:
        """Do what ``Draft.flush`` does, and note where that fails: then it never succeeds again."""
        self._refuse_lost()
        self._is_lost = True
        marked = super().flush(fd)
        self._is_lost = False
        return marked

    def pause(self, note: Callable[[], None] | None = None) -> tuple[int, Sums | None]:
        """Make what is there durable, close the file, and return how much that is, with its sums.

        Unless it has its name, *note* is called in between, before anybody else can have it.
        Raises ``Unreadable`` or ``NoSpace`` where a flush has failed: then it is what it was when the request began.
        """
        try:
            with self._descriptor.held() as fd, os_errors_of_changes():
                size = os.fstat(fd).st_size
                if not self._ended:
                    if self._room.is_reserved:
                        give_back(fd)
                    self._flush_or_take_back(fd)
                    if note is not None:
                        note()
        finally:
            self.keep()
        return size, self._sums if self.written == size else None

    def _flush_or_take_back(self, fd: int) -> None:
        try:
            self._refuse_lost()
            os.fsync(fd)
        except BaseException:
            os.ftruncate(fd, self._began_at)
            os.fsync(fd)
            raise

    def _refuse_lost(self) -> None:
        if self._is_lost:
            raise Unreadable("what came could not be made durable")


def open_draft_of(root: Root, look: Look, need: Need, known: tuple[int, Sums] | None) -> ResumedDraft:
    """Open and lock the file of a session; *known* are the sums of so many bytes, from the request before.

    Raises ``Locked``, ``NotFound`` when it is gone, and ``NoSpace`` when there is no room for the rest any more.
    """
    session = look()
    draft = _opened(root, session, need)
    try:
        draft.set_session(session := look())
        offset = draft.status().size if session.sure is None else min(draft.status().size, session.sure)
        draft.begin_at(offset)
        if known is not None and known[0] == offset:
            draft._sums = known[1]
        elif not offset and need.digests:
            draft._sums = Sums(need.sha512)
    except BaseException:
        draft.keep()
        raise
    return draft


def unlink(root: Root, session: Session) -> None:
    """Delete a session's file. Raises ``NotFound`` where it is not where it belongs, and ``Locked``."""
    _opened(root, session, Need()).discard()


def _opened(root: Root, session: Session, need: Need) -> ResumedDraft:
    directory, fd = open_file(root, session.staged)
    hidden = HiddenName(Descriptor(directory), session.staged.name[-1])
    target = Target(root, session.name, bool(session.details.get("parents")))
    draft = ResumedDraft(target, replace(need, length=session.length), session, fd, hidden)
    try:
        _lock(fd)
    except BaseException:
        draft.keep()
        raise
    return draft


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
