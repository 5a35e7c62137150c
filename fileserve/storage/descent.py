"""``Descent``: going through a tree of directories by descriptors, without ever following a link.

A child is opened relative to its directory with ``O_NOFOLLOW``, so a directory that is swapped for a link leads
nowhere. The way back up is ``..``, and what it leads to must be the very directory (device and inode) that was left;
a directory that was moved meanwhile is ``ContentChanged``. So a tree of any depth takes two descriptors.
"""

import os
import stat
from types import TracebackType

from fileserve.storage.errors import ContentChanged

__all__ = ["Descent", "status_inside"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_Identity = tuple[int, int]


class Descent:
    """Where a walk stands. Owns *top*, the descriptor of the directory that it begins in; blocks, for one thread."""

    __slots__ = ("_above", "_here", "fd", "top")

    def __init__(self, top: int) -> None:
        self.top = self.fd = top
        self._above: list[_Identity] = []
        self._here = _identity(os.fstat(top))

    def __enter__(self) -> "Descent":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stand_at(self.top)
        os.close(self.top)

    def descend(self, component: bytes) -> os.stat_result:
        """Go into a directory and return its status; ``OSError`` (and no step) when it is none, or may not be read."""
        child = os.open(component, _DIRECTORY, dir_fd=self.fd)
        status = os.fstat(child)
        self._above.append(self._here)
        self._here = _identity(status)
        self._stand_at(child)
        return status

    def ascend(self) -> None:
        """Go back to the directory above."""
        self._here = self._above.pop()
        if not self._above:
            return self._stand_at(self.top)
        parent = os.open(b"..", _DIRECTORY, dir_fd=self.fd)
        self._stand_at(parent)
        if _identity(os.fstat(parent)) != self._here:
            raise ContentChanged("a directory was moved while it was being read")

    def _stand_at(self, fd: int) -> None:
        if self.fd != self.top:
            os.close(self.fd)
        self.fd = fd


def status_inside(top: int, path: tuple[bytes, ...]) -> tuple[os.stat_result, bytes | None]:
    """Return the status of *path* below *top*, and its text where it is a link; no link on the way is followed.

    Raises ``OSError`` when a component on the way is a link or no directory.
    """
    fd = top
    try:
        for component in path[:-1]:
            child = os.open(component, _PASSAGE, dir_fd=fd)
            if fd != top:
                os.close(fd)
            fd = child
        status = os.stat(path[-1], dir_fd=fd, follow_symlinks=False)
        return status, os.readlink(path[-1], dir_fd=fd) if stat.S_ISLNK(status.st_mode) else None
    finally:
        if fd != top:
            os.close(fd)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
