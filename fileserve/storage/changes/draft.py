"""``Draft``: the file that an upload is written to, as threads use it. All of it blocks.

The file has no name while it is written (O_TMPFILE): whatever ends the process leaves nothing. ``commit`` flushes it,
takes the lock of the directory, has the caller judge what has the name by then, and gives the name in one step: a link,
which fails where something has it, or a rename over what is to be replaced, by way of a random hidden name that exists
for a moment. Where a file system has no unnamed files, the hidden name is there from the start.

``commit`` and ``discard`` may come from two threads at once: a client leaves while its upload is given its name. One
lock decides which of them was first.

A little longer than other modules, because writing, judging and naming share that lock. Left out: how the file keeps
out of sight (``hiding``), what the name may be (``target``), and how names are given (``placing``).
"""

import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from fileserve.storage.changes.hiding import HiddenName, hidden_component, open_hidden, open_unnamed
from fileserve.storage.changes.placing import alone_in, link_new, rename_new, sync_directory
from fileserve.storage.changes.room import Need, Room
from fileserve.storage.changes.target import Target
from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import Busy, NoDirectory, NotFound, os_errors_of_changes
from fileserve.storage.hashing import Sums
from fileserve.storage.index import Digests
from fileserve.storage.reader import FileStatus, OpenFile, status_of
from fileserve.storage.space import begin_writeback

__all__ = ["Committed", "Draft", "Judge", "committed", "open_draft"]

_MOST_BUFFERS = 512  # in one call; the system takes 1,024
# Policy: the flush at the end is then one of seconds at the most, even where the disk is slower than the network.
_WRITEBACK = 8 * 1024 * 1024

