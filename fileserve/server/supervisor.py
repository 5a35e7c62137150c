"""Keeps a number of workers at work: starts them, replaces the crashed, renews all on SIGHUP, ends all on SIGTERM.

On SIGUSR2 it leaves alone: its workers lose their leash, drain as on SIGTERM, and end without it. So a service manager
that waits for its main process starts the next server at once, while downloads of the old one go on.

Everything is awaited, nothing polled or joined: a worker that drains for an hour behind one long download delays
neither a signal nor the replacement of another. A renewal starts the new worker first, and tells the old one to drain
only when the new one accepts; so the port is never without a listener, and no download is lost.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time

from fileserve.server.member import Member, StartFailed
from fileserve.server.superior import Superior

__all__ = ["StartFailed", "Supervisor"]

log = logging.getLogger("fileserve.supervisor")

SOON_S = 5  # a worker that lives no longer than this is replaced only after a pause
PAUSE_S = 2


class Supervisor:
    """Runs *count* workers on the same listening sockets, and tells its own *superior* how they are."""

    def __init__(self, count: int, listeners: list[socket.socket], interrupt_s: float, superior: Superior) -> None:
        self.count = count
        self.listeners = listeners
        self.interrupt_s = interrupt_s  # what Ctrl-C leaves to the workers, those too that drain already
        self.superior = superior
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
        loop.add_signal_handler(signal.SIGUSR2, self.leave)
        tasks: set[asyncio.Task[None]] = set()

        def renew() -> None:
            tasks.add(task := loop.create_task(self.renew()))
            task.add_done_callback(tasks.discard)

        loop.add_signal_handler(signal.SIGHUP, renew)
        with self.superior.attended(lost=lambda: None):
            await self._run()

    async def _run(self) -> None:
        try:
            async with self.renewing:
                await asyncio.gather(*(self._add() for _ in range(self.count)))
            if not self.ending:
                self._succeed("1 worker accepts connections", "{} workers accept connections")
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
        self.superior.stopping("what is under way has its time to finish")

    def leave(self) -> None:
        """Leave the workers to themselves, who take it for the sign to drain.

        Without Python's own way out: asyncio kills the children whose transports it closes.
        """
        log.info("leaving the workers to finish what is under way by themselves")
        self.superior.stopping("the workers finish what is under way by themselves")
        os._exit(0)

    async def renew(self) -> None:
        """Replace each serving worker by a new one, in turn; a new one that does not start leaves the old at work."""
        async with self.renewing:
            if self.ending:
                return
            self.superior.reloading("the workers are being renewed")
            try:
                for old in list(self.serving):
                    await self._renew(old)
            except StartFailed as error:
                if not self.ending:
                    log.error("renewal stopped, the old workers go on: %s", error)
                    self.superior.ready(f"renewal stopped, the old workers go on: {error}")
            else:
                if not self.ending:
                    self._succeed("the worker is renewed", "all {} workers are renewed")

    async def _renew(self, old: Member) -> None:
        """Put a new worker in the place of *old*.

        Where *old* has crashed, before or meanwhile, it has a successor already, and the new one is one too many.
        """
        if self.ending or old not in self.serving:
            return
        leaving = new = await self._start()
        if old in self.serving:
            self.serving[self.serving.index(old)] = new
            leaving = old
        if not leaving.drains:  # or this would be its second signal: the end has come meanwhile
            leaving.signal(signal.SIGTERM)

    def _succeed(self, one: str, several: str) -> None:
        status = one if self.count == 1 else several.format(self.count)
        log.info(status)
        self.superior.ready(status)

    async def _add(self) -> None:
        """Start a worker, which serves when this returns. Raises ``StartFailed``."""
        self.serving.append(await self._start())

    async def _start(self) -> Member:
        """Start a worker, which accepts connections when this returns it. Raises ``StartFailed``."""
        try:
            member = await self._fork()
        except (OSError, RuntimeError) as error:  # no process, descriptor or thread is left
            raise StartFailed(f"a worker cannot be started: {error}") from error
        watch = asyncio.ensure_future(self._watch(member))
        self.watches[watch] = member
        watch.add_done_callback(self.watches.pop)
        if self.ending:
            member.signal(signal.SIGTERM)
        await member.ready()
        if member.process.returncode is not None:
            raise StartFailed(f"worker {member.process.pid} ended as soon as it had started")
        return member

    async def _fork(self) -> Member:
        """Return a new worker, which does not accept yet."""
        fds = [listener.fileno() for listener in self.listeners]
        command = [sys.executable, "-m", "fileserve.server.worker", "--listeners", ",".join(map(str, fds))]
        if self.superior.watchdog_s:
            command += ["--beat", str(self.superior.watchdog_s / 3)]
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    "--leash",
                    str(theirs.fileno()),
                    pass_fds=(*fds, theirs.fileno()),
                    start_new_session=True,  # Ctrl-C reaches the supervisor alone, which passes it on
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return Member(process, ours, time.monotonic())

    async def _watch(self, member: Member) -> None:
        """Wait for a worker's end; replace it when nobody asked it to end."""
        hearing = asyncio.ensure_future(member.hear(self.superior.watchdog_s))
        status = await member.process.wait()
        hearing.cancel()
        await asyncio.wait([hearing])
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
                await self._add()
            except StartFailed as error:
                log.error("%s; trying again", error)
                soon = True
            else:
                return
