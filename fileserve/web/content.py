"""``Content``: what a transfer sends the bytes of, as far as it has to know it.

Storage has two: a file, an archive. A third one is here: a text, which is in memory.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from fileserve.semantics.validators import EntityTag
from fileserve.storage.reader import FileRegion

__all__ = ["Content", "Regions", "Text"]

PIECE = 64 * 1024  # bytes of a text handed to the server at once


class Regions(Protocol):
    """An asynchronous iterator of regions that is closed when no more are wanted: a generator, or something lighter."""

    def __aiter__(self) -> AsyncIterator[bytes | FileRegion]: ...

    async def __anext__(self) -> bytes | FileRegion: ...

    async def aclose(self) -> None:
        """Give back what the next region would need."""


class Content(Protocol):
    """What a transfer sends the bytes of: one open file, or an archive of many."""

    def regions(self, start: int, stop: int) -> Regions:
        """Yield what makes up the content from *start* to *stop*; a region is good until the next is asked for."""

    def read_at_once(self, offset: int, count: int) -> bytes | None:
        """Return *count* bytes at *offset* if that takes no waiting, or fewer where the content ends before."""

    async def read(self, offset: int, count: int) -> bytes:
        """Return *count* bytes at *offset*, or fewer where the content ends before."""

    def check_unchanged(self) -> None:
        """Raise ``ContentChanged`` if what was sent last is not what it was when the content was opened."""

    def close(self) -> None:
        """Give back what the content holds."""


class Text:
    """Content that is in memory, and whose entity tag is made of its bytes. Several requests may share it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.tag = EntityTag(hashlib.sha256(data).hexdigest()[:32])

    def __len__(self) -> int:
        return len(self._data)

    async def regions(self, start: int, stop: int) -> AsyncGenerator[bytes | FileRegion, None]:
        """Yield the bytes from *start* to *stop*, in pieces: what a client has not taken is in memory once more."""
        for offset in range(start, stop, PIECE):
            yield self._data[offset : min(offset + PIECE, stop)]

    def read_at_once(self, offset: int, count: int) -> bytes:
        """Return *count* bytes at *offset*, or fewer at the end."""
        return self._data[offset : offset + count]

    async def read(self, offset: int, count: int) -> bytes:
        """Return *count* bytes at *offset*, or fewer at the end."""
        return self._data[offset : offset + count]

    def check_unchanged(self) -> None:
        """Do nothing: bytes do not change."""

    def close(self) -> None:
        """Do nothing: bytes are held by nobody else."""
