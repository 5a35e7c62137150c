"""What can go wrong between a name and its bytes, in words of storage.

Each class is one situation that a caller may want to tell apart; ``ERRORS`` is the one table from the system's error
numbers to them. What the table does not name is ``Unreadable``: the device or the file system failed.

A message is the fixed sentence of its class, or a detail that whoever raises it writes. It never contains a path of the
server, the root's included: an ``OSError`` stays reachable as ``__cause__`` for a log, never as text.

Left out: what a client is told, and with which status. That is one table in ``web``.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "Busy",
    "ContentChanged",
    "InvalidName",
    "IsDirectory",
    "LinkLoop",
    "Locked",
    "NameTooLong",
    "NoDirectory",
    "NoSpace",
    "NotDirectory",
    "NotEmpty",
    "NotFound",
    "NotPermitted",
    "NotRegular",
    "Occupied",
    "OtherDevice",
    "OutsideRoot",
    "StorageError",
    "TooManyMembers",
    "Unreadable",
    "from_os_error",
    "os_errors",
    "os_errors_of_changes",
]


class StorageError(Exception):
    """Anything that storage refuses or fails to do."""

    sentence: ClassVar[str] = "storage failed"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.sentence)


class InvalidName(StorageError):
    """The name can name nothing: a broken escape, NUL, ``.``, ``..``, an empty component."""

    sentence = "the name is not valid"


class NameTooLong(InvalidName):
    """The name, or one of its components, is longer than the file system allows."""

    sentence = "the name is too long"


class NotFound(StorageError):
    """Nothing that may be seen has this name."""

    sentence = "there is no such file or directory"


class OutsideRoot(StorageError):
    """A symbolic link on the way leads out of the root."""

    sentence = "the name leads out of the root"


class LinkLoop(StorageError):
    """Symbolic links on the way form a loop, or a chain that is too long."""

    sentence = "too many symbolic links"


class IsDirectory(StorageError):
    """A file is asked for, and the name is a directory's."""

    sentence = "this is a directory"


class NotDirectory(StorageError):
    """A directory is asked for, or passed through, and it is none."""

    sentence = "this is not a directory"


class NotRegular(StorageError):
    """The name is a FIFO's, a device's or a socket's."""

    sentence = "this is not a regular file"


class NotPermitted(StorageError):
    """The server's user may not read this."""

    sentence = "reading this is not permitted"


class Busy(StorageError):
    """Descriptors or memory are used up, or another process holds the file; a later attempt may succeed."""

    sentence = "the server is out of descriptors, or the file is in use"


class Occupied(Busy):
    """The directory is locked by somebody else just now."""

    sentence = "the directory is locked by somebody else"


class Locked(StorageError):
    """Somebody else writes to the file just now."""

    sentence = "somebody else writes to it just now"


class AlreadyExists(StorageError):
    """The name is taken, and what has it is not to be replaced."""

    sentence = "the name is taken"


class NoDirectory(StorageError):
    """The directory that the name would be in does not exist."""

    sentence = "there is no such directory"


class NotEmpty(StorageError):
    """The directory still has something in it."""

    sentence = "the directory is not empty; hidden names count"


class OtherDevice(StorageError):
    """The two names lie on different file systems."""

    sentence = "the two names lie on different file systems"


class NoSpace(StorageError):
    """The disk, or what may be used of it, is full."""

    sentence = "there is no space left for it"


class TooManyMembers(StorageError):
    """The directory holds more files and directories than an archive may have."""

    sentence = "the directory holds too many files for one archive"


class ContentChanged(StorageError):
    """The file shrank or was rewritten while it was being read."""

    sentence = "the file changed while it was being read"


class Unreadable(StorageError):
    """The device or the file system failed."""

    sentence = "the file cannot be read"


ERRORS: Mapping[int, type[StorageError]] = MappingProxyType(
    {
        errno.ENOENT: NotFound,
        errno.ESTALE: NotFound,  # a network file system: the file went while its name was known
        errno.EINVAL: InvalidName,  # file systems that store UTF-16 refuse bytes that are no UTF-8 so,
        errno.EILSEQ: InvalidName,  # or so
        errno.ENAMETOOLONG: NameTooLong,
        errno.EXDEV: OutsideRoot,
        errno.ELOOP: LinkLoop,
        errno.EISDIR: IsDirectory,
        errno.ENOTDIR: NotDirectory,
        errno.ENXIO: NotRegular,  # a socket, or a device without a driver
        errno.ENODEV: NotRegular,
        errno.EOPNOTSUPP: NotRegular,  # a socket on macOS
        errno.EACCES: NotPermitted,
        errno.EPERM: NotPermitted,
        errno.EEXIST: AlreadyExists,
        errno.ENOTEMPTY: NotEmpty,
        errno.ENOSPC: NoSpace,
        errno.EDQUOT: NoSpace,
        errno.EFBIG: NoSpace,  # larger than the file system, or the process's limit, allows
        errno.EAGAIN: Busy,  # a lease that its holder has not given up yet
        errno.EMFILE: Busy,
        errno.ENFILE: Busy,
        errno.ENOMEM: Busy,
    }
)


def from_os_error(error: OSError) -> StorageError:
    """Return the storage error for an ``OSError``; ``Unreadable`` for what the table does not name."""
    return ERRORS.get(error.errno or 0, Unreadable)()


@contextmanager
def os_errors() -> Iterator[None]:
    """Raise each ``OSError`` of the block as its storage error, with the original as the cause."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error) from error


@contextmanager
def os_errors_of_changes() -> Iterator[None]:
    """Do what ``os_errors`` does, for a block that writes: there two numbers have another meaning."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NotPermitted("changing this is not permitted") from error
        raise OtherDevice() if error.errno == errno.EXDEV else from_os_error(error) from error
