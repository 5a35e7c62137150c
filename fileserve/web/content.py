"""``Content``: what a transfer sends the bytes of, as far as it has to know it. Storage has two: a file, an archive."""

from collections.abc import AsyncIterator
from typing import Protocol

from fileserve.storage.reader import FileRegion

__all__ = ["Content", "Regions"]


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
