"""How long others wait while a file comes from a slow disk.

One client takes a file that is not in the page cache, from a disk that gives 100 MB/s; a newcomer asks for a 1 KiB
file each 2 ms. Those who would have come while one was waiting are counted too: a server that stands still would
otherwise be seen once. Each sample begins with the file dropped from the page cache, so there is no warm-up.
"""

from collections.abc import Mapping

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cold, machine
from benchmarks.apart import beside, call
from benchmarks.peers import FILESERVE, NGINX, NGINX_THREADS, STARLETTE
from benchmarks.probe import count_missed, probe, quantile
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

ROUNDS = machine.choose(3, 1)
DISK = 100 * cold.MB
SECONDS = machine.choose(4, 2)
UNSLOWED_S = 0.15  # in which a fast disk gives less than the whole file
INTERVAL_S = 0.002
MS = 1000


def bench_cold(benchmark: BenchmarkFixture, record: Record, start_fresh: Start, samples: Samples) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        cold.evict(samples.cold)
        with cold.slowed(server.pid, samples.cold, DISK) as is_slowed:
            if not is_slowed:
                record.note("the disk could not be slowed down to 100 MB/s (no control group): it was taken as it is")
            with beside(client.load, server.address, server.request(samples.cold), 1):
                seconds = SECONDS if is_slowed else UNSLOWED_S
                waits = call(probe, server.address, server.request(samples.small), seconds, INTERVAL_S)
        return _figures(count_missed(waits, INTERVAL_S))

    servers = start_fresh(FILESERVE, NGINX_THREADS, NGINX, STARLETTE)
    interleave(benchmark, record, servers, measure, ROUNDS, warm_up=False)


def _figures(waits: list[float]) -> Mapping[str, float]:
    return {
        "cold_p50": MS * quantile(waits, 0.5),
        "cold_p99": MS * quantile(waits, 0.99),
        "cold_max": MS * max(waits),
    }
