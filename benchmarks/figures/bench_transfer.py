"""What a GiB costs, and how fast it comes: 1, 16 and 64 streams of the 4 GiB file, under reno and bbr.

Also without steering, which is not judged: much of what nginx queues for many streams is then sent by the client's
processor, and what that takes of all processors tells who is cheap.

A sample is 4 GiB of one stream, and 8 GiB of 16 or 64 together (a quick run: 2 GiB); a slow peer transfers a fixed
part of that. Streams are spans all over the file, one request each.
"""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine, network
from benchmarks.apart import call
from benchmarks.peers import FILESERVE, NAIVE, NGINX, STARLETTE
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, Start

GIB = 1 << 30
ROUNDS = machine.choose(7, 3)
ONE, MANY = machine.choose(4 * GIB, 2 * GIB), machine.choose(8 * GIB, 2 * GIB)
IN_ALL = {1: ONE, 16: MANY, 64: MANY}


@pytest.mark.parametrize("streams", [1, 16, 64])
def bench_transfer(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples, streams: int) -> None:
    servers = start(FILESERVE, NGINX, STARLETTE, NAIVE)
    measure = functools.partial(_measure, samples=samples, streams=streams, suffix="")
    interleave(benchmark, record, servers, measure, ROUNDS)


@pytest.mark.parametrize("streams", [1, 16, 64])
def bench_bbr(benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples, streams: int) -> None:
    servers = start(FILESERVE, NGINX)
    with _conditions(record, "bbr", machine.SERVER):
        measure = functools.partial(_measure, samples=samples, streams=streams, suffix="_bbr")
        interleave(benchmark, record, servers, measure, ROUNDS)


@pytest.mark.parametrize("streams", [1, 16, 64])
@pytest.mark.parametrize("control", [network.USUAL, "bbr"])
def bench_unsteered(
    benchmark: BenchmarkFixture, record: Record, start: Start, samples: Samples, control: str, streams: int
) -> None:
    servers = start(FILESERVE, NGINX)
    with _conditions(record, control, None):
        suffix = "_unsteered" if control == network.USUAL else f"_{control}_unsteered"
        measure = functools.partial(_measure, samples=samples, streams=streams, suffix=suffix)
        interleave(benchmark, record, servers, measure, ROUNDS)


@contextmanager
def _conditions(record: Record, control: str, processor: int | None) -> Iterator[None]:
    """Let connections have *control*, and packets arrive on *processor*, for the length of the block.

    Skip what is measured where that cannot be.
    """
    what = f"{control}, {'unsteered' if processor is None else 'steered'}"
    if not network.is_private() or not network.set_congestion_control(control):
        _leave_out(record, what, "the congestion control cannot be set here")
    try:
        refusal = network.steer(processor)
        if refusal:
            _leave_out(record, what, f"packets cannot be steered here: {refusal}")
        yield
    finally:
        network.set_congestion_control(network.USUAL)
        network.steer(machine.SERVER)  # as it is for the other figures


def _leave_out(record: Record, what: str, reason: str) -> NoReturn:
    record.note(f"left out: {what} ({reason})")
    pytest.skip(reason)


def _measure(server: Server, samples: Samples, streams: int, suffix: str) -> Mapping[str, float]:
    heads = _heads(server, samples, streams, IN_ALL[streams] // server.peer.slowness // streams)
    before_s, busy_before_s, idle_before_s = cost.cpu_s(server.pid), machine.busy_s(), machine.idle_s(machine.CLIENT)
    begin_s = time.perf_counter()
    seen = call(client.download, server.address, heads)
    elapsed_s = time.perf_counter() - begin_s
    idle_s = machine.idle_s(machine.CLIENT) - idle_before_s
    spent_s, busy_s = cost.cpu_s(server.pid) - before_s, machine.busy_s() - busy_before_s
    gibs = seen.content / GIB
    figures = {
        f"cpu_{streams}{suffix}": spent_s / gibs,
        f"rate_{streams}{suffix}": gibs / seen.elapsed_s,
        f"machine_{streams}{suffix}": busy_s / gibs,
        f"client_busy_{streams}{suffix}": 100 * max(0.0, 1 - idle_s / elapsed_s),
    }
    return figures if suffix or streams == 64 else figures | {f"client_cpu_{streams}": seen.cpu_s / gibs}


def _heads(server: Server, samples: Samples, streams: int, amount: int) -> list[bytes]:
    """Return the requests: spans of the file, spread over all of it; a span that is the whole is asked as such."""
    size = samples.large.stat().st_size
    if amount == size:
        return [server.request(samples.large)] * streams
    step = (size - amount) // max(1, streams - 1)
    return [server.request(samples.large, (n * step, n * step + amount)) for n in range(streams)]
