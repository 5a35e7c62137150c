"""``Follower``: the lines of a name, as ``tail -F`` follows it: growth, rotation, truncation, deletion, re-creation.

Strategy: the file that is being read stays open, so a rotation loses nothing: the rest of the old file comes first.
A name that leads to another file is no reason yet to leave the old one, since its writer may still hold it; the first
bytes in the new file are. Then what is left of the old one is given out, its unfinished line too, and the new
one follows from its start. A name that is missing meanwhile is waited for, with the old file still open.

After a reconnect the old file is no longer open. It is looked for by its inode number and first bytes: under its
name, and among the names beside it that begin with that (``app.log.1``, ``app.log-20261122``). Where it is gone, or
another may have come and gone after it, that is said with a ``Lost``.

Left out: two rotations between two looks, of which the first new file is never seen; compressed old files.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from fileserve import disk
from fileserve.storage.errors import NotFound, StorageError, os_errors
from fileserve.storage.lines import HEAD, Line, LineReader, Position, fingerprint, last_lines
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from fileserve.storage.watching import Watch

__all__ = ["Follower", "Loss", "Lost", "follow", "follow_from", "resume"]


class Loss(Enum):
    """Why lines may be missing; how many is never known."""

    TRUNCATED = "truncated"  # the file's content was cut, and began anew
    REPLACED = "replaced"  # the file that was being read is gone; another one has its name
    ROTATED = "rotated"  # the file was found under another name, but others may have come after it


@dataclass(frozen=True, slots=True)
class Lost:
    """Lines may be missing here; what follows begins at *position*, the start of another content."""

    loss: Loss
    position: Position


class Follower:
    """Gives out the lines of *name* from where *reader* stands, whose file it takes over. For the event loop's thread.

    *gap*: between the reader's file and the one that has the name now there may have been others.
    """

    __slots__ = ("_gap", "_missing", "_name", "_reader", "_root", "_successor", "_told", "_watch")

    def __init__(self, root: Root, name: Name, reader: LineReader, *, gap: bool = False) -> None:
        self._root = root
        self._name = name
        self._reader = reader
        self._successor: OpenFile | None = None
        self._gap = gap
        self._missing: StorageError | None = None
        self._told = True
        self._watch = Watch()
        self._watch.add(reader.file)

    @property
    def position(self) -> Position:
        """From where it goes on."""
        return self._reader.position

    @property
    def missing(self) -> StorageError | None:
        """Why there is no file of that name, when it was looked for last."""
        return self._missing

    async def read(self) -> Sequence[Line | Lost]:
        """Return what is there to be told now, some 64 KiB of lines at the most; nothing: wait with ``changed``.

        Raises ``Unreadable`` when the device fails.
        """
        while True:
            has_moved_on = await self._has_moved_on()
            lines = await self._reader.read(to_the_end=has_moved_on)
            if lines is None:
                self._reader = LineReader(self._reader.file, b"", 0)
                return (Lost(Loss.TRUNCATED, self.position),)
            if lines and not self._told:
                self._watch.distrust()
            if lines or not has_moved_on:
                return lines
            self._switch()
            if self._gap:
                self._gap = False
                return (Lost(Loss.ROTATED, self.position),)

    async def changed(self) -> None:
        """Wait until there may be more to read."""
        self._told = await self._watch.changed(soon=self._missing is not None)

    def close(self) -> None:
        """Close the files and their watches."""
        self._drop(self._reader.file)
        self._drop(self._successor)

    async def _has_moved_on(self) -> bool:
        """Tell whether another file has the name, and something has been written to it."""
        opened = await self._open()
        if opened is not None:
            self._meet(opened)
        return self._successor is not None and await self._successor.read(0, 1) != b""

    async def _open(self) -> OpenFile | None:
        try:
            opened = await self._root.open(self._name)
        except StorageError as error:  # missing, a directory, forbidden: it was a file, and may be one again
            self._missing = error
            return None
        self._missing = None
        return opened

    def _meet(self, opened: OpenFile) -> None:
        """Take what has the name now for the successor, unless it is one of those that are open already."""
        inode = opened.status.inode
        if self._successor is not None and inode != self._successor.status.inode:
            self._drop(self._successor)
            self._successor = None
        if self._successor is not None or inode == self._reader.file.status.inode:
            opened.close()
        else:
            self._successor = opened
            self._watch.add(opened)

    def _switch(self) -> None:
        assert self._successor is not None
        self._drop(self._reader.file)
        self._reader, self._successor = LineReader(self._successor, b"", 0), None

    def _drop(self, opened: OpenFile | None) -> None:
        if opened is not None:
            self._watch.remove(opened)
            opened.close()


async def follow(root: Root, name: Name, *, last: int | None) -> Follower:
    """Follow *name* from its *last* complete lines on (0: what is written from now on); ``None``: from its start.

    Raises what ``Root.open`` raises.
    """

    async def begin(opened: OpenFile) -> int:
        return 0 if last is None else await last_lines(opened, last)

    return await follow_from(root, name, begin)


async def follow_from(root: Root, name: Name, begin: Callable[[OpenFile], Awaitable[int]]) -> Follower:
    """Follow *name* from the offset on that *begin* finds in it. Raises what ``Root.open`` raises."""
    opened = await root.open(name)
    try:
        offset = await begin(opened)
        reader = LineReader(opened, await opened.read(0, HEAD), offset)
    except BaseException:
        opened.close()
        raise
    return Follower(root, name, reader)


async def resume(root: Root, name: Name, position: Position) -> tuple[Follower, Loss | None]:
    """Follow *name* from *position* on; a loss says that this was not possible, and that it begins at its start.

    Raises ``NotFound`` when neither the file nor the name is there, and otherwise what ``Root.open`` raises.
    """
    try:
        opened = await root.open(name)
    except NotFound:
        rotated = await _find_rotated(root, name, position)
        if rotated is None:
            raise
        return rotated, None
    try:
        head = await _head_at(opened, position)
        rotated = await _find_rotated(root, name, position) if head is None else None
    except BaseException:
        opened.close()
        raise
    if rotated is not None:
        opened.close()
        return rotated, None
    if head is not None:
        return Follower(root, name, LineReader(opened, head, position.offset)), None
    loss = Loss.TRUNCATED if opened.status.inode == position.inode else Loss.REPLACED
    return Follower(root, name, LineReader(opened, b"", 0)), loss


async def _head_at(opened: OpenFile, position: Position) -> bytes | None:
    """Return the first bytes of *opened*; ``None``: it is not the file of *position*, or is shorter."""
    if opened.status.inode != position.inode or opened.status.size < position.offset:
        return None
    head = await opened.read(0, HEAD)
    return head if fingerprint(head, position.offset) == position.fingerprint else None


async def _find_rotated(root: Root, name: Name, position: Position) -> Follower | None:
    """Return a follower of *name* that begins with the rest of the file of *position*, if it lies beside."""
    try:
        beside, gap = await disk.run(_search, root, name, position.inode)
        if beside is None:
            return None
        opened = await root.open((*name[:-1], beside))
    except StorageError:
        return None
    try:
        head = await _head_at(opened, position)
    except BaseException:
        opened.close()
        raise
    if head is None:
        opened.close()
        return None
    return Follower(root, name, LineReader(opened, head, position.offset), gap=gap)


def _search(root: Root, name: Name, inode: int) -> tuple[bytes | None, bool]:
    """Return the name of the file *inode* among those that begin with *name*, and whether a later one lies beside."""
    fd = root.open_directory(name[:-1])
    try:
        with os_errors(), os.scandir(fd) as entries:
            beside = [entry for entry in entries if _begins_with(os.fsencode(entry.name), name[-1])]
            times = {entry.name: _mtime_ns(entry) for entry in beside}
        found = next((entry.name for entry in beside if entry.inode() == inode), None)
    finally:
        os.close(fd)
    if found is None:
        return None, False
    return os.fsencode(found), max(times.values()) > times[found]


def _begins_with(beside: bytes, current: bytes) -> bool:
    return beside.startswith(current) and beside != current


def _mtime_ns(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:  # gone again
        return 0
