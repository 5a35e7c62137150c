"""Reading a directory, with all that lies beneath it, into a ``Tree``.

Each directory is opened relative to its own with ``O_NOFOLLOW``, read, and its names are sorted; each name costs one
lstat, and each file one question whether the server may read it, so that what cannot be archived is an error with
its name before the first byte is sent. What vanishes meanwhile is left out, as if it had gone a moment before.

Names that begin with a dot are left out unless the root shows them; those of files that are being uploaded always
are. FIFOs, sockets and devices are left out.

Left out: the check that a tree is still what it was (``recheck``).
"""

import errno
import os
import stat
from collections.abc import Callable
from itertools import islice

from fileserve.storage.archives import links
from fileserve.storage.archives.selection import Selection
from fileserve.storage.archives.tree import Tree, display_path
from fileserve.storage.descent import Descent
from fileserve.storage.errors import Busy, NameTooLong, NotFound, NotPermitted, TooManyMembers, os_errors
from fileserve.storage.names import MAX_NAME, Name, is_shown
from fileserve.storage.root import Root

__all__ = ["check_wanted", "may_read", "scan_tree"]

# Policy: members always lie under one folder, so that unpacking never strews files over the working directory. The
# root's own name is a path of the server, so an archive of the root has this one.
_NAME_OF_ROOT = b"files"

_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE))
_EFFECTIVE = os.access in os.supports_effective_ids

# Policy: patterns may choose few of many names; but a list of names is memory, and sorting it is work.
_MOST_NAMES = 2_000_000

Names = list[bytes]


def scan_tree(root: Root, name: Name, selection: Selection, max_members: int, is_wanted: Callable[[], bool]) -> Tree:
    """Read the directory *name* beneath *root*. Blocks; for a thread, which ends soon once *is_wanted* says no.

    Raises ``NotFound``, ``NotDirectory`` and their like; ``NotPermitted`` with the name of a member that may not be
    read; ``TooManyMembers`` beyond *max_members*; ``NameTooLong`` for a path that could not be opened again.
    """
    with Descent(root.open_directory(name)) as place, os_errors():
        return _Scan(root, Tree(name), selection, max_members, is_wanted, place).run()


def may_read(directory: int, component: bytes) -> bool:
    """Tell whether the server's user may read a file of the open *directory*, links followed."""
    return os.access(component, os.R_OK, dir_fd=directory, effective_ids=_EFFECTIVE)


def check_wanted(is_wanted: Callable[[], bool]) -> None:
    """Raise when nobody waits for the result any more."""
    if not is_wanted():
        raise Busy("nobody waits for the archive any more")


def _not_permitted(path: Name) -> NotPermitted:
    return NotPermitted(f"reading {display_path(path)} is not permitted")


