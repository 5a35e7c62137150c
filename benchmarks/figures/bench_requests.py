"""Requests per second on connections that are kept alive: 1 MiB ranges of a large file, and a 1 KiB file.

What stands between a request and its first byte shows here. Ranges are taken by our own client, which discards them in
the kernel, on 8 connections; a client that copies them would be slower than the servers. Small requests are asked by
wrk on 32 connections, because Python cannot ask as fast as nginx answers.
"""

import functools
from collections.abc import Mapping

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, machine, wrk
from benchmarks.apart import call
from benchmarks.peers import FILESERVE, NGINX, STARLETTE
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

ROUNDS = machine.choose(7, 3)
SECONDS = machine.choose(2, 1)
MIB = 1 << 20
RANGE_CONNECTIONS = 8


def bench_ranges(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    servers = start(FILESERVE, NGINX, STARLETTE)
    interleave(benchmark, record, servers, functools.partial(_measure_ranges, samples=samples), ROUNDS)


def bench_small(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    servers = start(FILESERVE, NGINX, STARLETTE)
    if not wrk.is_installed():
        record.note("wrk is not installed: 1 KiB requests are asked by the Python client, which is then the bottleneck")
    interleave(benchmark, record, servers, functools.partial(_measure_small, samples=samples), ROUNDS)


def _measure_ranges(server: Server, samples: Samples) -> Mapping[str, float]:
    head = server.request(samples.large, (100 * MIB, 101 * MIB))
    seen = call(client.repeat, server.address, head, RANGE_CONNECTIONS, SECONDS / 2)
    return {"ranges": seen.answers / seen.elapsed_s, "client_busy_ranges": 100 * seen.busy}


def _measure_small(server: Server, samples: Samples) -> Mapping[str, float]:
    head, url = server.request(samples.small), server.url(samples.small)
    rate, busy = call(wrk.requests_per_s, server.address, url, head, SECONDS)
    return {"small": rate, "client_busy_small": 100 * busy}
