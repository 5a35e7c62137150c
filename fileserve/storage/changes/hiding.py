"""How a file that is being written keeps out of sight: without a name, or under a hidden one that is never served.

The file is locked (flock) until it is closed, by whichever process has it open; so ``sweep`` can tell what a crash has
left from what is being written.
"""

import errno
import fcntl
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass

from fileserve.storage.descriptor import Descriptor
from fileserve.storage.names import STAGED

__all__ = [
    "LEFT_BEHIND",
    "LEFT_OPEN",
    "HiddenName",
    "hidden_component",
    "is_hidden_component",
    "open_hidden",
    "open_unnamed",
]

#: How the hidden names begin that a crash may leave behind.
LEFT_BEHIND = STAGED + "put-"
#: How those begin that stay between the requests of one upload.
LEFT_OPEN = STAGED + "tus-"

_RANDOM = re.compile("[0-9a-f]{32}")
_NO_UNNAMED = frozenset((errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL))


@dataclass(frozen=True, slots=True)
class HiddenName:
    """A hidden name, and the directory that it is in, which is open."""

    directory: Descriptor
    component: bytes


def is_hidden_component(component: str, beginning: str) -> bool:
    """Return whether ``hidden_component`` has made this name; others may begin alike, and are somebody's."""
    return component.startswith(beginning) and _RANDOM.fullmatch(component.removeprefix(beginning)) is not None


def hidden_component(beginning: str = LEFT_BEHIND) -> bytes:
    """Return a name that nothing has and that is never shown."""
    return f"{beginning}{secrets.token_hex(16)}".encode()


def open_unnamed(directory: int) -> int | None:
    """Return the descriptor of a new file without a name; ``None`` where there is no such thing."""
    if not hasattr(os, "O_TMPFILE") or not os.path.exists(f"/proc/self/fd/{directory}"):  # by which it gets its name
        return None
    try:
        fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=directory)
    except OSError as error:
        if error.errno in _NO_UNNAMED:
            return None
        raise
    _lock_file(fd)
    return fd


def open_hidden(directory: int, beginning: str = LEFT_BEHIND) -> tuple[int, HiddenName]:
    """Return the descriptor of a new file with a hidden name, and that name.

    In the moment before it is locked, ``sweep`` may take it for something left behind: then another one is made.
    """
    kept = Descriptor(os.dup(directory))  # first: where descriptors are short, nothing has been made by then
    try:
        while True:
            hidden = hidden_component(beginning)
            fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666, dir_fd=directory)
            _lock_file(fd)
            if os.fstat(fd).st_nlink:
                return fd, HiddenName(kept, hidden)
            os.close(fd)
    except BaseException:
        kept.close()
        raise


def _lock_file(fd: int) -> None:
    with suppress(OSError):  # it is new, so nobody holds it; some file systems have no such locks
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
