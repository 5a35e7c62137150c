"""``OpenFile``: one regular file, opened once, and its bytes in the two forms a transfer can use.

Size, times and bytes all belong to the descriptor, so they are of one file even when the name is replaced
meanwhile. For zero-copy sending, ``regions`` names the bytes (descriptor, offset, count) without reading them. For
every other way, ``chunks`` reads them: from the page cache at once, from the disk in a thread of the pool.

Policy: reads are ``pread`` calls in the process's own pool rather than through aiofiles. A resident chunk of 64 KiB
costs less than half that way, because no thread is asked; ``pread`` keeps no position that two readers could
disturb; and only a call of our own can hold the descriptor until it is done.

Left out: how many bytes were announced. A caller clamps to that; a file that grew is read no further than it asks.
"""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import NamedTuple

from fileserve import disk
from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import ContentChanged, IsDirectory, NotRegular, from_os_error, os_errors

__all__ = ["FileRegion", "FileStatus", "OpenFile", "status_of"]

# Others get their turn at least this often (in bytes): a fast client and a resident file never make `send` wait.
_TURN = 1024 * 1024


class FileStatus(NamedTuple):
    """What fstat says of a file: size in bytes, times in nanoseconds since 1970, inode number, mode bits."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


def status_of(fd: int) -> FileStatus:
    """Return what fstat says of an open file now."""
    try:
        status = os.fstat(fd)
    except OSError as error:
        raise from_os_error(error) from error
    return FileStatus(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)


def _regular_status_of(fd: int) -> FileStatus:
    status = status_of(fd)
    if stat.S_ISDIR(status.mode):
        raise IsDirectory
    if not stat.S_ISREG(status.mode):
        raise NotRegular
    return status


class OpenFile:
    """A regular file that is open for reading; owns its descriptor.

    ``status`` is the file as it was when opened.
    """

    __slots__ = ("_descriptor", "status")

    def __init__(self, fd: int) -> None:
        """Take *fd* over. Raise ``IsDirectory`` or ``NotRegular``, with *fd* closed, unless it is a regular file."""
        self._descriptor = Descriptor(fd)
        try:
            self.status = _regular_status_of(fd)
        except BaseException:
            self._descriptor.close()
            raise

    @property
    def fd(self) -> int:
        """The descriptor, for as long as this is open; ``ValueError`` afterwards."""
        return self._descriptor.fd

    def regions(self, start: int, stop: int) -> "_Regions":
        """Yield what makes up the content from *start* to *stop*: one region, or nothing when that is empty.

        Its descriptor is valid until ``close``. A thread outside of storage that uses it needs a duplicate.
        """
        return _Regions(FileRegion(self, start, stop - start) if start < stop else None)

    async def read(self, offset: int, count: int) -> bytes:
        """Return *count* bytes at *offset*, or fewer where the file ends before; resident ones without a thread.

        Raises ``Unreadable`` when the device fails.
        """
        resident = self.read_at_once(offset, count)
        if resident is not None:
            return resident
        return await disk.run(self._read_waiting, offset, count)

    def read_at_once(self, offset: int, count: int) -> bytes | None:
        """Return what `read` does without waiting; ``None`` where the bytes are not in the page cache."""
        return disk.read_resident(self._descriptor.fd, offset, count)

    def _read_waiting(self, offset: int, count: int) -> bytes:
        """Read in a pool thread; a single read may be short (a signal, 2 GiB at once, a network file system)."""
        pieces: list[bytes] = []
        with os_errors(), self._descriptor.held() as fd:
            while count and (piece := os.pread(fd, count, offset)):
                pieces.append(piece)
                offset += len(piece)
                count -= len(piece)
        return b"".join(pieces)

    async def chunks(self, offset: int, count: int, chunk_size: int) -> AsyncGenerator[bytes, None]:
        """Yield *count* bytes from *offset* on, in chunks of *chunk_size* bytes and a last one of what is left.

        Lets the event loop turn at least once each MiB. Raises ``ContentChanged`` when the file ends early.
        """
        stop, unturned = offset + count, 0
        while offset < stop:
            wanted = min(chunk_size, stop - offset)
            unturned += wanted
            if unturned > _TURN:
                await asyncio.sleep(0)
                unturned = wanted
            chunk = await self.read(offset, wanted)
            if len(chunk) < wanted:
                raise ContentChanged
            yield chunk
            offset += wanted

    def look(self) -> FileStatus:
        """Return the file's status as it is now."""
        return status_of(self.fd)

    def check_unchanged(self) -> None:
        """Raise ``ContentChanged`` if the file is smaller than when opened, or as large with another mtime.

        Policy: a file that grew is fine, because logs and downloads in progress grow at their end, and the bytes
        that were announced are still there.
        """
        now = self.look()
        shrunk = now.size < self.status.size
        rewritten = now.size == self.status.size and now.mtime_ns != self.status.mtime_ns
        if shrunk or rewritten:
            raise ContentChanged

    def close(self) -> None:
        """Close the descriptor, or leave that to the thread that still reads from it. Closing again does nothing."""
        self._descriptor.close()


@dataclass(frozen=True, slots=True)
class FileRegion:
    """*count* bytes at *offset* of an open file, for the kernel to send or to be read. Who yields it keeps it open."""

    file: OpenFile
    offset: int
    count: int


class _Regions:
    """At most one region, given out once.

    No asynchronous generator: the event loop keeps a book of those, and ends one that was left unfinished in a task of
    its own, which costs more than a small file's bytes do.
    """

    __slots__ = ("_region",)

    def __init__(self, region: FileRegion | None) -> None:
        self._region = region

    def __aiter__(self) -> "_Regions":
        return self

    async def __anext__(self) -> "bytes | FileRegion":
        region, self._region = self._region, None
        if region is None:
            raise StopAsyncIteration
        _ = region.file.fd  # fails once closed, here and not where the region is used
        return region

    async def aclose(self) -> None:
        """Give out nothing more."""
        self._region = None
