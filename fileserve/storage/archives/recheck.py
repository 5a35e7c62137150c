"""Whether a tree that was read before is still what lies on the disk: one lstat for each member, in a thread.

A name that was added or removed shows in the mtime of its directory, and directories are members. What can change
without that is looked at by itself: the text of each link, the file behind a link that is archived as one, and links
that were left out because they led nowhere. A tree read with patterns to include leaves directories out, so it
cannot be checked, and is read anew each time.

Only ctimes of files may differ, because a hard link or a new owner changes them and not the content; where one does,
the file is asked again whether it may be read. A directory whose ctime differs is read anew: names may have come and
gone in it before somebody set its mtime back, as copying programs do.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import replace

from fileserve.storage.archives import links
from fileserve.storage.archives.scan import check_wanted, may_read
from fileserve.storage.archives.tree import Tree
from fileserve.storage.descent import Descent
from fileserve.storage.errors import StorageError, os_errors
from fileserve.storage.root import Root

__all__ = ["recheck_tree"]


def recheck_tree(root: Root, tree: Tree, is_wanted: Callable[[], bool]) -> Tree | None:
    """Return *tree* with the ctimes of now, or ``None`` when it has to be read anew.

    Blocks; for a thread. Whatever goes wrong here goes wrong again, and is told, when the tree is read anew.
    """
    try:
        with Descent(root.open_directory(tree.name)) as place, os_errors():
            ctimes_ns = _Recheck(root, tree, place).run(is_wanted)
    except StorageError:
        return None
    if ctimes_ns is None:
        return None
    return replace(tree, statuses=replace(tree.statuses, ctimes_ns=ctimes_ns))


class _Recheck:
    """One look at all members, and the ctimes that it found."""

    __slots__ = ("_ctimes_ns", "_place", "_root", "_tree")

    def __init__(self, root: Root, tree: Tree, place: Descent) -> None:
        self._root = root
        self._tree = tree
        self._place = place
        self._ctimes_ns: list[int] = []

    def run(self, is_wanted: Callable[[], bool]) -> list[int] | None:
        """Return the ctimes; ``None`` as soon as something is not as it was."""
        parents, modes = self._tree.parents, self._tree.statuses.modes
        is_link, here = frozenset(self._tree.links.targets) | self._tree.links.followed, 0
        for member, component in enumerate(self._tree.components):
            while here != parents[member]:
                self._place.ascend()
                here = parents[here]
            status: os.stat_result | None
            if stat.S_ISDIR(modes[member]):
                check_wanted(is_wanted)
                status = self._place.descend(component) if member else os.fstat(self._place.fd)
                here = member
            elif member in is_link:
                status = self._status_of_link(member)
            else:
                status = os.stat(component, dir_fd=self._place.fd, follow_symlinks=False)
            if status is None or not self._is_as_it_was(member, status):
                return None
        return None if self._strays_lead_somewhere() else self._ctimes_ns

    def _status_of_link(self, member: int) -> os.stat_result | None:
        component, fd = self._tree.components[member], self._place.fd
        if member in self._tree.links.followed:
            return links.follow(self._root, self._tree.name + self._tree.path(member))
        is_same = os.readlink(component, dir_fd=fd) == self._tree.links.targets[member]
        return os.stat(component, dir_fd=fd, follow_symlinks=False) if is_same else None

    def _is_as_it_was(self, member: int, status: os.stat_result) -> bool:
        of = self._tree.statuses
        mode = of.modes[member]
        if (
            status.st_mtime_ns != of.mtimes_ns[member]
            or status.st_ino != of.inodes[member]
            or status.st_mode != mode
            or (status.st_size != of.sizes[member] and stat.S_ISREG(mode))
        ):
            return False
        self._ctimes_ns.append(status.st_ctime_ns)
        if status.st_ctime_ns == of.ctimes_ns[member] or stat.S_ISLNK(mode):
            return True
        return stat.S_ISREG(mode) and may_read(self._place.fd, self._tree.components[member])

    def _strays_lead_somewhere(self) -> bool:
        """Tell whether a link that led to no file does so now.

        To a directory among the members it cannot have begun to lead: that would have shown in those above it.
        """
        tree = self._tree
        for directory, component in tree.links.strays:
            led = links.follow(self._root, (*tree.name, *tree.path(directory), component))
            if led is not None and stat.S_ISREG(led.st_mode):
                return True
        return False
