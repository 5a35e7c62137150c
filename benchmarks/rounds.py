"""Interleaved rounds: A B C A B C …, so that a disturbance of the machine falls on all and not on one.

pytest-benchmark runs the rounds. What it times is the length of one, which only says how long a run takes;
the figures are what ``measure`` returns, and go into the record. The first round warms up and is not recorded.
"""

from collections.abc import Callable, Mapping, Sequence

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.record import Record
from benchmarks.servers import Server


def interleave(
    benchmark: BenchmarkFixture,
    record: Record,
    servers: Sequence[Server],
    measure: Callable[[Server], Mapping[str, float]],
    rounds: int,
    warm_up: bool = True,
) -> None:
    """Measure each of *servers* once in each round, after a round that counts for nothing."""
    if warm_up:
        for server in servers:
            measure(server)

    def one_round() -> None:
        for server in servers:
            record.add(server.name, measure(server))

    benchmark.group = "interleaved rounds: the length of one"
    benchmark.pedantic(one_round, rounds=rounds, iterations=1)  # type: ignore[no-untyped-call]
