"""``Watch``: the wait for a change of open files, told by inotify(7) where the system has it.

Strategy: one inotify instance for each event loop, shared by all who wait there, because a user may have 128 of them;
it is opened for the first file and closed with the last. A file is watched by its descriptor, through /proc, so that
no name is looked up past ``Root``. Python has no binding; ctypes calls the C library, as ``openat2`` does.

Every wait also ends by itself, because not every change is told: a name may come to lead elsewhere, and a network file
system says nothing of other machines. The waits grow while nothing happens. They stay short, which is polling, where a
change was seen that was not told, and where nothing can be watched (no inotify, no /proc, too many watches).

Left out: what has changed. Whoever waits looks again.
"""

import asyncio
import ctypes
import os
import struct
import sys
from contextlib import suppress

from fileserve.storage.reader import OpenFile

__all__ = ["Watch"]

# Policy: the longer one, which waits grow to, costs a thousand idle readers 1 % of a core. It is for what nobody tells.
POLL_S = 0.5
LOOK_S = 15.0

_MODIFY, _ATTRIB, _MOVE_SELF = 0x002, 0x004, 0x800  # written or truncated; links to it, so unlinked; renamed
_MASK = _MODIFY | _ATTRIB | _MOVE_SELF
_OVERFLOWN = -1  # stands for the watch when the kernel's queue was full
_EVENT = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, length of the name that follows
_READ = 64 * 1024


class Watch:
    """One reader's wait for changes of the files that it adds. For the event loop's thread."""

    __slots__ = ("_changed", "_numbers", "_polls", "_wait_s")

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._numbers: dict[OpenFile, int | None] = {}
        self._polls = False
        self._wait_s = POLL_S

    def add(self, opened: OpenFile) -> None:
        """Wait for changes of *opened* too, until ``remove``, which comes before it is closed."""
        self._numbers[opened] = None
        with suppress(OSError):
            self._numbers[opened] = _instance_of_loop().add(opened.fd, self._changed)

    def remove(self, opened: OpenFile) -> None:
        """Wait for *opened* no more."""
        number = self._numbers.pop(opened)
        if number is not None:
            _instance_of_loop().remove(number, self._changed)

    async def changed(self, *, soon: bool = False) -> bool:
        """Wait for a change, or as long as seems wise; return whether one was told. *soon* does not wait long."""
        polls = soon or self._polls or None in self._numbers.values()
        try:
            async with asyncio.timeout(POLL_S if polls else self._wait_s):
                await self._changed.wait()
        except TimeoutError:
            self._wait_s = min(2 * self._wait_s, LOOK_S)
            return False
        self._changed.clear()
        return True

    def distrust(self) -> None:
        """Say that something has changed untold: the waits are short from now on."""
        self._polls = True


class _Instance:
    """An inotify descriptor, and whom to wake for each of its watches. Raises ``OSError`` where there is none."""

    __slots__ = ("_fd", "_listeners", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._listeners: dict[int, set[asyncio.Event]] = {}
        self._loop = loop
        loop.add_reader(self._fd, self._read)

    def add(self, fd: int, listener: asyncio.Event) -> int:
        """Wake *listener* at each change of the file *fd*; return the watch, which is one for each file."""
        try:
            number = _call("inotify_add_watch", self._fd, b"/proc/self/fd/%d" % fd, _MASK)
        except OSError:
            self._close_if_idle()
            raise
        self._listeners.setdefault(number, set()).add(listener)
        return number

    def remove(self, number: int, listener: asyncio.Event) -> None:
        """Wake *listener* no more for the watch *number*."""
        listeners = self._listeners[number]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[number]
            with suppress(OSError):  # the kernel has removed it, with its file system
                _call("inotify_rm_watch", self._fd, number)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._listeners:
            del _instances[self._loop]
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            told, offset = os.read(self._fd, _READ), 0
            while offset < len(told):
                number, _, _, length = _EVENT.unpack_from(told, offset)
                offset += _EVENT.size + length
                self._wake(number)

    def _wake(self, number: int) -> None:
        watches = self._listeners if number == _OVERFLOWN else (number,)
        for watch in watches:
            for listener in self._listeners.get(watch, ()):
                listener.set()


_instances: dict[asyncio.AbstractEventLoop, _Instance] = {}
_libc = ctypes.CDLL(None, use_errno=True)


def _instance_of_loop() -> _Instance:
    loop = asyncio.get_running_loop()
    if loop not in _instances:
        _instances[loop] = _Instance(loop)
    return _instances[loop]


def _call(function: str, *arguments: int | bytes) -> int:
    if sys.platform != "linux":
        raise OSError("inotify is Linux's")
    result: int = getattr(_libc, function)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
