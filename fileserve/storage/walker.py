"""Opening beneath a directory component by component, where openat2 is missing or does not decide.

Each component is opened relative to the descriptor of the one before, with ``O_NOFOLLOW``: the kernel never follows
a link here, so whatever is renamed or swapped meanwhile leads nowhere else. Symbolic links are read and resolved in
this module: their components are put in front of those still to come. ``..`` goes back to the root and walks the
way to the parent again, so at most two descriptors are open at a time and a directory that is moved meanwhile is no
way out.

A link with an absolute target counts as one beneath the root when its text begins with a path of the root (its
real path, or the one it was opened by); every other absolute link, and each ``..`` above the root, is ``OutsideRoot``.
Without links, names cost one system call a component.

Left out: ``..`` inside the root's own part of an absolute target (``/srv/x/../root/file``): it is ``OutsideRoot``.
"""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from fileserve.storage.errors import LinkLoop, OutsideRoot
from fileserve.storage.names import Name

__all__ = ["DIRECTORY", "open_beneath", "stat_beneath"]

T = TypeVar("T")

MAX_LINKS = 40  # the kernel's own limit: path_resolution(7)

#: How a directory is opened to be passed through; O_PATH asks for no permission to read it.
DIRECTORY: int = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


def open_beneath(root_fd: int, anchors: Sequence[Name], name: Name, flags: int) -> int:
    """Open *name* beneath *root_fd* with the ``O_`` *flags* and return the descriptor.

    *anchors* are the components of the absolute paths that lead to the root. Raises ``OSError`` as ``os.open``
    does, ``OutsideRoot`` for a link that leaves, ``LinkLoop`` beyond 40 links.
    """
    with _Walk(root_fd, anchors, name) as walk:
        return walk.end(lambda fd, component: os.open(component, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd))


def stat_beneath(root_fd: int, anchors: Sequence[Name], name: Name) -> os.stat_result:
    """Return the status of *name* beneath *root_fd*, links followed; raises as ``open_beneath`` does."""
    with _Walk(root_fd, anchors, name) as walk:
        return walk.end(_stat)


def _stat(fd: int, component: bytes) -> os.stat_result:
    status = os.stat(component, dir_fd=fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))  # as an open with O_NOFOLLOW says it
    return status


def _open_directory(fd: int, component: bytes) -> int:
    return os.open(component, DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)


class _Walk:
    """One walk: where it stands, the components that led here, and those still to come (the next one last)."""

    __slots__ = ("_anchors", "_here", "_links", "_pending", "_root", "_way")

    def __init__(self, root_fd: int, anchors: Sequence[Name], name: Name) -> None:
        self._root = self._here = root_fd
        self._anchors = anchors
        self._way: list[bytes] = []
        self._pending = list(reversed(name))
        self._links = 0

    def __enter__(self) -> "_Walk":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stand_at(self._root)

    def end(self, act: Callable[[int, bytes], T]) -> T:
        """Walk to the last component and return what *act* makes of it and of its directory's descriptor.

        *act* must not follow links; it says ELOOP (or ENOTDIR) to one.
        """
        while self._pending:
            component = self._pending.pop()
            if component == b"..":
                self._climb()
            elif component in (b"", b"."):  # from a link's text; a trailing slash demands a directory, and gets "."
                continue
            elif self._pending:
                self._descend(component)
            elif (result := self._attempt(act, component)) is not None:
                return result
        return act(self._here, b".")

    def _attempt(self, act: Callable[[int, bytes], T], component: bytes) -> T | None:
        """Return what *act* makes of a component; ``None``: it is a link, whose target is now to come."""
        try:
            return act(self._here, component)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            self._follow(component, error)
            return None

    def _descend(self, component: bytes) -> None:
        child = self._attempt(_open_directory, component)
        if child is not None:
            self._stand_at(child)
            self._way.append(component)

    def _climb(self) -> None:
        """Go to the parent, by the way that was walked: the file system's ``..`` may have moved out of the root."""
        if not self._way:
            raise OutsideRoot
        self._pending.extend(reversed(self._way[:-1]))
        self._return_to_root()

    def _follow(self, component: bytes, refusal: OSError) -> None:
        try:
            target = os.readlink(component, dir_fd=self._here)
        except OSError as error:
            raise refusal if error.errno == errno.EINVAL else error from None  # EINVAL: it is no link
        self._links += 1
        if self._links > MAX_LINKS:
            raise LinkLoop
        self._pending.extend(reversed(self._from_root(target) if target.startswith(b"/") else target.split(b"/")))

    def _from_root(self, target: bytes) -> list[bytes]:
        components = [component for component in target.split(b"/") if component not in (b"", b".")]
        for anchor in self._anchors:
            if tuple(components[: len(anchor)]) == anchor:
                self._return_to_root()
                return components[len(anchor) :]
        raise OutsideRoot

    def _return_to_root(self) -> None:
        self._way.clear()
        self._stand_at(self._root)

    def _stand_at(self, fd: int) -> None:
        if self._here != self._root:
            os.close(self._here)
        self._here = fd
