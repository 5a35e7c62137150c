"""What every figure needs: the private network, the samples in the page cache, running peers, and the record.

When all is measured, the table is printed and the report written; a target that was missed then fails the run.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import cold, machine, network, probe, report, slow, table
from benchmarks.apart import call
from benchmarks.peers import Peer
from benchmarks.record import Record
from benchmarks.sample import Samples, ensure_samples
from benchmarks.servers import Server, Start, running

STATE = pytest.StashKey["Run"]()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmarks: what it was set up with, and what it has found."""

    record: Record
    setting: list[str]
    steal_s: float


def pytest_configure(config: pytest.Config) -> None:
    setting = [*machine.describe(), *_enter_network()]
    slow.raise_descriptor_limit()
    machine.pin(machine.CLIENT)
    setting.append(_priority())
    config.stash[STATE] = Run(Record(), setting, machine.steal_s())


def _priority() -> str:
    has_it = call(probe.hurry)
    return f"whoever measures a wait has {'real-time' if has_it else 'no special'} priority beside the load"


def _enter_network() -> tuple[str, ...]:
    refusal = network.enter_namespace()
    if refusal is not None:
        control = network.congestion_control()
        return (f"no private network namespace ({refusal}): the machine's loopback, congestion control {control}",)
    network.set_congestion_control(network.USUAL)
    refusal = network.steer(machine.SERVER)
    steered = f"where they were sent ({refusal})" if refusal else f"on processor {machine.SERVER} unless said otherwise"
    return (
        f"a private network namespace, congestion control {network.congestion_control()} unless said otherwise",
        f"packets that arrive are handled {steered}",
    )


@pytest.fixture(scope="session")
def record(pytestconfig: pytest.Config) -> Record:
    return pytestconfig.stash[STATE].record


@pytest.fixture(scope="session")
def samples() -> Samples:
    made = ensure_samples()
    cold.warm(made.large)
    cold.warm(made.small)
    return made


@pytest.fixture(scope="session")
def start(record: Record, samples: Samples) -> Iterator[Start]:
    """Start peers that serve the samples, each once a session; leave out, with a note, who cannot run here."""
    yield from _starter(record, samples.large.parent)


@pytest.fixture
def start_fresh(record: Record, samples: Samples) -> Iterator[Start]:
    """Start peers for one figure alone: for memory, which remembers."""
    yield from _starter(record, samples.large.parent)


def _starter(record: Record, root: Path) -> Iterator[Start]:
    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def start(*peers: Peer) -> list[Server]:
            able = [peer for peer in peers if not _is_left_out(peer, record)]
            for peer in able:
                if peer.name not in started:
                    started[peer.name] = stack.enter_context(running(peer, root))
            return [started[peer.name] for peer in able]

        yield start


def _is_left_out(peer: Peer, record: Record) -> bool:
    reason = peer.lacks()
    if reason:
        record.note(f"left out: {peer.name} ({reason})")
    return reason is not None


def pytest_sessionfinish(session: pytest.Session) -> None:
    run = session.config.stash[STATE]
    if session.exitstatus == pytest.ExitCode.OK and table.missed(run.record):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run = config.stash[STATE]
    if not run.record.has_any():
        return
    for line in table.bottlenecks(run.record):
        run.record.note(line)
    run.record.note(f"steal time during the run: {machine.steal_s() - run.steal_s:.1f} s")
    terminalreporter.section("figures")
    for line in (*table.lines(run.record), *run.setting, *machine.versions(), *run.record.notes):
        terminalreporter.write_line(line)
    missed = table.missed(run.record)
    if missed:
        terminalreporter.section("missed", red=True)
    for line in missed:
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"report: {report.write(run.record, run.setting)}")
