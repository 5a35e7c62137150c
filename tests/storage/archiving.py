"""What the tests of archives share: a source of CRC-32s that says what it was asked, and whole archives."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fileserve.storage.archives.archive import Archive, Archives, Format
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.storage.root import Root


class Sums:
    """Computes CRC-32s when they are asked for and ``gate`` is open; ``asked`` has the size of each file."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.begun = asyncio.Event()
        self.cancelled = 0
        self.known: dict[int, int] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def crc32(self, opened: OpenFile, client: str | None) -> int:
        self.asked.append(opened.status.size)
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        found = 0
        async for chunk in opened.chunks(0, opened.status.size, 1 << 20):
            found = zlib.crc32(chunk, found)
        return found

    def known_crc32(self, status: FileStatus) -> int | None:
        return self.known.get(status.inode)


def archives_of(root: Root, sums: Sums | None = None, *, max_members: int = 100_000, cache: int = 1 << 26) -> Archives:
    return Archives(root, sums or Sums(), max_members=max_members, builds=2, cache_bytes=cache)


async def span_of(archive: Archive, start: int = 0, stop: int | None = None) -> bytes:
    """Return the archive from *start* to *stop* by its regions."""
    parts = []
    async for part in archive.regions(start, archive.length if stop is None else stop):
        parts.append(part if isinstance(part, bytes) else await part.file.read(part.offset, part.count))
    return b"".join(parts)


@asynccontextmanager
async def opened(archives: Archives, *name: bytes, form: Format = Format.TAR) -> AsyncIterator[Archive]:
    """Open the archive of *name* for the length of the block."""
    archive = await archives.open(name, form)
    try:
        yield archive
    finally:
        archive.close()


async def whole(root: Root, *name: bytes, form: Format = Format.TAR) -> bytes:
    """Return all bytes of the archive of *name*."""
    async with opened(archives_of(root), *name, form=form) as archive:
        content = await span_of(archive)
        assert len(content) == archive.length
        return content
