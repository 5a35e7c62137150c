"""How long a newcomer waits for the first byte, idle and beside 8 downloads, and what leaving after it costs.

The newcomer asks for the 4 GiB file and goes away with the first bytes: each request is an aborted download.
"""

import functools
import time
from collections.abc import Mapping

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine
from benchmarks.apart import beside, call
from benchmarks.peers import FILESERVE, NAIVE, NGINX, STARLETTE
from benchmarks.probe import probe, quantile
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

ROUNDS = machine.choose(9, 3)
IDLE_S = machine.choose(1.0, 0.3)
LOADED_S = machine.choose(2.0, 0.8)
INTERVAL_S = 0.002
SETTLE_S = 0.05  # until the server has noticed that the last client has left
DOWNLOADS = 8
MS = 1000


def bench_idle(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    servers = start(FILESERVE, NGINX, STARLETTE, NAIVE)
    interleave(benchmark, record, servers, functools.partial(_measure_idle, samples=samples), ROUNDS)


def bench_loaded(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    servers = start(FILESERVE, NGINX, STARLETTE)
    interleave(benchmark, record, servers, functools.partial(_measure_loaded, samples=samples), ROUNDS)


def _measure_idle(server: Server, samples: Samples) -> Mapping[str, float]:
    before_s = cost.cpu_s(server.pid)
    waits = call(probe, server.address, server.request(samples.large), IDLE_S, INTERVAL_S)
    time.sleep(SETTLE_S)
    spent_s = cost.cpu_s(server.pid) - before_s
    small = call(probe, server.address, server.request(samples.small), IDLE_S, INTERVAL_S)
    return {
        "ttfb_p50": MS * quantile(waits, 0.5),
        "ttfb_p99": MS * quantile(waits, 0.99),
        "ttfb_size": quantile(waits, 0.5) / quantile(small, 0.5),
        "aborted": MS * spent_s / len(waits),
    }


def _measure_loaded(server: Server, samples: Samples) -> Mapping[str, float]:
    head = server.request(samples.large)
    with beside(client.load, server.address, head, DOWNLOADS):
        waits = call(probe, server.address, head, LOADED_S, INTERVAL_S)
    return {"ttfb_loaded_p50": MS * quantile(waits, 0.5), "ttfb_loaded_p99": MS * quantile(waits, 0.99)}
