"""``Doorbell``: the workers of one server wake each other, and pass each other messages, by Unix datagrams.

Each worker binds a socket of its own in one directory; whoever has something to tell sends to all that it finds there.
An empty datagram is a ring. Nothing waits: a ring that does not fit into a queue is not needed, since those that
fill it wake the worker as well; a message that does not fit is lost, and so is one that is too long (about 200 KiB).

A socket whose worker is dead refuses, and is unlinked by whoever finds it so. A path that is too long for a socket's
address (108 bytes on Linux) goes by a descriptor of the directory, through /proc.

Left out: a directory that is deleted under its workers. ``is_hung`` tells, and ``neighbours`` hangs the bell anew.
"""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Doorbell"]

_LONGEST_PATH = 100  # bytes: macOS has room for 104, Linux for 108
_AT_ONCE = 64  # datagrams heard before the loop turns
_LARGEST = 1 << 20


class Doorbell:
    """One worker's socket in *directory*, which is made where it is missing. For the event loop's thread.

    *rung* is called when another worker rang, *told* with each message. Raises ``OSError`` where there can be none.
    """

    def __init__(self, directory: Path, rung: Callable[[], None], told: Callable[[bytes], None]) -> None:
        self._rung = rung
        self._told = told
        self._loop = asyncio.get_running_loop()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._prefix = os.fspath(directory) if _is_short(directory) else f"/proc/self/fd/{self._directory}"
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._path = directory / self._name  # as others find it, who have another descriptor of the directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(self._path_of(self._name))
        except BaseException:
            self._socket.close()
            os.close(self._directory)
            raise
        self._loop.add_reader(self._socket, self._hear)

    def ring(self) -> None:
        """Wake all other workers. For any thread."""
        self.send(b"")

    def send(self, message: bytes) -> None:
        """Send *message* to all other workers whose queues have room for it. For any thread; waits for none of them."""
        for name in self._listed():
            if name != self._name:
                self._send_to(name, message)

    def is_hung(self) -> bool:
        """Tell whether the others still find it. For any thread."""
        try:
            os.stat(self._path)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Take the socket away."""
        self._loop.remove_reader(self._socket)
        self._unlink(self._name)
        self._socket.close()
        os.close(self._directory)

    def _listed(self) -> list[str]:
        """Return the names of all that are there.

        The path opens the directory anew: by its descriptor, two threads that list at once would share one place in it,
        and each pass over what the other has read.
        """
        with suppress(OSError):  # it was deleted, or no descriptor is left: who is not woken looks each minute
            return os.listdir(self._prefix)
        return []

    def _send_to(self, name: str, message: bytes) -> None:
        try:
            self._socket.sendto(message, self._path_of(name))
        except ConnectionRefusedError:
            self._unlink(name)
        except OSError:
            pass  # no room, too long, or gone since the directory was read

    def _unlink(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._directory)

    def _path_of(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _hear(self) -> None:
        heard = 0
        rang = False
        with suppress(OSError):  # nothing more to hear
            while heard < _AT_ONCE:
                message = self._socket.recv(_LARGEST)
                heard += 1
                if message:
                    self._told(message)
                else:
                    rang = True
        if rang or heard > 1:  # where messages were waiting, a ring may have found no room
            self._rung()


def _is_short(directory: Path) -> bool:
    return sys.platform != "linux" or len(os.fsencode(directory)) < _LONGEST_PATH - len("/1234567-12345678")
