"""By how much memory grows: 1 and 64 downloads at full speed, and 1,000 slow readers, in the process and in the kernel.

Every round has fresh servers, because memory remembers. Growth is counted from a server that has answered one small
request, up to the peak.
"""

import time
from collections.abc import Mapping

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine, network, slow
from benchmarks.apart import beside, call
from benchmarks.peers import FILESERVE, FILESERVE_CHUNKS, NGINX, STARLETTE
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

MIB = 1 << 20
ROUNDS = machine.choose(3, 1)
STREAMS = 64
OF_EACH = machine.choose(128 * MIB, 64 * MIB)
SLOW_S = machine.choose(12, 4)


@pytest.mark.parametrize("round_number", range(1, ROUNDS + 1))
def bench_downloads(
    benchmark: BenchmarkFixture, record: Record, start_fresh: Start, samples: Samples, round_number: int
) -> None:
    size = samples.large.stat().st_size

    def measure(server: Server) -> Mapping[str, float]:
        idle = _resident_when_idle(server, samples)
        call(client.download, server.address, [server.request(samples.large, (0, size // server.peer.slowness))])
        one = cost.peak_resident(server.pid) - idle
        of_each = OF_EACH // server.peer.slowness
        call(client.download, server.address, [server.request(samples.large, (0, of_each))] * STREAMS)
        return {"memory_1": one / MIB, "memory_64": (cost.peak_resident(server.pid) - idle) / MIB}

    servers = start_fresh(FILESERVE, FILESERVE_CHUNKS, NGINX, STARLETTE)
    interleave(benchmark, record, servers, measure, 1, warm_up=False)


@pytest.mark.parametrize("round_number", range(1, ROUNDS + 1))
def bench_slow_readers(
    benchmark: BenchmarkFixture, record: Record, start_fresh: Start, samples: Samples, round_number: int
) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        idle, kernel = _resident_when_idle(server, samples), network.tcp_memory()
        with beside(slow.read_slowly, server.address, server.request(samples.large)):
            time.sleep(SLOW_S)
            grown, kernel_grown = cost.peak_resident(server.pid) - idle, network.tcp_memory() - kernel
        return {"memory_slow": grown / MIB, "tcp_slow": kernel_grown / MIB}

    servers = start_fresh(FILESERVE, NGINX, STARLETTE)
    interleave(benchmark, record, servers, measure, 1, warm_up=False)


def _resident_when_idle(server: Server, samples: Samples) -> int:
    call(client.download, server.address, [server.request(samples.small)])
    cost.reset_peak(server.pid)
    return cost.resident(server.pid)
