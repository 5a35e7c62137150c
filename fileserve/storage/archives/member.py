"""Opening a member of an archive again, and holding it against the table that the archive was announced by.

A member is opened through ``Root``, like any file, when its turn comes; by then it may be another one. Size, mtime and
inode must be those of the table, also for a file that only grew: its sum and its date stand in what is sent already.
While it is open, ``OpenFile`` tells whether it shrank or was rewritten. Each error names the member and no path of the
server.
"""

from fileserve.storage.archives.tree import Tree
from fileserve.storage.errors import Busy, ContentChanged, StorageError, Unreadable
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root

__all__ = ["check_member", "open_member", "read_member"]


def _changed(tree: Tree, member: int) -> ContentChanged:
    """Return the error that names a member which is not what it was."""
    return ContentChanged(f"{tree.display(member)} changed since the archive was begun")


async def open_member(root: Root, tree: Tree, member: int) -> OpenFile:
    """Open the file *member*; the caller closes it.

    Raises ``ContentChanged`` unless size, mtime and inode are those of the table, or when it cannot be opened any more.
    """
    try:
        opened = await root.open(tree.name + tree.path(member))
    except (Busy, Unreadable):
        raise
    except StorageError as error:
        raise _changed(tree, member) from error
    try:
        check_member(opened, tree, member)
    except BaseException:
        opened.close()
        raise
    return opened


async def read_member(opened: OpenFile, tree: Tree, member: int, offset: int, count: int) -> bytes:
    """Return *count* bytes at *offset* of a member, and look whether it is unchanged after that."""
    data = await opened.read(offset, count)
    if len(data) < count:
        raise _changed(tree, member)
    check_member(opened, tree, member)
    return data


def check_member(opened: OpenFile, tree: Tree, member: int) -> None:
    """Raise ``ContentChanged`` with the member's name unless the open file is what the table says.

    Policy: a member that grows is a change too, other than a file that is sent by itself: who replaces a file by a
    longer one writes over what is being sent.
    """
    now, of = opened.look(), tree.statuses
    if (now.size, now.mtime_ns, now.inode) != (of.sizes[member], of.mtimes_ns[member], of.inodes[member]):
        raise _changed(tree, member)
