"""A supervisor and the ends of its workers at awkward moments: as many are left as are wanted, and none is cut.

The workers are stand-ins, which start when they are told to, and drain for ever.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from fileserve.server import supervisor as supervisor_module
from fileserve.server.member import Member, StartFailed
from fileserve.server.superior import Superior
from fileserve.server.supervisor import Supervisor

PATIENCE_S = 20
STAND_IN = """#!{python} -SE
import os, pathlib, signal, socket, sys, time
folder = pathlib.Path({folder!r})
signal.signal(signal.SIGTERM, lambda *_: None)
leash = socket.socket(fileno=int(sys.argv[sys.argv.index("--leash") + 1]))
(folder / "begun" / str(os.getpid())).touch()
while not (folder / "may_accept").exists() and not (folder / f"may_accept_{{os.getpid()}}").exists():
    (folder / "may_not_start").exists() and sys.exit(1)
    time.sleep(0.01)
leash.send(b"!")
leash.recv(1)
"""


class Manager(Superior):
    """Somebody who notes what is said."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def ready(self, status: str) -> None:
        self.told.append("ready")

    def reloading(self, status: str) -> None:
        self.told.append("reloading")

    def stopping(self, status: str) -> None:
        self.told.append("stopping")


class Workers:
    """What the stand-ins in *folder* may do, and which of them have begun."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "begun").mkdir()
        self.may_accept(True)

    def may_accept(self, yes: bool, pid: int | None = None) -> None:
        self._mark(f"may_accept_{pid}" if pid else "may_accept", yes)

    def may_not_start(self, yes: bool) -> None:
        self._mark("may_not_start", yes)

    async def begun(self, count: int) -> None:
        await until(lambda: len(os.listdir(self.folder / "begun")) == count)

    def _mark(self, name: str, yes: bool) -> None:
        if yes:
            (self.folder / name).touch()
        else:
            (self.folder / name).unlink()


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    script = tmp_path / "stand_in"
    script.write_text(STAND_IN.format(python=sys.executable, folder=str(tmp_path)))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(supervisor_module, "PAUSE_S", 0.01)
    return Workers(tmp_path)


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ids to which a signal was sent, in turn."""
    pids: list[int] = []
    send = Member.signal

    def noting(member: Member, number: signal.Signals) -> None:
        pids.append(member.process.pid)
        send(member, number)

    monkeypatch.setattr(Member, "signal", noting)
    return pids


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def supervising(
    count: int, superior: Superior | None = None, *, until_they_accept: bool = True
) -> AsyncIterator[Supervisor]:
    """Run a supervisor, whose workers accept, for the length of the block; it is to run until the end."""
    supervisor = Supervisor(count, [], interrupt_s=10, superior=superior or Superior())
    running = asyncio.ensure_future(supervisor.run())
    try:
        await until(lambda: len(supervisor.serving) == count or not until_they_accept)
        yield supervisor
        assert not running.done()
    finally:
        supervisor.end(signal.SIGTERM)
        for member in list(supervisor.watches.values()):
            with suppress(ProcessLookupError):
                member.process.kill()
        await running


def pids(supervisor: Supervisor) -> list[int]:
    return [member.process.pid for member in supervisor.serving]


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def test_a_signal_while_workers_start_is_not_passed_on_twice() -> None:
    ends: list[signal.Signals] = []

    class Starting(Supervisor):
        async def _start(self) -> Member:
            self.end(signal.SIGTERM)
            raise StartFailed("ended while it started")

        def end(self, number: signal.Signals) -> None:
            ends.append(number)
            super().end(number)

    await Starting(1, [], interrupt_s=10, superior=Superior()).run()
    assert ends == [signal.SIGTERM]


async def test_workers_that_do_not_start_are_an_error() -> None:
    class Failing(Supervisor):
        async def _start(self) -> Member:
            raise StartFailed("ended while it started")

    with pytest.raises(StartFailed):
        await Failing(1, [], interrupt_s=10, superior=Superior()).run()


