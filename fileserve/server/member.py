"""``Member``: a worker process as its supervisor has it, with the supervisor's end of its leash."""

import asyncio
import logging
import signal
import socket
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass, field

from fileserve.server.leash import READY

__all__ = ["Member", "StartFailed"]

log = logging.getLogger("fileserve.supervisor")

START_S = 60  # within which a worker must accept


class StartFailed(Exception):
    """A worker ended, or took too long, before it accepted connections."""


@dataclass(slots=True, eq=False)
class Member:
    """A running worker process, and what it says on its leash."""

    process: Process
    leash: socket.socket
    started_at: float
    drains: bool = False
    accepts: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def ready(self) -> None:
        """Return when the worker accepts connections; raise ``StartFailed`` when it never will."""
        try:
            accepts = await asyncio.wait_for(asyncio.shield(self.accepts), START_S)
        except TimeoutError:
            self.process.kill()
            raise StartFailed(f"worker {self.process.pid} did not start within {START_S} s") from None
        if not accepts:
            raise StartFailed(f"worker {self.process.pid} ended while it started")

    async def hear(self, silence_s: float | None) -> None:
        """Take what the worker says until it ends. Once it accepts, it is ended after *silence_s* without a word."""
        loop = asyncio.get_running_loop()
        try:
            while said := await asyncio.wait_for(
                loop.sock_recv(self.leash, 64), silence_s if self.accepts.done() else None
            ):
                if READY in said:
                    self.accepts.set_result(True)
        except TimeoutError:
            log.error("worker %d has been silent for %g s: its event loop hangs", self.process.pid, silence_s)
            self.process.kill()
        finally:
            if not self.accepts.done():
                self.accepts.set_result(False)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs: the first makes it drain, the second ends it."""
        self.drains = True
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
