"""Giving names to files in open directories: never over something unasked, one at a time, and durably.

A name is given by a single system call, which takes an unused name or fails (``link_new``, ``rename_new``), or takes a
used one in one step (``os.replace``). ``alone_in`` keeps everybody else of ours out, other workers too, from
the look at what has the name to the call: a lock (flock) on the directory itself, held for a moment. Where the file
system has no such locks, a name that is given anew is safe all the same, and of two that replace the last one counts.

Left out: programs that know nothing of these locks. What they do in that moment is overwritten as if it came before.
"""

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fileserve.storage.errors import Occupied

__all__ = ["alone_in", "link_new", "rename_new", "sync_directory"]

_PATIENCE_S = 0.1  # of a thread; whoever needs it can come again (``patience``)
_PAUSE_S = 0.002

_NOREPLACE = 0x01  # RENAME_NOREPLACE of linux/fs.h
_UNSUPPORTED = frozenset((errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))
_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
if _renameat2 is not None:
    _renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


@contextmanager
def alone_in(*directories: int) -> Iterator[None]:
    """Hold the locks of these open directories during the block. Blocks; raises ``Occupied`` after a moment.

    Locks are taken in one order, so that two who want the same ones never wait for each other.
    """
    by_identity = {(status.st_dev, status.st_ino): fd for fd in directories for status in (os.fstat(fd),)}
    held: list[int] = []
    try:
        for _, fd in sorted(by_identity.items()):
            _lock(fd)
            held.append(fd)
        yield
    finally:
        for fd in held:
            with suppress(OSError):  # it had no lock to begin with
                fcntl.flock(fd, fcntl.LOCK_UN)


def link_new(fd: int, directory: int, component: bytes) -> None:
    """Give the unnamed file *fd* (O_TMPFILE) a name that nothing has; ``FileExistsError`` otherwise."""
    os.link(f"/proc/self/fd/{fd}", component, dst_dir_fd=directory, follow_symlinks=True)


def rename_new(source: int, component: bytes, target: int, new: bytes) -> None:
    """Rename a file or directory to a name that nothing has; ``FileExistsError`` otherwise. For within ``alone_in``."""
    if _renameat2 is not None:
        if b"\0" in component + new:
            raise ValueError("embedded null byte")
        if not _renameat2(source, component, target, new, _NOREPLACE):
            return
        number = ctypes.get_errno()
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number))
    _rename_after_a_look(source, component, target, new)


def sync_directory(directory: int) -> None:
    """Have the names of an open directory survive a power failure, where its file system can do that."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _lock(directory: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise Occupied from None
            time.sleep(_PAUSE_S)
        except OSError:
            return  # this file system has no such locks


def _rename_after_a_look(source: int, component: bytes, target: int, new: bytes) -> None:
    """Rename where the system cannot refuse a used name itself; the look and the lock keep our own apart."""
    with suppress(FileNotFoundError):
        os.stat(new, dir_fd=target, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(component, new, src_dir_fd=source, dst_dir_fd=target)
