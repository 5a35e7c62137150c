"""What it costs downloads to be watched: 200 of them at once, with 50 subscribers who take every event, and without.

The downloads are of 200 names of one file, so each is a transfer of its own. The figure is the processor time of the
server for each GiB, watched to unwatched, from the same server in the same round.
"""

import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine
from benchmarks.apart import beside, call
from benchmarks.peers import WATCHED, WATCHED_TOKEN
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, running

MIB = 1 << 20
ROUNDS = machine.choose(9, 3)
TRANSFERS = 200
OF_EACH = machine.choose(128 * MIB, 64 * MIB)
SUBSCRIBERS = 50
SETTLED_S = 4.0  # then nobody counts as watching any more


@pytest.fixture(scope="module")
def names(samples: Samples) -> Iterator[Path]:
    """Make a folder with many names of one file, beside the samples."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=samples.cold.parent))
    for number in range(TRANSFERS):
        os.link(samples.cold, folder / f"{number}.bin")
    yield folder
    shutil.rmtree(folder)


def bench_watched_downloads(benchmark: BenchmarkFixture, record: Record, names: Path) -> None:
    requests = [client.request(f"/download/{number}.bin", (0, OF_EACH)) for number in range(TRANSFERS)]

    def cpu_s(server: Server) -> float:
        before_s = cost.cpu_s(server.pid)
        call(client.download, server.address, requests)
        return cost.cpu_s(server.pid) - before_s

    def measure(server: Server) -> Mapping[str, float]:
        unwatched_s = cpu_s(server)
        with beside(watch, server):
            watched_s = cpu_s(server)
        time.sleep(SETTLED_S)
        return {"watched_cpu": watched_s / unwatched_s}

    with running(WATCHED, names) as server:
        interleave(benchmark, record, [server], measure, ROUNDS)


def watch(ready: Callable[[], None], server: Server) -> None:
    """Subscribe many times, and take all that comes."""
    subscribers = [_subscribe(server) for _ in range(SUBSCRIBERS)]
    ready()
    while True:
        for subscriber in select.select(subscribers, [], [])[0]:
            if not subscriber.recv(MIB):
                raise ConnectionError("a subscriber was cut off")


def _subscribe(server: Server) -> socket.socket:
    """Return a subscriber's connection, on which the stream has begun."""
    connection = socket.create_connection(server.address)
    fields = f"Host: localhost\r\nAuthorization: Bearer {WATCHED_TOKEN}\r\n"
    connection.sendall(f"GET /events/transfers HTTP/1.1\r\n{fields}\r\n".encode())
    begun = b""
    while b"event: snapshot" not in begun:
        begun += connection.recv(4096)
    return connection
