"""``Tree``: the members of an archive, as columns that hold a hundred thousand of them in some 20 MiB.

A member is a directory, a regular file or a symbolic link beneath the archived directory, which is member 0 and its
own parent. Members stand in depth-first order, the names of each directory sorted as bytes, so that the order is
the same on every file system and a directory comes before what lies in it.

Only the last component of each path is kept, with the number of the directory that it lies in; numbers stand in
arrays. Times are lists of integers, because nanoseconds beyond the year 2262 do not fit into 64 bits.

Left out: how a tree is read (``scan``), looked at again (``recheck``) and written down (``tar``, ``zipping``).
"""

from __future__ import annotations  # array[int] is a type for the checker alone until Python 3.12

import hashlib
import stat
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fileserve.storage.names import Name, display_name
from fileserve.storage.reader import FileStatus

__all__ = ["Links", "Statuses", "Tree", "display_path"]

# What one member costs beside its name: two times of 40 bytes, five numbers, a bytes object, starts in the layout.
_MEMBER_COST = 210


def display_path(components: Iterable[bytes]) -> str:
    """Return a path of components as text for people."""
    return "/".join(map(display_name, components))


@dataclass(frozen=True, slots=True, eq=False)
class Statuses:
    """What lstat says of each member, and stat where a link is archived as the file that it leads to.

    ``sizes`` in bytes: 0 for a directory, the length of the target for a link.
    """

    modes: array[int] = field(default_factory=lambda: array("I"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    mtimes_ns: list[int] = field(default_factory=list)
    ctimes_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """The symbolic links of a tree.

    ``targets``: the text of each member that is a link. ``followed``: members archived as the file that the link
    leads to. ``strays``: links that are no members, each by the number of its directory and its name.
    """

    targets: dict[int, bytes] = field(default_factory=dict)
    followed: set[int] = field(default_factory=set)
    strays: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The members beneath the directory *name*; nothing changes in it once it is read."""

    name: Name
    components: list[bytes] = field(default_factory=list)
    parents: array[int] = field(default_factory=lambda: array("I"))
    statuses: Statuses = field(default_factory=Statuses)
    links: Links = field(default_factory=Links)

    def __len__(self) -> int:
        return len(self.components)

    def path(self, member: int) -> Name:
        """Return the components of the member's path below the archived directory; none for that directory itself."""
        reverse = []
        while member:
            reverse.append(self.components[member])
            member = self.parents[member]
        return tuple(reversed(reverse))

    def display(self, member: int) -> str:
        """Return the member's path below the archived directory as text for people."""
        return display_path(self.path(member) or self.components[:1])

    def archived_path(self, member: int) -> bytes:
        """Return the path in an archive: below the archived directory's name, and with a slash for a directory."""
        path = b"/".join((self.components[0], *self.path(member)))
        return path + b"/" if self.is_directory(member) else path

    def archived_paths(self) -> Iterator[bytes]:
        """Yield the ``archived_path`` of each member in turn, which costs less than to ask for each."""
        directories = {0: b""}
        for member, component in enumerate(self.components):
            path = directories[self.parents[member]] + component
            if self.is_directory(member):
                path = directories[member] = path + b"/"
            yield path

    def is_directory(self, member: int) -> bool:
        """Tell whether the member is a directory."""
        return stat.S_ISDIR(self.statuses.modes[member])

    def is_file(self, member: int) -> bool:
        """Tell whether the member has a file's content."""
        return stat.S_ISREG(self.statuses.modes[member])

    def status(self, member: int) -> FileStatus:
        """Return the member's status as a value."""
        of = self.statuses
        return FileStatus(
            of.sizes[member], of.mtimes_ns[member], of.ctimes_ns[member], of.inodes[member], of.modes[member]
        )

    def footprint(self) -> int:
        """Return about how many bytes of memory the tree and its layout take."""
        return sum(map(len, self.components)) + _MEMBER_COST * len(self) + 200 * len(self.links.strays)

    def identity(self, version: bytes, *, with_inodes: bool = True) -> str:
        """Return a digest (hexadecimal, 64 characters) of *version* and of all that an archive shows of the members.

        Inode numbers are in it because a file that is replaced may keep its size and mtime; replicas of one tree, whose
        archives are to have one identity, leave them out.
        """
        of = self.statuses
        targets = sorted(self.links.targets.items())
        digest = hashlib.sha256(version)
        inodes = of.inodes if with_inodes else b""
        for column in (b"\0".join(self.components), self.parents, of.modes, of.sizes, inodes):
            digest.update(len(column).to_bytes(8, "big"))
            digest.update(column)
        digest.update(repr((of.mtimes_ns, targets)).encode())
        return digest.hexdigest()
