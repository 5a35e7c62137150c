"""What an upload costs beside nginx's WebDAV: processor time, memory, and how long others wait meanwhile.

The files are zeros that go to a folder on the disk, and are deleted after each sample. nginx has its buffer at 256 KiB
(with the default it takes twice the time), and flushes nothing: fileserve's figures have the flush in them. Each name
is given anew, so nothing is replaced.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import client, cost, machine, sender
from benchmarks.apart import beside, call
from benchmarks.client import request
from benchmarks.peers import FILESERVE_UNHASHED, FILESERVE_UPLOADS, NGINX_DAV
from benchmarks.probe import probe, quantile
from benchmarks.record import Record
from benchmarks.rounds import interleave
from benchmarks.servers import Server, running

MIB, GIB = 1 << 20, 1 << 30
ROUNDS = machine.choose(7, 3)
ONE = machine.choose(GIB, GIB // 2)
LARGE = machine.choose(4 * GIB, GIB)
STREAMS, OF_EACH = 32, 64 * MIB
LOADED, WAITED_S, INTERVAL_S = 8, machine.choose(4.0, 1.5), 0.002


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder to upload into, with one small file to ask for."""
    root = Path(tempfile.mkdtemp(prefix="benchmark-"))
    (root / "small").write_bytes(bytes(1024))
    yield root
    shutil.rmtree(root)


def bench_one(benchmark: BenchmarkFixture, record: Record, folder: Path) -> None:
    def measure(server: Server) -> Mapping[str, float]:
        target = f"{server.peer.prefix}new"
        figures = _cost_of(server, sender.put(target, ONE), "upload", folder)
        figures |= _cost_of(server, sender.put_chunked(target, ONE // 4), "chunked", folder)
        figures.pop("chunked_rate")
        if server.peer is NGINX_DAV:
            return figures | {"form_cpu": figures["upload_cpu"]}  # it takes no forms
        form = _cost_of(server, sender.form(server.peer.prefix, "new", ONE), "form", folder)
        return figures | {"form_cpu": form["form_cpu"]}

    peers = [peer for peer in (FILESERVE_UPLOADS, FILESERVE_UNHASHED, NGINX_DAV) if not peer.lacks()]
    with running(peers[0], folder) as hashed, running(peers[1], folder) as plain:
        servers = [hashed, plain]
        if len(peers) == 2:
            return interleave(benchmark, record, servers, measure, ROUNDS)
        with running(NGINX_DAV, folder) as nginx:
            interleave(benchmark, record, [*servers, nginx], measure, ROUNDS)


@pytest.mark.parametrize("kind", ["upload", "form"])
def bench_memory(benchmark: BenchmarkFixture, record: Record, folder: Path, kind: str) -> None:
    with running(FILESERVE_UPLOADS, folder) as server:

        def measure(server: Server) -> Mapping[str, float]:
            idle = _resident_when_idle(server)
            one = sender.put("/upload/new", LARGE) if kind == "upload" else sender.form("/upload/", "new", LARGE)
            call(sender.upload, server.address, [one])
            grown = {f"{kind}_memory_1": (cost.peak_resident(server.pid) - idle) / MIB}
            (folder / "new").unlink()
            if kind == "upload":
                many = [sender.put(f"/upload/new-{number}", OF_EACH) for number in range(STREAMS)]
                call(sender.upload, server.address, many)
                grown["upload_memory_32"] = (cost.peak_resident(server.pid) - idle) / MIB
            return grown

        interleave(benchmark, record, [server], measure, 1, warm_up=False)


def bench_others(benchmark: BenchmarkFixture, record: Record, folder: Path) -> None:
    """How long those wait who ask for a small file while eight uploads run, and nobody else."""
    head = request("/download/small")

    def measure(server: Server) -> Mapping[str, float]:
        idle = call(probe, server.address, head, WAITED_S / 2, INTERVAL_S)
        uploads = [sender.put(f"/upload/new-{number}", ONE) for number in range(LOADED)]
        with beside(sender.load, server.address, uploads):
            loaded = call(probe, server.address, head, WAITED_S, INTERVAL_S)
        return {"upload_ttfb": quantile(loaded, 0.99) / quantile(idle, 0.99)}

    with running(FILESERVE_UPLOADS, folder) as server:
        interleave(benchmark, record, [server], measure, machine.choose(5, 3))


def _cost_of(server: Server, upload: sender.Upload, kind: str, folder: Path) -> dict[str, float]:
    before_s = cost.cpu_s(server.pid)
    seen = call(sender.upload, server.address, [upload])
    spent_s = cost.cpu_s(server.pid) - before_s
    assert (folder / "new").stat().st_size == upload.amount
    (folder / "new").unlink()
    gibs = upload.amount / GIB
    return {f"{kind}_cpu": spent_s / gibs, f"{kind}_rate": gibs / seen.elapsed_s}


def _resident_when_idle(server: Server) -> int:
    call(client.download, server.address, [request("/download/small")])
    cost.reset_peak(server.pid)
    return cost.resident(server.pid)
