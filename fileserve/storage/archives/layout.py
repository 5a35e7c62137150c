"""What an archive is made of, byte for byte, without any of its bytes: blocks, each a head, a file's content, a foot.

The layout of a format (``tar``, ``zipping``) knows where each block begins, and writes heads and feet again on demand.
``pieces`` cuts any span out of that, so a range costs one binary search and what it contains.
"""

from __future__ import annotations  # array[int] is a type for the checker alone until Python 3.12

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fileserve.storage.archives.tree import Tree

__all__ = ["Content", "Foot", "Layout", "pieces"]


class Layout(Protocol):
    """The blocks of one archive.

    ``starts`` has the offset of each block, in bytes, and at its end the length of the archive. Where ``has_crcs``,
    some feet contain the CRC-32 of a member's content; their length never depends on it.
    """

    has_crcs: ClassVar[bool]
    starts: array[int]
    tree: Tree

    def head(self, block: int) -> bytes:
        """Return the bytes before the content."""

    def content_of(self, block: int) -> int | None:
        """Return the member whose content stands in the block; ``None``: there is none, or it is empty."""

    def crc_of(self, block: int) -> int | None:
        """Return the member whose CRC-32 the foot contains; ``None``: the foot can be written without one."""

    def foot(self, block: int, crc32: int) -> bytes:
        """Return the bytes behind the content."""


@dataclass(frozen=True, slots=True)
class Content:
    """*count* bytes at *offset* of the content of *member*; none of a file that is empty."""

    member: int
    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Foot:
    """The bytes from *first* to before *last* of the foot of *block*, which contains the CRC-32 of *member*."""

    block: int
    member: int
    first: int
    last: int


def pieces(layout: Layout, start: int, stop: int) -> Iterator[bytes | Content | Foot]:
    """Yield what makes up the archive from *start* to *stop*, in order: literal bytes, contents, feet with a CRC-32."""
    block = bisect_right(layout.starts, start) - 1
    while start < stop:
        for piece, length in _pieces_of(layout, block, start - layout.starts[block], stop - layout.starts[block]):
            yield piece
            start += length
        block += 1


def _pieces_of(layout: Layout, block: int, first: int, last: int) -> Iterator[tuple[bytes | Content | Foot, int]]:
    """Yield the pieces of one block from *first* to *last*, counted from its beginning, with their lengths."""
    head = layout.head(block)
    if data := head[first:last]:
        yield data, len(data)
    at = len(head)
    member = layout.content_of(block)
    if member is not None:
        size = layout.tree.statuses.sizes[member]
        begin, end = max(first - at, 0), min(last - at, size)
        if begin < end:
            yield Content(member, begin, end - begin), end - begin
        at += size
    elif first <= at < last and block < len(layout.tree) and layout.tree.is_file(block):
        yield Content(block, 0, 0), 0  # no bytes, but a look whether it is still there and empty
    begin, end = max(first - at, 0), min(last, layout.starts[block + 1] - layout.starts[block]) - at
    if begin < end:
        yield _foot(layout, block, begin, end), end - begin


def _foot(layout: Layout, block: int, first: int, last: int) -> bytes | Foot:
    member = layout.crc_of(block)
    return layout.foot(block, 0)[first:last] if member is None else Foot(block, member, first, last)
