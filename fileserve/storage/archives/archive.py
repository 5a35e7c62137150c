"""``Archives``: directories as seekable tar and zip files, and the tables of those that were asked for before.

An archive's every byte follows from the names and the status of its members, so its length, its identity and any
span of it are known without reading a file. Reading the directory (``scan``) gives a ``Tree``, and a format's layout
of that (``tar``, ``zipping``) is the table. It is kept, up to so many bytes in all, and used again when another look at
every member (``recheck``) finds nothing changed. All of that happens in the disk pool, a few at a time.

Policy: a tree that changed within 20 ms before it was read is not kept: a change within the same tick of the kernel's
clock would show in no time stamp.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from enum import Enum
from functools import partial

from fileserve import disk
from fileserve.storage.archives.assembly import Archive, Table, table_of
from fileserve.storage.archives.layout import Layout
from fileserve.storage.archives.readahead import Crcs
from fileserve.storage.archives.recheck import recheck_tree
from fileserve.storage.archives.scan import scan_tree
from fileserve.storage.archives.selection import Selection
from fileserve.storage.archives.tar import TarLayout
from fileserve.storage.archives.tree import Tree
from fileserve.storage.archives.zipping import ZipLayout
from fileserve.storage.errors import Busy, NotFound
from fileserve.storage.names import Name, check_name
from fileserve.storage.root import Root

__all__ = ["Archive", "Archives", "Crcs", "Format"]

# The number changes whenever a layout writes other bytes for the same members: it is part of what a client's tag means.
_LAYOUT_VERSION = 1
_SETTLED_NS = 20_000_000
_WAITING = 64  # archives that may be asked for at once, beyond those that are being built

_Key = tuple[Name, tuple[str, ...], tuple[str, ...], "Format"]


class Format(Enum):
    """What an archive is written as; the values are file name extensions."""

    TAR = "tar"
    ZIP = "zip"


_LAYOUTS: dict[Format, Callable[[Tree], Layout]] = {Format.TAR: TarLayout, Format.ZIP: ZipLayout}


class Archives:
    """The archives of what lies beneath *root*. For the event loop's thread.

    An archive has at most *max_members*; *builds* directories are read at once; *cache_bytes* is what the tables that
    are kept may take in all. A *portable* identity is the same for each replica of a tree.
    """

    def __init__(
        self, root: Root, crcs: Crcs, *, max_members: int, builds: int, cache_bytes: int, portable: bool = False
    ) -> None:
        self._root = root
        self._crcs = crcs
        self._build = partial(_build, root, max_members, portable)
        self._building = asyncio.Semaphore(builds)
        self._asked = 0
        self._most_asked = builds + _WAITING
        self._kept = _Kept(cache_bytes)

    async def open(
        self,
        name: Name,
        format: Format,
        *,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        client: str | None = None,
    ) -> Archive:
        """Return the archive of the directory *name*; the caller closes it.

        *include* and *exclude* are patterns (``selection``); *client* is on whose account CRC-32s are computed. Raises
        ``NotFound`` or ``NotDirectory``; ``NotPermitted`` with the name of a member that may not be read;
        ``TooManyMembers``; ``InvalidName`` for a pattern; ``Busy`` when too many archives wait to be built.
        """
        table = await self._table(name, format, include, exclude)
        return Archive(self._root, table, self._crcs, client)

    async def tree(self, name: Name) -> Tree:
        """Return the members that an archive of the directory *name* has. Raises what ``open`` raises."""
        return (await self._table(name, Format.TAR, (), ())).layout.tree

    async def _table(self, name: Name, format: Format, include: tuple[str, ...], exclude: tuple[str, ...]) -> Table:
        check_name(name, self._root.hidden)
        selection = Selection(include, exclude)
        if self._asked >= self._most_asked:
            raise Busy("too many archives are being prepared")
        self._asked += 1
        wanted = threading.Event()
        wanted.set()
        try:
            async with self._building:
                return await self._look(name, selection, (name, include, exclude, format), wanted.is_set)
        finally:
            wanted.clear()  # a thread that is still at it ends soon
            self._asked -= 1

    def close(self) -> None:
        """Forget the tables. Archives that are open stay good."""
        self._kept.clear()

    async def _look(self, name: Name, selection: Selection, key: _Key, is_wanted: Callable[[], bool]) -> Table:
        kept = self._kept.find(key)
        if kept is not None:
            table = await disk.run(_recheck, self._root, kept, is_wanted)
            if table is not None:
                self._kept.replace(key, kept, table)
                return table
            self._kept.drop(key)
        began_ns = time.time_ns()
        table = await disk.run(self._build, name, selection, key[3], is_wanted)
        if selection.is_partial and len(table.layout.tree) == 1:
            raise NotFound("no file matches the patterns; they are compared with paths below the directory")
        if table.ctime_ns < began_ns - _SETTLED_NS and not selection.is_partial:
            self._kept.store(key, table)
        return table


class _Kept:
    """The tables that are kept, the one used last at the end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._tables: OrderedDict[_Key, tuple[Table, int]] = OrderedDict()

    def find(self, key: _Key) -> Table | None:
        if key not in self._tables:
            return None
        self._tables.move_to_end(key)
        return self._tables[key][0]

    def store(self, key: _Key, table: Table) -> None:
        """Keep *table*, and drop those that were not used for longest; one beyond the limit is not kept at all."""
        self.drop(key)
        size = table.layout.tree.footprint() + _cost_of(key)
        if size > self._limit:
            return
        while self._size + size > self._limit:
            self.drop(next(iter(self._tables)))
        self._tables[key] = table, size
        self._size += size

    def replace(self, key: _Key, old: Table, new: Table) -> None:
        """Keep *new*, of the same size, in the place of *old*, so that those who ask next share it."""
        if key in self._tables and self._tables[key][0] is old:
            self._tables[key] = new, self._tables[key][1]

    def drop(self, key: _Key) -> None:
        if key in self._tables:
            self._size -= self._tables.pop(key)[1]

    def clear(self) -> None:
        self._tables.clear()
        self._size = 0


def _cost_of(key: _Key) -> int:
    """Return about how many bytes a key takes, and what stands around a table."""
    name, include, exclude, _ = key
    return 2000 + sum(map(len, name)) + 4 * sum(map(len, (*include, *exclude)))


def _build(
    root: Root,
    max_members: int,
    portable: bool,
    name: Name,
    selection: Selection,
    format: Format,
    is_wanted: Callable[[], bool],
) -> Table:
    """Read the directory and lay it out. Blocks."""
    tree = scan_tree(root, name, selection, max_members, is_wanted)
    layout = _LAYOUTS[format](tree)
    version = f"fileserve {format.value} {_LAYOUT_VERSION}".encode()
    return table_of(layout, tree.identity(version, with_inodes=not portable))


def _recheck(root: Root, kept: Table, is_wanted: Callable[[], bool]) -> Table | None:
    """Return *kept* with the ctimes of now; ``None`` when it does not hold any more. Blocks."""
    tree = recheck_tree(root, kept.layout.tree, is_wanted)
    if tree is None:
        return None
    if tree.statuses.ctimes_ns == kept.layout.tree.statuses.ctimes_ns:
        return kept
    layout = copy(kept.layout)  # shares its offsets; an archive under way keeps the tree that it began with
    layout.tree = tree
    return table_of(layout, kept.identity)
