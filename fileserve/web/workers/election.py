"""``Election``: one of the workers does what is to be done once; when it dies, another takes over.

The elected one holds a lock on a file beside the database, which the kernel takes back when the process ends, however
it ends. The others try again, twice a second, for the microsecond that this takes.

Left out: a lock file that is deleted under the elected one. ``neighbours`` tells by the doorbell, and holds it anew.
"""

import asyncio
import fcntl
import os
from pathlib import Path

__all__ = ["Election"]

TRY_S = 0.5  # a successor is promised within a second


class Election:
    """One worker's part in the election by the lock file *path*. Raises ``OSError`` where that cannot be made."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self.is_elected = False
        self.stand(path)

    def stand(self, path: Path) -> None:
        """Stand for election by the lock file *path* from now on; where that cannot be made, all stays as it was."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.close()
        self._fd = fd
        self._try()

    def close(self) -> None:
        """Leave the election. Once is enough, and twice no harm."""
        self.is_elected = False
        if self._next is not None:
            self._next.cancel()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _try(self) -> None:
        assert self._fd is not None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._next = self._loop.call_later(TRY_S, self._try)
        else:
            self._next = None
            self.is_elected = True
