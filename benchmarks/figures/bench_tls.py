"""What a GiB costs when the process itself enciphers it: TLS 1.3, one stream.

Sendfile is of no use here, so this is the chunked path and the cost of a chunk's way through Python. The client does
not decipher (see ``tls.py``): the server is never held up by it.
"""

from collections.abc import Mapping

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import cost, machine, tls
from benchmarks.apart import call
from benchmarks.peers import FILESERVE_TLS, NGINX_TLS
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

GIB = 1 << 30
ROUNDS = machine.choose(7, 3)
AMOUNT = machine.choose(GIB, GIB // 2)


def bench_tls(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        before_s = cost.cpu_s(server.pid)
        seen = call(tls.download, server.address, server.peer.prefix + samples.large.name, (0, AMOUNT))
        spent_s, gibs = cost.cpu_s(server.pid) - before_s, AMOUNT / GIB
        return {"tls_cpu": spent_s / gibs, "tls_rate": gibs / seen.elapsed_s, "client_busy_tls": 100 * seen.busy}

    reason = FILESERVE_TLS.lacks()
    if reason:
        pytest.skip(reason)
    interleave(benchmark, record, start(FILESERVE_TLS, NGINX_TLS), measure, ROUNDS)
