"""Which region a message means, what is left of it as it is sent, and whether the page cache has what comes next.

Left out: the sending (`zerocopy`).
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from fileserve import disk

__all__ = ["SPAN", "Region", "region_of"]

SPAN = 512 * 1024  # bytes sent by one call, at the most
LOOK_AHEAD = 4 * SPAN  # one look at the page cache for so many bytes: a look costs as much as sending 20 KiB


class Region:
    """What is left of the region under way, and who waits for its end."""

    __slots__ = ("_resident_to", "done", "file", "start", "stop")

    def __init__(self, file: int, start: int, stop: int) -> None:
        self.file = file
        self.start = start
        self.stop = stop
        self.done: asyncio.Future[None] | None = None
        self._resident_to = -1  # the page cache had the bytes from `start` to here

    def is_resident(self, stop: int) -> bool:
        """Tell whether the page cache has what comes next, up to *stop*, by a look at its ends.

        Looks as far ahead as it may, and again only behind that; where the end ahead is missing, at *stop*.
        """
        known = self._resident_to
        if stop <= known:
            return True
        if self.start > known and not disk.is_resident(self.file, self.start):
            return False
        for end in (min(self.start + LOOK_AHEAD, self.stop), stop):
            if disk.is_resident(self.file, end - 1):
                self._resident_to = end
                return True
        return False

    def settle(self, error: OSError | None) -> None:
        """Tell who waits that there is no more to wait for, or the *error*; once is enough, and twice no harm."""
        if self.done is None or self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


def region_of(message: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return descriptor, offset and count of an ASGI *message*; by default its position, and the rest of the file.

    Raises:
        ValueError: the count is negative.
    """
    file = message["file"] if isinstance(message["file"], int) else message["file"].fileno()
    offset, count = message.get("offset"), message.get("count")
    if offset is None:
        offset = os.lseek(file, 0, os.SEEK_CUR)
    if count is None:
        count = max(0, os.fstat(file).st_size - offset)
    if count < 0:
        raise ValueError("The count of a region is negative.")
    return file, offset, count
