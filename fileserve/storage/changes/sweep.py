"""``sweep``: takes away what a crash has left of uploads, and nothing else.

Only hidden names of certain beginnings are looked at; of those that stay between requests, their age and the caller
decide. Whoever still writes such a file holds its lock, also in
another process that has not ended yet; so a lock that can be had says that nobody does. Directories are gone through
without following links.

Left out: unnamed files, of which nothing can be left.
"""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress

from fileserve.storage.changes.hiding import LEFT_BEHIND, LEFT_OPEN, is_hidden_component
from fileserve.storage.changes.placing import alone_in
from fileserve.storage.descent import Descent
from fileserve.storage.errors import Occupied, os_errors
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from fileserve.storage.space import give_back

__all__ = ["sweep"]

#: Says of a file that stays between requests whether it is left: by its name beneath the root, its inode number, and
#: its age in seconds.
IsLeft = Callable[[Name, int, float], bool]

_WRITTEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 512  # of st_blocks, whatever the file system's are
_SLACK = 1024 * 1024  # of the last block, and of what a file system keeps of its own
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def sweep(root: Root, is_wanted: Callable[[], bool], is_left: IsLeft) -> int:
    """Delete what is left, and return how many files that were. Blocks, for as long as *is_wanted* says.

    What may not be entered or deleted is passed over. Raises ``ContentChanged`` when a directory is moved meanwhile.
    """
    count = 0
    with os_errors(), Descent(root.open_directory(())) as place:
        name: list[bytes] = []
        swept, directories = _sweep_one(place.fd, (), is_left)
        pending = [directories]
        while pending and is_wanted():
            count += swept
            swept = 0
            if not pending[-1]:
                pending.pop()
                if pending:
                    place.ascend()
                    name.pop()
                continue
            try:
                place.descend(component := pending[-1].pop())
            except OSError:
                continue
            name.append(component)
            swept, directories = _sweep_one(place.fd, tuple(name), is_left)
            pending.append(directories)
    return count + swept


def _sweep_one(directory: int, name: Name, is_left: IsLeft) -> tuple[int, list[bytes]]:
    """Delete what is left in the open directory *name*; return how many files that were, and the directories in it."""
    left: list[str] = []
    directories: list[bytes] = []
    with suppress(OSError), os.scandir(directory) as found:
        for item in found:
            with suppress(OSError):  # it is gone by now, and hides no other
                if is_hidden_component(item.name, LEFT_OPEN):
                    status = item.stat(follow_symlinks=False)
                    if is_left((*name, os.fsencode(item.name)), status.st_ino, time.time() - status.st_mtime):
                        left.append(item.name)
                    elif status.st_blocks * _BLOCK > status.st_size + _SLACK:
                        _give_back(directory, item.name)
                elif is_hidden_component(item.name, LEFT_BEHIND):
                    left.append(item.name)
                elif item.is_dir(follow_symlinks=False):
                    directories.append(os.fsencode(item.name))
    return _delete_all_unlocked(directory, left), directories


def _give_back(directory: int, name: str) -> None:
    """Give back the room that is reserved for what a killed process was about to write to a file."""
    with suppress(OSError):  # it is locked, or gone, or may not be written
        fd = os.open(name, _WRITTEN, dir_fd=directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            give_back(fd)
        finally:
            os.close(fd)


def _delete_all_unlocked(directory: int, names: list[str]) -> int:
    """Delete files, and return how many that were. What is replaced meanwhile has such a name under the lock."""
    if not names:
        return 0
    try:
        with alone_in(directory):
            return sum(_delete_unlocked(directory, name) for name in names)
    except (OSError, Occupied):
        return 0


def _delete_unlocked(directory: int, name: str) -> bool:
    try:
        fd = _open_to_lock(directory, name)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False)):
            return False
        os.unlink(name, dir_fd=directory)
        return True
    except OSError:  # it is locked, or gone, or may not be deleted
        return False
    finally:
        os.close(fd)


def _open_to_lock(directory: int, name: str) -> int:
    """Open a file for writing where that may be: over NFS and CIFS nothing else can be locked against all others."""
    try:
        return os.open(name, _WRITTEN, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(name, _READ, dir_fd=directory)
