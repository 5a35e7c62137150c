"""Bytes of one file put into another: shared between the two where the file system can do that, else copied."""

import errno
import os

from fileserve.storage.errors import NotFound

__all__ = ["copy"]

_BUFFER = 1024 * 1024
_NO_COPIES = frozenset((errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL))


def copy(source: int, target: int, start: int, at: int, count: int) -> int:
    """Copy at most *count* bytes, and return how many. The system shares them where it can."""
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, count, start, at)
        except OSError as error:
            if error.errno not in _NO_COPIES:
                raise
        else:
            if copied:
                return copied
    copied = os.pwrite(target, os.pread(source, min(count, _BUFFER), start), at)
    if not copied:
        raise NotFound("a part is shorter than it was")
    return copied
