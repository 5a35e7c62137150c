"""``Archive``: the content of one response that is a whole directory.

Spans of it are put together from its layout as they are asked for. Members are opened one at a time, held against the
table, and looked at again when their last byte has been handed out, before the next one is opened. Headers, padding
and small files are joined into one piece of bytes; the content of a larger file is a region for zero-copy.

What is an archive's own is a few hundred bytes and its CRC-32s; the table is shared with the cache. Directories and
links are not looked at again while it is sent.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fileserve.storage.archives.layout import Content, Foot, Layout, pieces
from fileserve.storage.archives.member import check_member, open_member, read_member
from fileserve.storage.archives.readahead import SMALL, Crcs, ReadAhead
from fileserve.storage.reader import FileRegion, OpenFile
from fileserve.storage.root import Root

__all__ = ["Archive", "Table", "table_of"]

TURN_S = 0.002  # others get their turn at least so often, however small the members are


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What is known of an archive beforehand: its layout, a digest of what that follows from, the newest times."""

    layout: Layout
    identity: str
    mtime_ns: int
    ctime_ns: int


def table_of(layout: Layout, identity: str) -> Table:
    """Return the table of *layout*. Looks at every member; for a thread."""
    statuses = layout.tree.statuses
    return Table(layout, identity, max(statuses.mtimes_ns), max(statuses.ctimes_ns))


class Archive:
    """An archive, ready to be sent; owns the member that it has open.

    ``length`` in bytes; ``identity`` in hexadecimal digits, another one for any other archive; ``mtime_ns`` and
    ``ctime_ns`` are those of the member that changed last, in nanoseconds since 1970.
    """

    __slots__ = ("_layout", "_open", "_read_ahead", "_root", "ctime_ns", "identity", "length", "mtime_ns")

    def __init__(self, root: Root, table: Table, crcs: Crcs, client: str | None) -> None:
        self._root = root
        self._layout = table.layout
        self._read_ahead = ReadAhead(root, table.layout, crcs, client)
        self._open: tuple[OpenFile, int] | None = None
        self.length: int = table.layout.starts[-1]
        self.identity = table.identity
        self.mtime_ns = table.mtime_ns
        self.ctime_ns = table.ctime_ns

    async def regions(self, start: int, stop: int) -> AsyncGenerator[bytes | FileRegion, None]:
        """Yield what makes up the archive from *start* to *stop*; a region is good until the next is asked for.

        Raises ``ContentChanged`` with the name of a member that is not what it was.
        """
        self._read_ahead.begin(start, stop)
        joined = bytearray()
        turn_s = time.monotonic()
        for piece in pieces(self._layout, start, stop):
            if time.monotonic() - turn_s > TURN_S:
                await asyncio.sleep(0)
                turn_s = time.monotonic()
            if isinstance(piece, bytes):
                joined += piece
            else:
                if joined and self._waits(piece):
                    yield bytes(joined)
                    joined.clear()
                part = await self._fetch(piece)
                if isinstance(part, FileRegion):
                    yield part
                    self._leave_member()
                else:
                    joined += part
            if len(joined) >= SMALL:
                yield bytes(joined)
                joined.clear()
        if joined:
            yield bytes(joined)

    def read_at_once(self, offset: int, count: int) -> bytes | None:
        """Return ``None``: a member has to be opened and looked at first."""
        return None

    async def read(self, offset: int, count: int) -> bytes:
        """Return *count* bytes at *offset*, or fewer where the archive ends before."""
        found = []
        async for part in self.regions(offset, min(offset + count, self.length)):
            found.append(part if isinstance(part, bytes) else await part.file.read(part.offset, part.count))
        return b"".join(found)

    def check_unchanged(self) -> None:
        """Raise ``ContentChanged`` if the member that is open is not what it was; those before it were looked at."""
        if self._open is not None:
            check_member(self._open[0], self._layout.tree, self._open[1])

    def close(self) -> None:
        """Close the member that is open, and end the reading ahead. Closing again does nothing."""
        self._read_ahead.close()
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def _waits(self, piece: Content | Foot) -> bool:
        """Tell whether what stands before *piece* should be sent first: it is large, or has to be computed."""
        return self._read_ahead.known(piece.member) is None if isinstance(piece, Foot) else piece.count > SMALL

    async def _fetch(self, piece: Content | Foot) -> bytes | FileRegion:
        if isinstance(piece, Foot):
            self._read_ahead.reach(self._layout.starts[piece.block])
            crc32 = await self._read_ahead.crc32(piece.member)
            return self._layout.foot(piece.block, crc32)[piece.first : piece.last]
        self._read_ahead.reach(self._layout.starts[piece.member])
        opened = await open_member(self._root, self._layout.tree, piece.member)
        if piece.count > SMALL:
            self._open = opened, piece.member
            return FileRegion(opened, piece.offset, piece.count)
        try:
            return await self._read_small(opened, piece)
        finally:
            opened.close()

    async def _read_small(self, opened: OpenFile, piece: Content) -> bytes:
        data = await read_member(opened, self._layout.tree, piece.member, piece.offset, piece.count)
        if piece.count == self._layout.tree.statuses.sizes[piece.member]:
            self._read_ahead.note(piece.member, data)
        return data

    def _leave_member(self) -> None:
        """Look at the open member once more, and close it."""
        self.check_unchanged()
        if self._open is not None:
            self._open[0].close()
            self._open = None
