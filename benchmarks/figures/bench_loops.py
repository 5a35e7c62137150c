"""Which event loop is the default: uvloop, which a server takes where it is installed, beside asyncio's own.

The three figures that a loop can change: small requests, the first byte on a new connection, and what a GiB costs.
"""

import functools
from collections.abc import Mapping

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine, wrk
from benchmarks.apart import call
from benchmarks.peers import FILESERVE, FILESERVE_ASYNCIO
from benchmarks.probe import probe, quantile
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

ROUNDS = machine.choose(7, 3)
SECONDS = 1
INTERVAL_S = 0.002
STREAMS, SPAN = 16, 256 << 20
GIB = 1 << 30


def bench_loops(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    servers = start(FILESERVE, FILESERVE_ASYNCIO)
    interleave(benchmark, record, servers, functools.partial(_measure, samples=samples), ROUNDS)


def _measure(server: Server, samples: Samples) -> Mapping[str, float]:
    url, head = server.url(samples.small), server.request(samples.small)
    rate, _ = call(wrk.requests_per_s, server.address, url, head, SECONDS)
    waits = call(probe, server.address, server.request(samples.large), SECONDS, INTERVAL_S)
    before_s = cost.cpu_s(server.pid)
    spans = [server.request(samples.large, (n * SPAN, (n + 1) * SPAN)) for n in range(STREAMS)]
    seen = call(client.download, server.address, spans)
    spent_s = cost.cpu_s(server.pid) - before_s
    return {
        "loop_small": rate,
        "loop_ttfb": 1000 * quantile(waits, 0.5),
        "loop_cpu": spent_s / (seen.content / GIB),
    }
