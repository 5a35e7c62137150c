"""``Limits``: how many digests are computed at once, in all and for one client.

Strategy: two counts. Work is counted until its thread ends, so that a disk which does not answer cannot gather threads;
a client is counted for as long as it waits. Whoever may not be refused waits for ``freed`` and tries again.

Left out: work in the background, of which each kind keeps to a few threads of its own.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fileserve.storage.errors import Busy

__all__ = ["Full", "Limits"]


class Full(Busy):
    """A limit is reached; it is free again before long."""


class Limits:
    """At most *at_once* computations, and *at_once_per_client* waits of one client. For the event loop's thread."""

    __slots__ = ("_at_once", "_at_once_per_client", "_clients", "_computing", "_waiting")

    def __init__(self, at_once: int, at_once_per_client: int) -> None:
        self._at_once = at_once
        self._at_once_per_client = at_once_per_client
        self._computing = 0
        self._clients: Counter[str] = Counter()
        self._waiting: list[asyncio.Future[None]] = []

    @contextmanager
    def client(self, client: str | None) -> Iterator[None]:
        """Count *client* during the block; ``None`` has no limit. Raises ``Full``."""
        if client is None:
            yield
            return
        if self._clients[client] >= self._at_once_per_client:
            raise Full("too many digests are being computed for this client")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
            self._wake()

    def begin(self) -> None:
        """Count one computation more. Raises ``Full``."""
        if self._computing >= self._at_once:
            raise Full("too many digests are being computed")
        self._computing += 1

    def end(self) -> None:
        """Count one computation less."""
        self._computing -= 1
        self._wake()

    async def freed(self) -> None:
        """Wait until a count goes down."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        """Let all who wait try again, those who came first before the others."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
