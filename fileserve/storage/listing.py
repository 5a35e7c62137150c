"""A directory as one sorted page of entries.

A directory of 100,000 names is one job in the pool, and holds little more than the names: a scan (kinds come with
it, without a stat a name), a sort in place, and a stat for each entry of the page. Only sorting by size or time
needs a stat of every name, and keeps one number for each.

An entry is what ``Root`` would open or list: regular files, directories, and links that resolve beneath the root to
one of them, shown with their target's kind, size and time. Everything else is left out, and so is what vanishes
meanwhile.

Left out: permissions. A file that the server may not read is listed, and opening it is ``NotPermitted``.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice

from fileserve.storage.errors import StorageError
from fileserve.storage.names import is_shown

__all__ = ["Entry", "Kind", "Listing", "SortKey", "entry_of", "read_listing"]

LinkStatus = Callable[[bytes], os.stat_result]


class Kind(Enum):
    """What an entry is; the values are words for people and programs."""

    FILE = "file"
    DIRECTORY = "directory"


class SortKey(Enum):
    """By what a listing is sorted; entries that are equal in it follow in the order of their names."""

    NAME = "name"
    SIZE = "size"
    MODIFIED = "modified"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory: its last name component, size in bytes (0 for a directory), mtime in ns since 1970."""

    name: bytes
    kind: Kind
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The page of a directory that begins at *offset*; *total* counts the entries of all pages.

    A page may be shorter than asked for: what vanished after the directory was scanned is counted, but not shown.
    """

    entries: tuple[Entry, ...]
    total: int
    offset: int


def entry_of(name: bytes, status: os.stat_result) -> Entry | None:
    """Return the entry for a name and its status; ``None`` for a FIFO, a device, a socket or a link."""
    if stat.S_ISREG(status.st_mode):
        return Entry(name, Kind.FILE, status.st_size, status.st_mtime_ns)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, Kind.DIRECTORY, 0, status.st_mtime_ns)
    return None


def read_listing(
    fd: int, hidden: bool, link_status: LinkStatus, sort: SortKey, descending: bool, offset: int, limit: int
) -> Listing:
    """Read one page of the open directory *fd*: directories first, each group sorted.

    Blocks. *link_status* resolves a link of this directory beneath the root, or raises. Raises ``OSError`` when the
    directory cannot be read.
    """
    directories, files = _scan(fd, hidden, link_status)

    def status_of(name: bytes) -> os.stat_result | None:
        return _status(fd, name, link_status)

    for names in (directories, files):
        _sort(names, sort, descending, status_of)
    page = islice(chain(directories, files), offset, offset + limit)
    entries = (entry_of(name, status) for name in page if (status := status_of(name)))
    return Listing(tuple(filter(None, entries)), len(directories) + len(files), offset)


def _scan(fd: int, hidden: bool, link_status: LinkStatus) -> tuple[list[bytes], list[bytes]]:
    """Return the names of the directories and of the files in *fd*, unsorted."""
    directories: list[bytes] = []
    files: list[bytes] = []
    with os.scandir(fd) as found:
        for item in found:
            if not is_shown(item.name, hidden):
                continue
            kind = _kind(item, link_status)
            if kind is not None:
                (files if kind is Kind.FILE else directories).append(os.fsencode(item.name))
    return directories, files


def _kind(item: os.DirEntry[str], link_status: LinkStatus) -> Kind | None:
    """Return the kind from the scan itself; only a link, or a file system that does not tell, costs a stat."""
    try:
        if item.is_file(follow_symlinks=False):
            return Kind.FILE
        if item.is_dir(follow_symlinks=False):
            return Kind.DIRECTORY
        if item.is_symlink():
            target = entry_of(b"", link_status(os.fsencode(item.name)))
            return target.kind if target else None
    except (OSError, StorageError):
        pass  # dangling, leaving the root, or gone: not something that Root would open
    return None


def _status(fd: int, name: bytes, link_status: LinkStatus) -> os.stat_result | None:
    """Return the status of a name in *fd*, links followed; ``None`` when it is gone, or a link that leads nowhere."""
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        return link_status(name) if stat.S_ISLNK(status.st_mode) else status
    except (OSError, StorageError):
        return None


def _sort(
    names: list[bytes], sort: SortKey, descending: bool, status_of: Callable[[bytes], os.stat_result | None]
) -> None:
    """Sort in place: stable sorts, one after the other, hold fewer objects than one by tuples."""
    names.sort()
    names.sort(key=_folded)
    match sort:
        case SortKey.NAME if descending:
            names.reverse()
        case SortKey.SIZE:
            names.sort(key=lambda name: _size(status_of(name)), reverse=descending)
        case SortKey.MODIFIED:
            names.sort(key=lambda name: status.st_mtime_ns if (status := status_of(name)) else 0, reverse=descending)


def _size(status: os.stat_result | None) -> int:
    return status.st_size if status and stat.S_ISREG(status.st_mode) else 0  # a directory has none to sort by


def _folded(name: bytes) -> bytes:
    lower = name.lower()
    return name if lower == name else lower  # the same object again costs no memory
