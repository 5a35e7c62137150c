"""Keeps a number of workers at work: starts them, replaces the crashed, renews all on SIGHUP, ends all on SIGTERM.

Everything is awaited, nothing polled or joined: a worker that drains for an hour behind one long download delays
neither a signal nor the replacement of another. A renewal starts the new worker first, and tells the old one to drain
only when the new one accepts; so the port is never without a listener, and no download is lost.
"""

import asyncio
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Supervisor"]

log = logging.getLogger("fileserve.supervisor")

START_S = 60  # within which a worker must accept
SOON_S = 5  # a worker that lives no longer than this is replaced only after a pause
PAUSE_S = 2


class StartFailed(Exception):
    """A worker ended, or took too long, before it accepted connections."""


@dataclass(slots=True, eq=False)
class Member:
    """A running worker process and the supervisor's end of its leash."""

    process: Process
    leash: socket.socket
    started_at: float
    drains: bool = False

    async def ready(self) -> None:
        """Return when the worker accepts connections; raise ``StartFailed`` when it never will."""
        try:
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.leash, 1), START_S)
        except TimeoutError:
            self.process.kill()
            raise StartFailed(f"worker {self.process.pid} did not start within {START_S} s") from None
        if not said:
            raise StartFailed(f"worker {self.process.pid} ended while it started")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it still runs: the first makes it drain, the second ends it."""
        self.drains = True
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """Runs *count* workers on the same listening sockets."""

    def __init__(self, count: int, listeners: list[socket.socket], interrupt_s: float) -> None:
        self.count = count
        self.listeners = listeners
        self.interrupt_s = interrupt_s  # what Ctrl-C leaves to the workers, those too that drain already
        self.serving: list[Member] = []
        self.watches: dict[asyncio.Task[None], Member] = {}  # of all members, draining ones too
        self.renewing = asyncio.Lock()
        self.ending = False

    async def run(self) -> None:
        """Run until a signal ends it and the last worker is gone.

        Raises:
            StartFailed: the first workers do not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end, number)
        tasks: set[asyncio.Task[None]] = set()
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.add(loop.create_task(self.renew())))
        try:
            async with self.renewing:
                for member in await asyncio.gather(*(self._start() for _ in range(self.count))):
                    self._serve(member)
            log.info("%d workers accept connections", self.count)
        except StartFailed:
            if not self.ending:  # or this would be the second signal to the workers that drain already
                self.end(signal.SIGTERM)
                raise
        finally:
            while self.watches:
                await asyncio.wait(self.watches)

    def end(self, number: signal.Signals) -> None:
        """Let every worker drain and replace none from now on; when that was said before, end them now."""
        members = list(self.watches.values())
        for member in members:
            if self.ending or not member.drains:
                member.signal(number)
            elif number == signal.SIGINT:
                asyncio.get_running_loop().call_later(self.interrupt_s, member.signal, number)
        self.ending = True
        for listener in self.listeners:
            listener.close()  # or clients would wait at a port where the last worker accepts no more

    async def renew(self) -> None:
        """Replace each serving worker by a new one, in turn; a new one that does not start leaves the old at work."""
        async with self.renewing:
            for old in list(self.serving):
                if self.ending:
                    return
                try:
                    new = await self._start()
                except StartFailed as error:
                    log.error("renewal stopped, the old workers go on: %s", error)
                    return
                self._serve(new)
                if old in self.serving:
                    self.serving.remove(old)
                old.signal(signal.SIGTERM)
            log.info("all %d workers are renewed", self.count)

    async def _start(self) -> Member:
        """Start a worker and return when it accepts connections."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        fds = [listener.fileno() for listener in self.listeners]
        command = [sys.executable, "-m", "fileserve.server.worker", "--listeners", ",".join(map(str, fds))]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                "--leash",
                str(theirs.fileno()),
                pass_fds=(*fds, theirs.fileno()),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which passes it on
            )
        member = Member(process, ours, time.monotonic())
        watch = asyncio.ensure_future(self._watch(member))
        self.watches[watch] = member
        watch.add_done_callback(self.watches.pop)
        if self.ending:
            member.signal(signal.SIGTERM)
        await member.ready()
        return member

    def _serve(self, member: Member) -> None:
        self.serving.append(member)
        if member.process.returncode is not None:  # it crashed since it was ready
            self.serving.remove(member)

    async def _watch(self, member: Member) -> None:
        """Wait for a worker's end; replace it when nobody asked it to end."""
        status = await member.process.wait()
        member.leash.close()
        if member not in self.serving:
            return
        self.serving.remove(member)
        if not self.ending:
            log.error("worker %d ended with status %d; starting another", member.process.pid, status)
            await self._replace(soon=time.monotonic() - member.started_at < SOON_S)

    async def _replace(self, soon: bool) -> None:
        while not self.ending:
            if soon:
                await asyncio.sleep(PAUSE_S)
            if self.ending:
                return
            try:
                self._serve(await self._start())
            except StartFailed as error:
                log.error("%s; trying again", error)
                soon = True
            else:
                return
