"""What an upload needs of a disk, and whether that is there: before it begins, and while it grows.

Of a known length, room is reserved at the start; from then on the disk itself counts it for everybody. What grows
without one is looked at as it does, and the more often the less is left: each takes a small part of that between two
looks, so that many at once do not pass the limit together by more than a few batches.
"""

from dataclasses import dataclass

from fileserve.storage.changes.target import Target
from fileserve.storage.errors import NoSpace, os_errors_of_changes
from fileserve.storage.space import available, reserve

__all__ = ["Need", "Room", "check_room", "check_space"]

_SELDOM = 64 * 1024 * 1024  # bytes between two looks, at the most
_OFTEN = 256 * 1024  # and at the least: a batch
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


class Room:
    """The room that one file takes while it is written."""

    __slots__ = ("_is_reserved", "_need", "_next")

    def __init__(self, need: Need) -> None:
        self._need = need
        self._is_reserved = need.length is not None  # a session's file had it reserved when it was begun
        self._next = 0

    def reserve(self, fd: int) -> None:
        """Reserve room for the whole file, where its length is known. Raises ``NoSpace`` and ``OSError``.

        The disk is looked at once more behind that: of several who looked at the same time, each saw the same room.
        """
        self._is_reserved = reserve(fd, self._need.length or 0)
        if self._is_reserved and available(fd) < self._need.keep_free:
            raise NoSpace

    def look(self, fd: int, written: int) -> None:
        """Raise ``NoSpace`` where *written* bytes have taken what is to be kept free. It is looked at now and then."""
        if self._is_reserved or written < self._next:
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


def check_space(fd: int, need: Need) -> None:
    """Raise ``NoSpace`` unless what is needed fits on the file system of *fd*."""
    if available(fd) < (need.length or need.room) + need.keep_free:
        raise NoSpace
