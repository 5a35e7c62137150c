"""Who started a server process and wants to know how it is: a supervisor, the service manager, or nobody."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["Superior"]


class Superior:
    """Nobody in particular, who wants to know nothing; the base of those who do."""

    beat_s: float | None = None  # between two signs of life that the event loop gives; None: it gives none
    watchdog_s: float | None = None  # of silence, after which a process counts as hung; None: nobody looks

    def ready(self, status: str) -> None:
        """Say that connections are accepted."""

    def reloading(self, status: str) -> None:
        """Say that a renewal has begun, which ends with `ready`."""

    def stopping(self, status: str) -> None:
        """Say that the end has begun."""

    def beat(self) -> None:
        """Say that the event loop turns."""

    @contextmanager
    def attended(self, lost: Callable[[], None]) -> Generator[None, None, None]:
        """Give signs of life for as long as the block runs; call *lost* when nobody is there any more to take them."""
        beating = asyncio.get_running_loop().create_task(self._beat()) if self.beat_s else None
        try:
            yield
        finally:
            if beating is not None:
                beating.cancel()

    async def _beat(self) -> None:
        assert self.beat_s is not None
        while True:
            self.beat()
            await asyncio.sleep(self.beat_s)
