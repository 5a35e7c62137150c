"""Reading one growing file by lines: ``LineReader``, and where its last lines begin.

A line ends with LF or CRLF, which are no part of it. What was given out is told by a ``Position``: the file's inode
number, the next byte's offset, and a fingerprint of the bytes that the file begins with, because inode numbers are
used again. The fingerprint is of the bytes before the offset, 256 at most, so that it stays true while a file grows.

Strategy: every read begins at the offset, with one byte before it: when that is gone, or the file begins with other
bytes, its content was cut, and what is there now is another content. The offset moves when lines are given out and at
no other time, so that a wait can be broken off anywhere. Nothing is kept but the first bytes.

Left out: when to read again, and where a name leads after a rotation (``following``).
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from fileserve.storage.reader import OpenFile

__all__ = ["HEAD", "Line", "LineReader", "Position", "fingerprint", "last_lines", "split_lines"]

LINE = 64 * 1024  # bytes of a line that are given out as one
LINES = 1024  # lines of one read: empty ones cost their receiver far more than a byte each
HEAD = 256  # bytes that tell a file from another one of the same inode number
LOOK_BACK = 16 * 1024 * 1024  # bytes that are searched for the beginning of the last lines
BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a file was read, and which file it was."""

    inode: int
    fingerprint: str
    offset: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line's bytes, or with *is_part* a piece of a long one that goes on; *position* is behind them."""

    text: bytes
    position: Position
    is_part: bool = False


class LineReader:
    """Reads the lines of *file*, which stays the caller's, from *offset* on. *head* are its first bytes."""

    __slots__ = ("_goes_on", "_head", "_offset", "file")

    def __init__(self, file: OpenFile, head: bytes, offset: int) -> None:
        self.file = file
        self._head = head
        self._offset = offset
        self._goes_on = False  # the last piece given out was not the end of its line

    @property
    def position(self) -> Position:
        """Where the next line begins."""
        return self._position(self._offset)

    async def read(self, *, to_the_end: bool = False) -> list[Line] | None:
        """Return the next lines, some 64 KiB of them; ``None``: the content up to here is no longer there.

        Policy: the last line waits for its newline, since a reader that takes half a line cannot know that it is half;
        *to_the_end* gives it out without, for a file that nobody writes any more. A line of more than 64 KiB does not
        wait; its pieces end between two characters of UTF-8.
        """
        before = min(self._offset, 1)
        data = await self.file.read(self._offset - before, before + LINE + 1)
        head = await self.file.read(0, HEAD)  # after the data: when it is the old one, the data is of the old content
        if len(data) < before or not head.startswith(self._head):
            return None
        self._head = head
        pieces = split_lines(data[before:], to_the_end=to_the_end)
        if not pieces and to_the_end and self._goes_on:
            pieces = [(b"", 0, False)]
        lines = [Line(text, self._position(self._offset + stop), is_part) for text, stop, is_part in pieces]
        if lines:
            self._offset = lines[-1].position.offset
            self._goes_on = lines[-1].is_part
        return lines

    def _position(self, offset: int) -> Position:
        return Position(self.file.status.inode, fingerprint(self._head, offset), offset)


def fingerprint(head: bytes, offset: int) -> str:
    """Return what tells a file that begins with *head* and was read up to *offset* from others."""
    return _short_hash(head[: min(offset, HEAD)])


def split_lines(data: bytes, *, to_the_end: bool) -> list[tuple[bytes, int, bool]]:
    """Return the lines of *data*, one byte more than a line may have at the most: text, where it stops, is it a part.

    Fewer bytes than that end with the file.
    """
    pieces: list[tuple[bytes, int, bool]] = []
    start = 0
    while len(pieces) < LINES and (newline := data.find(b"\n", start)) >= 0:
        pieces.append((data[start:newline].removesuffix(b"\r"), newline + 1, False))
        start = newline + 1
    if len(pieces) == LINES or start == len(data):
        return pieces
    if not start and len(data) > LINE:
        cut = _cut(data)
        return [(data[:cut], cut, True)]
    if to_the_end and len(data) <= LINE:
        pieces.append((data[start:], len(data), False))
    return pieces


async def last_lines(file: OpenFile, count: int) -> int:
    """Return the offset at which the last *count* lines of *file* begin; an unfinished one is not counted.

    With 0, where the unfinished line begins. Reads backwards, 16 MiB at the most: where the lines are longer, there are
    fewer of them, and without any newline it is the end.
    """
    stop = file.status.size
    earliest = max(0, stop - LOOK_BACK)
    begin = stop
    while stop > earliest:
        start = max(earliest, stop - BLOCK)
        data = await file.read(start, stop - start)
        newline = len(data)
        while (newline := data.rfind(b"\n", 0, newline)) >= 0:
            begin = start + newline + 1
            if not count:
                return begin
            count -= 1
        stop = start
    return begin if earliest else 0


@lru_cache(maxsize=1024)  # a file's lines but the first few have all the same one
def _short_hash(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:16]


def _cut(data: bytes) -> int:
    """Return where to cut a long line: between two characters, where it is UTF-8."""
    starts = (cut for cut in range(LINE, LINE - 4, -1) if data[cut] & 0xC0 != 0x80)
    return next(starts, LINE)
