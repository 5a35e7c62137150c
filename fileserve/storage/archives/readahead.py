"""``ReadAhead``: the CRC-32s of an archive's members, computed ahead of the transfer that needs them.

A zip shows the CRC-32 of a file only behind its content, so a transfer can send while the sums of what it has not
reached yet are computed: one file at a time, in the order of the archive, by one task that ends with the archive. A
file of up to 64 KiB is not worth a task or a place in the index: its sum is taken from the bytes that are sent
anyway, or of one read.

Policy: the task keeps within 1 GiB of what is being sent. What lies further ahead would be out of the page cache
again when its turn comes, and the client may have left by then.
"""

import asyncio
import zlib
from array import array
from bisect import bisect_left, bisect_right
from typing import Protocol

from fileserve.storage.archives.layout import Layout
from fileserve.storage.archives.member import open_member, read_member
from fileserve.storage.errors import Busy, StorageError
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.storage.root import Root

__all__ = ["SMALL", "Crcs", "ReadAhead"]

SMALL = 64 * 1024  # members of up to so many bytes are read at once
_AHEAD = 1 << 30
_BUSY_S = 0.5  # how long to wait before asking again, when too many sums are being computed
_TURN = 1000  # blocks that need nothing, before others get their turn
_UNKNOWN = -1


class Crcs(Protocol):
    """Where the CRC-32 of a file comes from."""

    async def crc32(self, opened: OpenFile, client: str | None) -> int:
        """Return the CRC-32 of *opened*, cached or computed; cancelling the caller stops the work."""

    def known_crc32(self, status: FileStatus) -> int | None:
        """Return the CRC-32 if it is in memory."""


class ReadAhead:
    """The CRC-32s of one archive. For the event loop's thread; ``close`` ends the task."""

    __slots__ = ("_client", "_crcs", "_layout", "_position", "_root", "_task", "_turn", "_values")

    def __init__(self, root: Root, layout: Layout, crcs: Crcs, client: str | None) -> None:
        self._root = root
        self._layout = layout
        self._crcs = crcs
        self._client = client
        self._values = array("q", [_UNKNOWN]) * (len(layout.tree) if layout.has_crcs else 0)
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Event()  # the transfer moved on, or the task did
        self._position = 0

    def begin(self, start: int, stop: int) -> None:
        """Begin to compute what the archive from *start* to *stop* shows; what was begun before ends."""
        self.close()
        if self._layout.has_crcs and start < stop:
            self._position = start
            self._task = asyncio.create_task(self._run(start, stop))

    def close(self) -> None:
        """End the task. Closing again does nothing."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def note(self, member: int, content: bytes) -> None:
        """Take the sum of a member whose whole *content* is at hand."""
        if self._values:
            self._values[member] = zlib.crc32(content)

    def reach(self, position: int) -> None:
        """Hear how far the transfer has come, as an offset in the archive."""
        self._position = position
        self._turn.set()

    def known(self, member: int) -> int | None:
        """Return the member's CRC-32 if nothing has to be read for it."""
        if self._values[member] == _UNKNOWN:
            known = self._crcs.known_crc32(self._layout.tree.status(member))
            if known is None:
                return None
            self._values[member] = known
        return self._values[member]

    async def crc32(self, member: int) -> int:
        """Return the member's CRC-32, as soon as it is computed; raises ``ContentChanged`` with the member's name."""
        while (value := self.known(member)) is None:
            if self._is_small(member):
                await self._read(member)
            elif self._task is None or self._task.done():  # it failed; so does this, and says why
                await self._compute(member)
            else:
                self._turn.clear()
                await self._turn.wait()
        return value

    def _is_small(self, member: int) -> bool:
        return self._layout.tree.statuses.sizes[member] <= SMALL

    async def _read(self, member: int) -> None:
        tree = self._layout.tree
        opened = await open_member(self._root, tree, member)
        try:
            self.note(member, await read_member(opened, tree, member, 0, tree.statuses.sizes[member]))
        finally:
            opened.close()

    async def _run(self, start: int, stop: int) -> None:
        try:
            for block in self._blocks(start, stop):
                if not block % _TURN:
                    await asyncio.sleep(0)
                member = self._layout.crc_of(block)
                if member is None or self._is_small(member) or self.known(member) is not None:
                    continue
                await self._come_near(self._layout.starts[block])
                await self._compute(member)
                self._turn.set()
        except StorageError:
            pass  # whoever needs the sum meets the same again, if it is ever needed
        finally:
            self._turn.set()

    def _blocks(self, start: int, stop: int) -> range:
        """Return the blocks whose foot stands, at least in part, between *start* and *stop*."""
        starts = self._layout.starts
        first, last = bisect_right(starts, start) - 1, bisect_left(starts, stop) - 1
        is_reached = starts[last + 1] - len(self._layout.foot(last, 0)) < stop
        return range(first, last + 1 if is_reached else last)

    async def _come_near(self, offset: int) -> None:
        while offset > self._position + _AHEAD:
            self._turn.clear()
            await self._turn.wait()

    async def _compute(self, member: int) -> None:
        opened = await open_member(self._root, self._layout.tree, member)
        try:
            while True:
                try:
                    self._values[member] = await self._crcs.crc32(opened, self._client)
                    return
                except Busy:
                    await asyncio.sleep(_BUSY_S)
        finally:
            opened.close()
