"""Room on a disk: how much is left, to reserve some, and to have what was written go to it early.

The C library is called through ctypes, because Python has none of the two calls: its ``posix_fallocate`` changes the
file's size, and where the file system cannot reserve it writes zeros, every byte twice. What a system lacks is left
undone: both calls only make earlier what would happen anyway.

``reserve`` lets an upload that will not fit fail before its first byte, and leaves the size as it is: how much of a
file is there, its size always tells truly. ``begin_writeback`` spreads the writing over the upload, so that the flush
at the end is short; it waits when the device has its hands full, which slows down the client in the end.
"""

import ctypes
import errno
import os

__all__ = ["available", "begin_writeback", "give_back", "reserve"]

_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
_WRITE = 0x02  # SYNC_FILE_RANGE_WRITE of fcntl.h: begin to write, wait for nothing
_UNSUPPORTED = frozenset((errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ESPIPE, errno.ENODEV))

_library = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_library, "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_sync_file_range = getattr(_library, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def available(fd: int) -> int:
    """Return how many bytes the server's user may still write to the file system of *fd*."""
    status = os.fstatvfs(fd)
    return status.f_bavail * status.f_frsize


def reserve(fd: int, length: int) -> bool:
    """Reserve room for *length* bytes, and return whether the system can; the file's size stays.

    Raises ``OSError`` (ENOSPC).
    """
    if _fallocate is None or not length:
        return False
    while _fallocate(fd, _KEEP_SIZE, 0, length):
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


def give_back(fd: int) -> None:
    """Give back what is reserved beyond the end of the file. For whoever alone writes to it."""
    os.ftruncate(fd, os.fstat(fd).st_size)


def begin_writeback(fd: int, offset: int, count: int) -> None:
    """Have *count* bytes at *offset* written to the device soon. What fails here shows when the file is flushed."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, count, _WRITE)
