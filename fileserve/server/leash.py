"""``Leash``: a worker's end of the socket pair that ties it to its supervisor.

The worker says there that it is ready, and then now and then that its event loop turns. The kernel closes the other end
with the supervisor, however that ends; so no worker outlives it for longer than its drain.
"""

import asyncio
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from fileserve.server.superior import Superior

__all__ = ["READY", "Leash"]

READY = b"!"
ALIVE = b"."


class Leash(Superior):
    """Tells the supervisor at the other end of *end*, every *beat_s* seconds where that is not ``None``."""

    def __init__(self, end: socket.socket, beat_s: float | None) -> None:
        end.setblocking(False)
        self._end = end
        self.beat_s = beat_s

    def ready(self, status: str) -> None:
        """Say that connections are accepted; the supervisor needs no words for it."""
        self._say(READY)

    def beat(self) -> None:
        """Say that the event loop turns."""
        self._say(ALIVE)

    def _say(self, sign: bytes) -> None:
        with suppress(OSError):  # it does not read just now, or is gone: whoever attends hears of that
            self._end.send(sign)

    @contextmanager
    def attended(self, lost: Callable[[], None]) -> Generator[None, None, None]:
        """Give signs of life for as long as the block runs, and call *lost* when the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def hear() -> None:
            with suppress(ConnectionResetError):  # it was gone before it had read all signs
                if self._end.recv(1):
                    return
            loop.remove_reader(self._end)
            lost()

        loop.add_reader(self._end, hear)
        try:
            with super().attended(lost):
                yield
        finally:
            loop.remove_reader(self._end)
