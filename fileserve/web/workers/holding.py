"""What one worker holds at a time, by the lock (flock) of a file: the kernel takes it back, however the worker ends.

Left out: whoever waits for it to be free (``election``).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["held", "take"]


def take(path: Path) -> int | None:
    """Return the descriptor that holds the lock *path* until it is closed; ``None`` where somebody else holds it.

    Raises ``OSError`` where there can be no lock.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return fd


@contextmanager
def held(path: Path | None) -> Iterator[bool]:
    """Hold the lock *path* during the block; false where somebody else does. Without one, each holds its own.

    Raises ``OSError`` where there can be no lock.
    """
    fd = take(path) if path is not None else None
    try:
        yield path is None or fd is not None
    finally:
        if fd is not None:
            os.close(fd)
