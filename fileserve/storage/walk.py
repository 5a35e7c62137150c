"""``files_beneath``: the regular files beneath a directory, one directory at a time, whatever of it can be read.

For work that goes through everything and must not stop at what it may not enter (``lost+found``). Links are not
followed: what they lead to beneath the root has a name of its own there. Only the way to where the walk stands is kept.
"""

import os
from collections.abc import AsyncIterator

from fileserve import disk
from fileserve.storage.errors import StorageError
from fileserve.storage.names import Name, is_shown
from fileserve.storage.root import Root

__all__ = ["files_beneath"]


async def files_beneath(root: Root, start: Name = ()) -> AsyncIterator[Name]:
    """Yield the files in *start* and deeper by name, those of a directory before those of the directories in it."""
    pending = [start]
    while pending:
        here = pending.pop()
        try:
            files, directories = await disk.run(_look_into, root, here)
        except (OSError, StorageError):
            continue  # it is gone, or may not be read
        pending += [(*here, name) for name in reversed(directories)]
        for name in files:
            yield (*here, name)


def _look_into(root: Root, directory: Name) -> tuple[list[bytes], list[bytes]]:
    """Return the sorted names of the files and of the directories in a directory. Blocks."""
    files: list[bytes] = []
    directories: list[bytes] = []
    fd = root.open_directory(directory)
    try:
        with os.scandir(fd) as found:
            for item in found:
                if not is_shown(item.name, root.hidden):
                    continue
                if item.is_file(follow_symlinks=False):
                    files.append(os.fsencode(item.name))
                elif item.is_dir(follow_symlinks=False):
                    directories.append(os.fsencode(item.name))
    finally:
        os.close(fd)
    return sorted(files), sorted(directories)