class _Scan:
    """One scan: the tree so far, where it stands, and the path of that below the archived directory."""

    __slots__ = ("_is_wanted", "_max_members", "_place", "_root", "_selection", "_tree", "_way")

    def __init__(
        self,
        root: Root,
        tree: Tree,
        selection: Selection,
        max_members: int,
        is_wanted: Callable[[], bool],
        place: Descent,
    ) -> None:
        self._root = root
        self._tree = tree
        self._selection = selection
        self._max_members = max_members
        self._is_wanted = is_wanted
        self._place = place
        self._way: Name = ()

    def run(self) -> Tree:
        top = os.fstat(self._place.fd)
        if not top.st_nlink:  # it was deleted; reading it would be no error
            raise NotFound
        self._add(0, self._tree.name[-1] if self._tree.name else _NAME_OF_ROOT, top, 0)
        stack = [(0, self._names())]
        while stack:
            entered = self._enter_next(*stack[-1])
            if entered:
                stack.append((entered, self._names()))
            else:
                self._leave(stack.pop()[0])
        return self._tree

    def _names(self) -> Names:
        """Return the names of the directory where the scan stands, the first one last."""
        check_wanted(self._is_wanted)
        room = self._max_members - len(self._tree)
        shows_hidden = self._root.hidden
        with os.scandir(self._place.fd) as found:
            shown = (item.name for item in found if is_shown(item.name, shows_hidden))
            names = list(map(os.fsencode, islice(shown, room + 1 if self._selection.is_everything else _MOST_NAMES)))
        if len(names) == _MOST_NAMES:
            raise self._too_many()
        if len(names) > room and self._selection.is_everything:
            raise self._too_many()
        self._check_lengths(names)
        names.sort(reverse=True)
        return names

    def _check_lengths(self, names: Names) -> None:
        room = MAX_NAME - sum(len(component) + 1 for component in self._tree.name + self._way)
        if room < max(map(len, names), default=0):
            raise NameTooLong(f"a path in {display_path(self._way)} is too long")

    def _enter_next(self, directory: int, names: Names) -> int:
        """Take members from *names* until one is a directory; return its number, or 0 at the end."""
        everything = self._selection.is_everything
        while names:
            component = names.pop()
            status = self._status(component)
            if status is None:
                continue
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFREG:
                if everything or self._selection.takes((*self._way, component)):
                    self._add_file(directory, component, status)
            elif kind == stat.S_IFDIR:
                if entered := self._enter(directory, component):
                    return entered
            elif kind == stat.S_IFLNK and self._selection.takes((*self._way, component)):
                self._add_link(directory, component, status)
        return 0

    def _status(self, component: bytes) -> os.stat_result | None:
        try:
            return os.stat(component, dir_fd=self._place.fd, follow_symlinks=False)
        except OSError as error:
            self._refuse(error, component)
            return None

    def _refuse(self, error: OSError, component: bytes) -> None:
        """Return when the name is gone, or another thing than a moment ago; raise otherwise."""
        if isinstance(error, PermissionError):
            raise _not_permitted((*self._way, component)) from error
        if error.errno not in _GONE:
            raise error

    def _enter(self, directory: int, component: bytes) -> int:
        path = (*self._way, component)
        if self._selection.excludes(path):
            return 0
        try:
            status = self._place.descend(component)
        except OSError as error:
            self._refuse(error, component)
            return 0
        self._way = path
        self._add(directory, component, status, 0)
        return len(self._tree) - 1

    def _leave(self, directory: int) -> None:
        tree = self._tree
        if not directory:
            return
        self._place.ascend()
        self._way = self._way[:-1]
        if self._selection.is_partial and directory == len(tree) - 1:  # nothing in it was asked for
            of = tree.statuses
            for column in (tree.components, tree.parents, of.modes, of.sizes, of.inodes, of.mtimes_ns, of.ctimes_ns):
                column.pop()

    def _add_file(self, directory: int, component: bytes, status: os.stat_result) -> None:
        if not may_read(self._place.fd, component):
            raise _not_permitted((*self._way, component))
        self._add(directory, component, status, status.st_size)

    def _add_link(self, directory: int, component: bytes, status: os.stat_result) -> None:
        path, found = (*self._way, component), self._tree.links
        try:
            target = os.readlink(component, dir_fd=self._place.fd)
            led = links.follow(self._root, self._tree.name + path)
        except OSError as error:
            return self._refuse(error, component)
        except NotPermitted as error:
            raise _not_permitted(path) from error
        fate = links.judge(self._place.top, path, target, led, self._admits) if led else links.Fate.NOTHING
        if fate is links.Fate.LINK:
            found.targets[len(self._tree)] = target
            self._add(directory, component, status, len(target))
        elif fate is links.Fate.FILE and led:
            found.followed.add(len(self._tree))
            self._add_file(directory, component, led)
        else:
            found.strays.append((directory, component))
            self._check_count()

    def _admits(self, path: Name, is_directory: bool) -> bool:
        seen = all(is_shown(component, self._root.hidden) for component in path)
        return seen and self._selection.reaches(path, is_directory=is_directory)

    def _add(self, directory: int, component: bytes, status: os.stat_result, size: int) -> None:
        tree, of = self._tree, self._tree.statuses
        tree.components.append(component)
        tree.parents.append(directory)
        of.modes.append(status.st_mode)
        of.sizes.append(size)
        of.inodes.append(status.st_ino)
        of.mtimes_ns.append(status.st_mtime_ns)
        of.ctimes_ns.append(status.st_ctime_ns)
        self._check_count()

    def _check_count(self) -> None:
        if len(self._tree.components) + len(self._tree.links.strays) > self._max_members:
            raise self._too_many()

    def _too_many(self) -> TooManyMembers:
        return TooManyMembers(
            f"the directory holds more than {self._max_members} files and directories, the limit of an archive;"
            " ask for the directories in it one by one, or leave some out with ?exclude="
        )
