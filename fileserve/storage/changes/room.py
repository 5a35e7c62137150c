"""What an upload needs of a disk, and whether that is there: before it begins, and while it grows.

Of a known length, room is reserved at the start; from then on the disk itself counts it for everybody. One upload of a
process does that at a time, so that of two of which one fits, one is taken. Where those of two processes have reserved
what is not there for both, each gives back its own, and tries again after a moment of its own length. What grows
without one is looked at as it does, and the more often the less is left: each takes a small part of that between two
looks, so that many at once do not pass the limit together by more than a few batches.
"""

import errno
import random
import threading
import time
from dataclasses import dataclass

from fileserve.storage.changes.target import Target
from fileserve.storage.errors import NoSpace, os_errors_of_changes
from fileserve.storage.space import available, give_back, reserve

__all__ = ["Need", "Room", "check_room", "check_space"]

_SELDOM = 64 * 1024 * 1024  # bytes between two looks, at the most
_OFTEN = 256 * 1024  # and at the least: a batch
_TRIES_S = (0.1, 0.2, 0.4)  # of reserving once more, after so long at the most
_SHARE = 256  # Policy: so many uploads at once, over all workers, keep to what is left together


@dataclass(frozen=True, slots=True)
class Need:
    """What is known of an upload before it begins.

    *length* in bytes, where it is known, and *room* what should fit at least, where only that is; *keep_free* is what
    the disk must have left then; *digests* says whether to compute them as the bytes pass, *sha512* whether that one,
    too.
    """

    length: int | None = None
    room: int = 0
    keep_free: int = 0
    digests: bool = True
    sha512: bool = False


_FULL = (errno.ENOSPC, errno.EDQUOT)
_reserving = threading.Lock()


class Room:
    """The room that one file takes while it is written."""

    __slots__ = ("_need", "_next", "is_reserved")

    def __init__(self, need: Need) -> None:
        self._need = need
        self.is_reserved = False
        self._next = 0

    def reserve(self, fd: int, written: int = 0) -> None:
        """Reserve room for the whole file, where its length is known, of which so much is *written*. Blocks.

        Raises ``NoSpace`` and ``OSError``.
        Where it does not fit, nothing is reserved beyond what is in the file.
        """
        for longest_s in _TRIES_S:
            if self._reserve_once(fd, written):
                return
            time.sleep(random.uniform(0, longest_s))
        if not self._reserve_once(fd, written):
            raise NoSpace

    def _reserve_once(self, fd: int, written: int) -> bool:
        """Return whether what fits is still there behind its reservation. Raises ``NoSpace`` where it does not fit.

        The disk is looked at once more: of processes that looked at the same time, each saw the same room.
        """
        with _reserving, os_errors_of_changes():
            check_space(fd, self._need, written)
            try:
                self.is_reserved = reserve(fd, self._need.length or 0)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            else:
                if not self.is_reserved or available(fd) >= self._need.keep_free:
                    return True
            give_back(fd)
            self.is_reserved = False
            return False

    def look(self, fd: int, written: int) -> None:
        """Raise ``NoSpace`` where *written* bytes have taken what is to be kept free. It is looked at now and then."""
        if self.is_reserved or written < self._next:
            return
        left = available(fd) - self._need.keep_free
        if left < 0:
            raise NoSpace
        self._next = written + min(_SELDOM, max(_OFTEN, left // _SHARE))


def check_room(target: Target, need: Need) -> None:
    """Raise what ``open_draft`` would raise for want of a right, a directory or space."""
    target.check()
    with target.nearest() as directory, os_errors_of_changes():
        check_space(directory, need)


def check_space(fd: int, need: Need, written: int = 0) -> None:
    """Raise ``NoSpace`` unless what is needed fits on the file system of *fd*, where so much is *written*."""
    if available(fd) < max(0, (need.length or need.room) - written) + need.keep_free:
        raise NoSpace
