"""A directory of 100,000 names: one sorted page of 1,000, as JSON and as a page for people.

The time is only printed. Memory is the growth up to the peak, divided by the names: it is a target, because a directory
must not cost more than its names. Every answer is checked: a whole page, sorted, with the same names in both forms.
"""

import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import cost, machine
from benchmarks.peers import FILESERVE
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.servers import Server, running

NAMES = 100_000
PAGE = 1000
ROUNDS = machine.choose(7, 3)
MS = 1000


@pytest.fixture(scope="module")
def crowded() -> Iterator[Path]:
    """Make a folder with a directory ``many``, its names in no order."""
    root = Path(tempfile.mkdtemp(prefix="benchmark-"))
    many = root / "many"
    many.mkdir()
    for number in range(NAMES):
        os.mknod(many / f"{number * 7919 % NAMES:06} name of a file.dat")
    yield root
    shutil.rmtree(root)


def bench_listing(benchmark: BenchmarkFixture, record: Record, crowded: Path) -> None:
    with running(FILESERVE, crowded) as server:
        _get(server, "/api/files/?limit=1")
        cost.reset_peak(server.pid)
        idle = cost.resident(server.pid)
        interleave(benchmark, record, [server], _measure, ROUNDS)
        record.add(server.name, {"listing_memory": (cost.peak_resident(server.pid) - idle) / NAMES})


def _measure(server: Server) -> Mapping[str, float]:
    json_s, listing = _get(server, "/api/files/many")
    html_s, page = _get(server, "/browse/many/")
    names = [entry["name"] for entry in json.loads(listing)["entries"]]
    assert len(names) == PAGE
    assert names == sorted(names)
    assert names[-1].encode() in page
    return {"listing_json": MS * json_s, "listing_html": MS * html_s}


def _get(server: Server, target: str) -> tuple[float, bytes]:
    begin = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{target}") as response:
        content: bytes = response.read()
    return time.perf_counter() - begin, content