class NoProcess:
    """In place of what starts a process: there is none to be had."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def __call__(self, *arguments: object, **options: object) -> asyncio.subprocess.Process:
        self.asked += 1
        raise self.error


NONE_LEFT = [
    pytest.param(OSError(errno.EAGAIN, "no process left"), id="fork"),
    pytest.param(RuntimeError("can't start new thread"), id="thread_that_waits_for_it"),
]


@pytest.mark.parametrize("error", NONE_LEFT)
async def test_where_no_process_is_to_be_had_for_a_while_a_crashed_worker_is_still_replaced(
    error: Exception, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervising(1) as supervisor:
        [crashing] = pids(supervisor)
        before = descriptors()
        failing = NoProcess(error)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", failing)
            os.kill(crashing, signal.SIGKILL)
            await until(lambda: failing.asked >= 3)
        await until(lambda: len(supervisor.serving) == 1)
        assert pids(supervisor) != [crashing]
        await until(lambda: descriptors() <= before)


@pytest.mark.parametrize("error", NONE_LEFT)
async def test_a_renewal_for_which_no_process_is_to_be_had_ends_with_the_old_workers_at_work(
    error: Exception, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = Manager()
    async with supervising(1, manager) as supervisor:
        before, fds = pids(supervisor), descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "create_subprocess_exec", NoProcess(error))
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: manager.told == ["ready", "reloading", "ready"])
        assert pids(supervisor) == before
        assert descriptors() == fds


async def test_an_end_in_a_renewal_tells_each_worker_once(workers: Workers, signalled: list[int]) -> None:
    manager = Manager()
    async with supervising(1, manager) as supervisor:
        workers.may_accept(False)
        renewing = asyncio.ensure_future(supervisor.renew())
        await workers.begun(2)
        supervisor.end(signal.SIGTERM)
        workers.may_accept(True)
        await renewing
        assert sorted(signalled) == sorted(member.process.pid for member in supervisor.watches.values())
        assert len(set(signalled)) == 2
    assert manager.told == ["ready", "reloading", "stopping", "stopping"]


async def test_a_renewal_that_is_ended_before_the_new_worker_starts_says_nothing_more(workers: Workers) -> None:
    manager = Manager()
    async with supervising(1, manager) as supervisor:
        workers.may_accept(False)
        renewing = asyncio.ensure_future(supervisor.renew())
        await workers.begun(2)
        supervisor.end(signal.SIGTERM)
        workers.may_not_start(True)
        await renewing
        assert manager.told == ["ready", "reloading", "stopping"]


async def test_another_worker_that_crashes_in_a_renewal_is_replaced_once(workers: Workers) -> None:
    async with supervising(2) as supervisor:
        before = pids(supervisor)
        workers.may_accept(False)
        renewing = asyncio.ensure_future(supervisor.renew())
        await workers.begun(3)
        await crash(supervisor.serving[-1])
        await workers.begun(4)
        workers.may_accept(True)
        await renewing
        await calm(supervisor)
        assert len(supervisor.serving) == 2
        assert not set(before) & set(pids(supervisor))


@pytest.mark.parametrize("starts", [True, False], ids=["new_one_starts", "new_one_does_not"])
async def test_the_worker_that_crashes_while_it_is_renewed_has_one_successor(workers: Workers, starts: bool) -> None:
    async with supervising(1) as supervisor:
        [crashing] = supervisor.serving
        workers.may_accept(False)
        renewing = asyncio.ensure_future(supervisor.renew())
        await workers.begun(2)
        await crash(crashing)
        await workers.begun(3)
        if not starts:
            workers.may_not_start(True)
            await until(lambda: len(os.listdir(workers.folder / "begun")) > 3)
            workers.may_not_start(False)
        workers.may_accept(True)
        await renewing
        await calm(supervisor)
        assert len(supervisor.serving) == 1


async def test_a_worker_that_crashes_while_others_still_start_is_replaced(workers: Workers) -> None:
    workers.may_accept(False)
    async with supervising(2, until_they_accept=False) as supervisor:
        await workers.begun(2)
        crashing = next(iter(supervisor.watches.values()))
        workers.may_accept(True, crashing.process.pid)
        await until(crashing.accepts.done)
        await crash(crashing)
        workers.may_accept(True)
        await until(lambda: len(supervisor.serving) == 2)
        assert crashing not in supervisor.serving


async def crash(member: Member) -> None:
    """Kill *member*, and return when its supervisor knows."""
    member.process.kill()
    await until(lambda: member.leash.fileno() == -1)


async def calm(supervisor: Supervisor) -> None:
    """Return when no worker is starting, or gone: each serves or drains."""
    watched = supervisor.watches.values()
    await until(lambda: {member for member in watched if not member.drains} == set(supervisor.serving) != set())
