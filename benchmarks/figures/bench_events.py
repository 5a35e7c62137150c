"""What it costs to watch, and how soon one hears: 1,000 idle subscribers, and lines on their way to one of them.

The subscribers have two topics on one stream, the log and a file. Memory is growth over a server that has one; their
processor time is what the server takes above what it takes with that one. A line's way begins before it is
appended to the file and ends when the subscriber has it.
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import cost, machine
from benchmarks.apart import beside
from benchmarks.peers import WATCHED, WATCHED_TOKEN
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.servers import Server, running

MIB = 1 << 20
SUBSCRIBERS = 1000
IDLE_S = machine.choose(60, 20)  # a comment keeps each stream alive every 15 s
LINES = machine.choose(1000, 200)
PAUSE_S = 0.02
TIMEOUT_S = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("one\n")
    return path


@pytest.fixture
def watched(file: Path) -> Iterator[Server]:
    with running(WATCHED, file.parent) as started:
        yield started


def bench_idle_subscribers(benchmark: BenchmarkFixture, record: Record, watched: Server, file: Path) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        with subscribe(server, file):
            before, alone_s = cost.resident(server.pid), _cpu_s_while_idle(server)
            with beside(crowd, server, file):
                together_s = _cpu_s_while_idle(server)
                grown = cost.resident(server.pid) - before
        return {"events_memory": grown / MIB, "events_cpu": 100 * (together_s - alone_s) / IDLE_S}

    interleave(benchmark, record, [watched], measure, 1, warm_up=False)


def bench_lines(benchmark: BenchmarkFixture, record: Record, watched: Server, file: Path) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        with subscribe(server, file) as subscriber, file.open("a") as output:
            passed_s = sorted(_way_of_a_line(subscriber, output.write, output.flush) for _ in range(LINES))
        return {f"events_p{share}": 1000 * passed_s[LINES * share // 100] for share in (50, 99)}

    interleave(benchmark, record, [watched], measure, 1)


def crowd(ready: Callable[[], None], server: Server, file: Path) -> None:
    """Subscribe many times, and take what comes from nobody."""
    with ExitStack() as stack:
        for _ in range(SUBSCRIBERS):
            stack.enter_context(subscribe(server, file))
        ready()
        time.sleep(10 * IDLE_S)


def subscribe(server: Server, file: Path) -> socket.socket:
    """Return a subscriber's connection, on which the stream has begun."""
    connection = socket.create_connection(server.address, timeout=TIMEOUT_S)
    path = f"/events?topic=logs&topic=tail:{file.name}&last=0"
    fields = f"Host: localhost\r\nAuthorization: Bearer {WATCHED_TOKEN}\r\n"
    connection.sendall(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
    begun = b""
    while b"\nid: " not in begun:
        begun += connection.recv(4096)
    return connection


def _cpu_s_while_idle(server: Server) -> float:
    time.sleep(1)  # what has begun is over
    before_s = cost.cpu_s(server.pid)
    time.sleep(IDLE_S)
    return cost.cpu_s(server.pid) - before_s


def _way_of_a_line(subscriber: socket.socket, write: Callable[[str], object], flush: Callable[[], None]) -> float:
    time.sleep(PAUSE_S)
    began_s = time.perf_counter()
    write("a line\n")
    flush()
    while b"a line" not in subscriber.recv(4096):
        pass
    return time.perf_counter() - began_s
