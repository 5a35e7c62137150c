"""Opening beneath a directory in one system call: openat2(2), Linux 5.6.

The kernel itself refuses every way out: ``RESOLVE_BENEATH`` fails with EXDEV for an absolute link and for a ``..``
that would leave the directory, whatever is renamed meanwhile, and ``RESOLVE_NO_MAGICLINKS`` fails with ELOOP for
the links of /proc that jump to an open file. ``RESOLVE_CACHED`` (Linux 5.12) fails with EAGAIN instead of waiting
for the disk to look a name up.

Python 3.11 has no binding, so ctypes calls the C library's ``syscall``. All functions raise ``OSError`` as ``os.open``
does. ``supported`` and ``supports_cached`` try the call on the root: kernels before 5.6 say ENOSYS,
sandboxes often EPERM.

Left out: what to do about EXDEV, ELOOP and EAGAIN. ``root`` asks the walker.
"""

import ctypes
import errno
import os
import sys
from functools import cache

from fileserve.storage.names import Name

__all__ = ["open_beneath", "stat_beneath", "supported", "supports_cached"]

_SYS_OPENAT2 = 437  # the same on every architecture that CPython is built for on Linux
_NO_MAGICLINKS = 0x02
_BENEATH = 0x08
_CACHED = 0x20


class _OpenHow(ctypes.Structure):
    """``struct open_how`` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_SIZE = ctypes.sizeof(_OpenHow)


@cache
def _open_how(flags: int, cached: bool) -> _OpenHow:
    """Return the (few, constant) argument structures; the kernel only reads them."""
    return _OpenHow(flags | os.O_CLOEXEC, 0, _BENEATH | _NO_MAGICLINKS | (_CACHED if cached else 0))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
_syscall.restype = ctypes.c_long


def open_beneath(root_fd: int, name: Name, flags: int, *, cached: bool = False) -> int:
    """Open *name* beneath *root_fd* with the ``O_`` *flags* and return the descriptor.

    With *cached*, fail with EAGAIN rather than wait for a name to be read from the disk.
    """
    path = b"/".join(name) or b"."
    if b"\0" in path:  # C would stop reading there, and open something else
        raise ValueError("embedded null byte")
    how = _open_how(flags, cached)
    while True:
        fd: int = _syscall(_SYS_OPENAT2, root_fd, path, how, _SIZE)
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EINTR:  # a signal handler ran; Python's own calls repeat likewise (PEP 475)
            raise OSError(number, os.strerror(number))


def stat_beneath(root_fd: int, name: Name, *, cached: bool = False) -> os.stat_result:
    """Return the status of *name* beneath *root_fd*, links followed. Needs no permission to read the file."""
    fd = open_beneath(root_fd, name, os.O_PATH, cached=cached)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def supported(root_fd: int) -> bool:
    """Tell whether openat2 works here, by trying it on *root_fd* itself."""
    if sys.platform != "linux":
        return False
    try:
        stat_beneath(root_fd, ())
    except OSError:
        return False
    return True


def supports_cached(root_fd: int) -> bool:
    """Tell whether the kernel knows ``RESOLVE_CACHED``; older ones refuse the flag with EINVAL."""
    try:
        stat_beneath(root_fd, (), cached=True)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return True