#: Is called with the file that has the name now, or ``None``, and raises what forbids to take its place.
Judge = Callable[[OpenFile | None], None]


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of an upload: its status under its name, and whether it has replaced another file.

    *untouched* says whether its content is still what was written: with the name, others can write to it.
    """

    status: FileStatus
    replaced: bool
    untouched: bool


def open_draft(target: Target, need: Need, *, unnamed: bool) -> "Draft":
    """Open an empty file on the file system of *target*, with room for what is needed; *unnamed* where that works.

    Raises ``NoDirectory``, ``NoSpace``, ``NotPermitted`` and their like.
    """
    target.check()
    with target.nearest() as directory, os_errors_of_changes():
        fd = open_unnamed(directory) if unnamed else None
        draft = Draft(target, need, fd, None) if fd is not None else Draft(target, need, *open_hidden(directory))
        try:
            draft.reserve()
        except BaseException:
            draft.discard()
            raise
    return draft


class Draft:
    """A file on its way to the name of *target*. Owns its descriptor and its hidden name, until ``discard``."""

    __slots__ = ("_descriptor", "_ended", "_hidden", "_lock", "_room", "_sums", "target", "written")

    def __init__(self, target: Target, need: Need, fd: int, hidden: HiddenName | None) -> None:
        self.target = target
        self._room = Room(need)
        self._descriptor = Descriptor(fd)
        self._hidden = hidden
        self._sums = Sums(need.sha512) if need.digests or need.sha512 else None
        self._lock = threading.Lock()
        self._ended = False
        self.written = 0

    def reserve(self) -> None:
        """Reserve room for the whole file, where its length is known."""
        with self._descriptor.held() as fd:
            self._room.reserve(fd)

    def write(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Append *chunks*, and take them into the digests. Raises ``NoSpace`` and ``Unreadable``."""
        before = self.written
        with self._descriptor.held() as fd, os_errors_of_changes():
            for first in range(0, len(chunks), _MOST_BUFFERS):
                self.written += _write_all(fd, chunks[first : first + _MOST_BUFFERS])
            if self._sums is not None:
                for chunk in chunks:
                    self._sums.update(chunk)
            if (full := self.written // _WRITEBACK * _WRITEBACK) > before:
                begin = before // _WRITEBACK * _WRITEBACK
                begin_writeback(fd, begin, full - begin)
            self._room.look(fd, self.written)

    def digests(self) -> Digests | None:
        """Return the digests of what is written; ``None`` where none were asked for."""
        return self._sums.results()[0] if self._sums is not None else None

    def status(self) -> FileStatus:
        """Return the status of the file as it is now."""
        return status_of(self._descriptor.fd)

    def commit(self, judge: Judge) -> Committed:
        """Make the file durable and give it its name, unless *judge* objects to what has that name then.

        Raises what *judge* raises, ``AlreadyExists`` when something else takes the name at the same moment,
        ``NoDirectory``, ``IsDirectory`` and their like; ``Busy`` after ``discard``.
        """
        self.target.check()
        with self.held() as fd:
            return self._commit(fd, judge)

    def held(self) -> AbstractContextManager[int]:
        """Keep the file open for the block, whoever discards it meanwhile."""
        return self._descriptor.held()

    def flush(self, fd: int) -> tuple[int, int]:
        """Make the file durable, and return its size and the time of its last change, for ``committed``.

        The time is set back by a nanosecond. The clock of file systems stands still for milliseconds. This one no later
        change can have, not even one in the same tick.
        """
        with os_errors_of_changes():
            status = os.fstat(fd)
            with suppress(OSError):  # some file systems cannot
                os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns - 1))
            marked = os.fstat(fd)
            os.fsync(fd)
            return marked.st_size, marked.st_mtime_ns

    def _commit(self, fd: int, judge: Judge) -> Committed:
        target, marked = self.target, self.flush(fd)
        for is_last in (not target.parents, True):
            try:
                with os_errors_of_changes(), target.directory() as directory:
                    with alone_in(directory):
                        replaced = self.take_name(fd, directory, judge)
                    sync_directory(directory)
                    break
            except NotFound:  # the directory was deleted a moment ago, perhaps by who had made it in vain
                if is_last:
                    raise NoDirectory from None
        return committed(fd, marked, replaced)

    def take_name(self, fd: int, directory: int, judge: Judge, component: bytes | None = None) -> bool:
        """Give the file its name, or *component*, in a directory that is locked; return whether another one had it.

        *fd* is its own descriptor, held.
        """
        target = self.target if component is None else self.target.beside(component)
        current = target.current(directory)
        try:
            judge(current)
            self._take_name(fd, directory, target.component, current)
        finally:
            if current is not None:
                current.close()
        return current is not None

    def discard(self) -> None:
        """Close the file; unless it was committed, nothing of it is left. For any thread, and more than once."""
        with self._lock:
            self._ended = True
            self._drop_hidden_name()
        self._descriptor.close()

    def keep(self) -> None:
        """Close the file; unless it was committed, it keeps its hidden name. For any thread, and more than once."""
        with self._lock:
            self._ended = True
            self._forget_hidden_name()
        self._descriptor.close()

    def _take_name(self, fd: int, directory: int, component: bytes, current: OpenFile | None) -> None:
        with self._lock:
            if self._ended:
                raise Busy("nobody waits for the upload any more")
            if current is not None:
                _adopt_mode(fd, current)
                self._replace(fd, directory, component)
            elif self._hidden is None:
                link_new(fd, directory, component)
            else:
                rename_new(self._hidden.directory.fd, self._hidden.component, directory, component)
                self._forget_hidden_name()
            self._ended = True

    def _replace(self, fd: int, directory: int, component: bytes) -> None:
        if self._hidden is not None:
            os.replace(self._hidden.component, component, src_dir_fd=self._hidden.directory.fd, dst_dir_fd=directory)
            return self._forget_hidden_name()
        hidden = hidden_component()
        link_new(fd, directory, hidden)
        try:
            os.replace(hidden, component, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(hidden, dir_fd=directory)
            raise

    def _drop_hidden_name(self) -> None:
        if self._hidden is not None:
            with suppress(OSError):  # what cannot be deleted is left to the next sweep
                os.unlink(self._hidden.component, dir_fd=self._hidden.directory.fd)
            self._forget_hidden_name()

    def _forget_hidden_name(self) -> None:
        if self._hidden is not None:
            self._hidden.directory.close()
            self._hidden = None


def _adopt_mode(fd: int, current: OpenFile) -> None:
    """Give the draft the permissions of what it replaces: who could not read that file does not read the new one.

    Policy: the permission bits alone. The owner is the server, as of all that it stores; lists of access rights and
    other attributes stay with the old file.
    """
    os.fchmod(fd, stat.S_IMODE(current.status.mode) & 0o777)


def committed(fd: int, marked: tuple[int, int], replaced: bool) -> Committed:
    """Return what became of a draft that has its name."""
    status = status_of(fd)
    return Committed(status, replaced, untouched=(status.size, status.mtime_ns) == marked)


def _write_all(fd: int, chunks: Sequence[bytes | memoryview]) -> int:
    count = sum(map(len, chunks))
    taken = os.writev(fd, chunks)
    if taken < count:  # a full disk, a signal: the next call says which
        rest = memoryview(b"".join(chunks))[taken:]
        while rest:
            rest = rest[os.write(fd, rest) :]
    return count
