"""``sweep``: takes away what a crash has left of uploads, and nothing else.

Only hidden names of a certain beginning are looked at. Whoever still writes such a file holds its lock, also in
another process that has not ended yet; so a lock that can be had says that nobody does. Directories are gone through
without following links.

Left out: unnamed files, of which nothing can be left.
"""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

from fileserve.storage.descent import Descent
from fileserve.storage.errors import os_errors
from fileserve.storage.hiding import LEFT_BEHIND
from fileserve.storage.root import Root

__all__ = ["sweep"]

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def sweep(root: Root, is_wanted: Callable[[], bool]) -> int:
    """Delete what is left, and return how many files that were. Blocks, for as long as *is_wanted* says.

    What may not be entered or deleted is passed over. Raises ``ContentChanged`` when a directory is moved meanwhile.
    """
    count = 0
    with os_errors(), Descent(root.open_directory(())) as place:
        swept, directories = _sweep_one(place.fd)
        pending = [directories]
        while pending and is_wanted():
            count += swept
            swept = 0
            if not pending[-1]:
                pending.pop()
                if pending:
                    place.ascend()
                continue
            try:
                place.descend(pending[-1].pop())
            except OSError:
                continue
            swept, directories = _sweep_one(place.fd)
            pending.append(directories)
    return count + swept


def _sweep_one(directory: int) -> tuple[int, list[bytes]]:
    """Delete what is left in one open directory; return how many files that were, and the directories in it."""
    left: list[str] = []
    directories: list[bytes] = []
    with suppress(OSError), os.scandir(directory) as found:
        for item in found:
            if item.name.startswith(LEFT_BEHIND):
                left.append(item.name)
            elif item.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(item.name))
    return sum(_delete_unlocked(directory, name) for name in left), directories


def _delete_unlocked(directory: int, name: str) -> bool:
    try:
        fd = os.open(name, _FILE, dir_fd=directory)
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
