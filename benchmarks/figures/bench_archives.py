"""Folders as archives, and digests: what they cost beside the plain thing that does the same work.

Each figure is a ratio within one round: a tar to the same bytes as files from the same server; the first byte of a tar
of 10,000 files to a walk of them (scandir and stat) by this process, when the folder has changed since the server saw
it, and to a bare lstat of each member when it has not; a digest to ``sha256sum``. Memory is the growth up to the peak
of a tar of 100,000 files.
"""

import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine
from benchmarks.apart import call
from benchmarks.peers import FILESERVE
from benchmarks.probe import first_byte
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.sample import Samples
from benchmarks.servers import Server, running

MIB = 1 << 20
ROUNDS = machine.choose(7, 3)
FOLDERS = {"some": (10, 1000), "many": (100, 1000)}  # directories, and files in each
LARGE = 4  # large files of a folder, hard links to one: the same bytes, other names


@pytest.fixture(scope="module")
def tree(samples: Samples) -> Iterator[Path]:
    """Make folders ``some`` and ``many`` of small files, and ``large`` of large ones, beside the samples."""
    root = Path(tempfile.mkdtemp(prefix="benchmark-", dir=samples.large.parent))
    for name, (directories, files) in FOLDERS.items():
        for number in range(directories):
            folder = root / name / f"folder {number:03}"
            folder.mkdir(parents=True)
            for file in range(files):
                os.mknod(folder / f"{file * 7919 % files:04} name of a file.dat")
    (root / "large").mkdir()
    for number in range(LARGE):
        os.link(samples.cold, root / "large" / f"{number}.bin")
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def server(tree: Path) -> Iterator[Server]:
    with running(FILESERVE, tree) as started:
        yield started


def bench_archive_cost(benchmark: BenchmarkFixture, record: Record, server: Server) -> None:
    size = LARGE * (512 * MIB)
    files = [client.request(f"/download/large/{number}.bin") for number in range(LARGE)]

    def measure(server: Server) -> Mapping[str, float]:
        before_s = cost.cpu_s(server.pid)
        for request in files:
            call(client.download, server.address, [request])
        between_s = cost.cpu_s(server.pid)
        seen = call(client.download, server.address, [client.request("/archive/large.tar")])
        assert seen.content > size
        return {"archive_cpu": (cost.cpu_s(server.pid) - between_s) / (between_s - before_s)}

    interleave(benchmark, record, [server], measure, ROUNDS)


def bench_archive_first_byte(benchmark: BenchmarkFixture, record: Record, server: Server, tree: Path) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        os.utime(tree / "some")
        time.sleep(0.1)  # a table is kept once its folder has not changed for 20 ms
        first_s = call(first_byte, server.address, request)
        again_s = call(first_byte, server.address, request)
        walk_s, lstat_s = _time(lambda: _walk(tree / "some")), _time(lambda: _lstat(members))
        return {"archive_first": first_s / walk_s, "archive_again": again_s / lstat_s}

    request = client.request("/archive/some.tar")
    members = [path for path, _, _ in os.walk(tree / "some")]
    members += [os.path.join(path, name) for path, _, names in os.walk(tree / "some") for name in names]
    interleave(benchmark, record, [server], measure, ROUNDS)


def bench_archive_memory(benchmark: BenchmarkFixture, record: Record, tree: Path) -> None:
    with running(FILESERVE, tree) as server:
        call(first_byte, server.address, client.request("/archive/large.tar"))
        cost.reset_peak(server.pid)
        idle = cost.resident(server.pid)

        def measure(server: Server) -> Mapping[str, float]:
            call(client.download, server.address, [client.request("/archive/many.tar")])
            return {"archive_memory": (cost.peak_resident(server.pid) - idle) / MIB}

        interleave(benchmark, record, [server], measure, 1, warm_up=False)


def bench_hashing(benchmark: BenchmarkFixture, record: Record, server: Server, tree: Path) -> None:
    path = tree / "hashed.bin"
    shutil.copyfile(tree / "large" / "0.bin", path)

    def measure(server: Server) -> Mapping[str, float]:
        os.utime(path)  # another mtime: nobody knows the digest any more
        time.sleep(0.1)
        ours_s = _time(lambda: _get(server, "/checksum/hashed.bin"))
        with machine.pinned(machine.SERVER):
            theirs_s = _time(lambda: subprocess.run(["sha256sum", path], check=True, stdout=subprocess.DEVNULL))
        return {"hashing": theirs_s / ours_s}

    interleave(benchmark, record, [server], measure, ROUNDS)


def _time(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _walk(top: Path) -> int:
    """Look at each name as a walker has to: scandir, and a stat of each."""
    seen, pending = 0, [os.fspath(top)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                seen += entry.stat(follow_symlinks=False).st_size >= 0
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    return seen


def _lstat(paths: list[str]) -> None:
    for path in paths:
        os.lstat(path)


def _get(server: Server, target: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{target}") as response:
        content: bytes = response.read()
    return content
