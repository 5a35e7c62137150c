"""Transfers of real clients from real servers: one for each download, however many connections and workers it takes."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.clients import run_client, started_client
from tests.system.samples import MIB, make_sample
from tests.system.test_events import Stream
from tests.system.test_streams import OPTIONS, stream
from tests.tools import Running, serving, wait_until

pytestmark = pytest.mark.system

SIZE = 256 * MIB
REST = 128 * 1024  # what the kernel holds when the server has nothing left to send
WINDOW_S = 1.5
TIMEOUT_S = 20
RECORD = re.compile(r"INFO \[\d+\] fileserve\.transfers: (.*) \(request [0-9a-f-]+\)")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a large file that takes no room, and a small one."""
    (tmp_path / "root").mkdir()
    with (tmp_path / "root" / "large.bin").open("wb") as file:
        file.truncate(SIZE)
    (tmp_path / "root" / "small.txt").write_bytes(b"0123456789")
    return tmp_path / "root"


@contextmanager
def watched(root: Path, *options: str) -> Iterator[tuple[Running, Stream]]:
    """Serve *root*, and watch what is transferred."""
    window = ("--resume-window", str(WINDOW_S))
    with serving(root, *OPTIONS, *window, *options) as server, stream(server.url, "/events/transfers") as watching:
        assert watching.event().type == "snapshot"
        yield server, watching


def told(watching: Stream, kind: str) -> dict[str, Any]:
    """Return what the next event of *kind* tells."""
    while (event := watching.event()).type != kind:
        pass
    values: dict[str, Any] = json.loads(event.data)
    return values


def records(server: Running, count: int) -> list[str]:
    """Return what the server has logged of transfers, when that is *count* of them or more."""
    assert wait_until(lambda: len(RECORD.findall(server.log.read_text())) >= count, TIMEOUT_S)
    return RECORD.findall(server.log.read_text())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_download_by_sixteen_connections_is_one_transfer(root: Path, folder: Path, workers: str) -> None:
    with watched(root, "--workers", workers) as (server, watching):
        options = ("-x16", "-s16", "-k1M", "--file-allocation=none", "--max-overall-download-limit=150M", "-q")
        ended = run_client("aria2c", *options, f"{server.url}/download/large.bin", folder=folder)
        assert ended.returncode == 0, ended.stdout
        events = [watching.event()]
        while events[-1].type != "finished":
            events.append(watching.event())
        found = [json.loads(event.data) for event in events]
        assert {one["id"] for one in found} == {found[-1]["id"]}
        assert events[0].type == "started"
        assert (found[-1]["outcome"], found[-1]["covered"], found[-1]["from"]) == ("complete", SIZE, 0)
        assert max(one["connections"] for one in found) > 4
        assert [line.split(", ")[0] for line in records(server, 1)] == ["127.0.0.1: download of large.bin: complete"]


def test_a_download_that_is_broken_off_has_aborted_and_its_resume_tells_from_where(root: Path, folder: Path) -> None:
    with watched(root) as (server, watching):
        url = f"{server.url}/download/large.bin"
        with started_client("wget", "-q", "--limit-rate=40m", url, folder=folder) as wget:
            assert wait_until(lambda: _size(folder / "large.bin") > MIB, TIMEOUT_S)
            wget.send_signal(signal.SIGINT)
            wget.wait(TIMEOUT_S)
        got = _size(folder / "large.bin")
        broken_off = told(watching, "finished")
        assert (broken_off["outcome"], broken_off["from"]) == ("aborted", 0)
        assert got <= broken_off["covered"] < SIZE
        assert run_client("wget", "-q", "-c", url, folder=folder).returncode == 0
        resumed = told(watching, "finished")
        assert (resumed["outcome"], resumed["from"], resumed["covered"]) == ("complete", got, SIZE - got)
        assert resumed["id"] != broken_off["id"]
        assert len(records(server, 2)) == 2


def test_a_download_that_goes_on_in_time_is_the_same(root: Path, folder: Path) -> None:
    with watched(root, "--resume-window", "30") as (server, watching):
        url = f"{server.url}/download/large.bin"
        assert run_client("curl", "-s", "-o", "a", "-r", f"0-{SIZE // 2 - 1}", url, folder=folder).returncode == 0
        assert run_client("curl", "-s", "-o", "a", "-C", "-", url, folder=folder).returncode == 0
        found = told(watching, "finished")
        assert (found["outcome"], found["from"], found["sent"]) == ("complete", 0, SIZE)
        assert len(records(server, 1)) == 1


def test_a_client_that_takes_nothing_has_stalled(root: Path) -> None:
    with watched(root, "--stall-timeout", "0.5") as (server, watching), begun_download(server) as client:
        client.recv(MIB)
        found = told(watching, "finished")
        assert found["outcome"] == "stalled"
        assert 0 < found["covered"] < SIZE
        assert len(records(server, 1)) == 1


def test_a_file_that_is_cut_under_way_has_failed(root: Path) -> None:
    with watched(root) as (server, watching), begun_download(server) as client:
        client.recv(MIB)
        os.truncate(root / "large.bin", 64 * MIB)
        with suppress(ConnectionError):
            while client.recv(MIB):
                pass
        found = told(watching, "finished")
        assert found["outcome"] == "failed"
        assert 0 < found["covered"] <= 64 * MIB
        assert len(records(server, 1)) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_small_file_is_complete(root: Path, folder: Path, workers: str) -> None:
    with watched(root, "--workers", workers) as (server, watching):
        assert run_client("curl", "-s", f"{server.url}/download/small.txt", folder=folder).stdout == "0123456789"
        event = watching.event()
        assert (event.type, json.loads(event.data)["outcome"]) == ("finished", "complete")
        assert records(server, 1) == ["127.0.0.1: download of small.txt: complete, 10 bytes in 0.0 s"]


@pytest.mark.parametrize("reads_on", [True, False], ids=["reads_on", "leaves"])
def test_what_follows_when_the_server_has_closed_counts(root: Path, reads_on: bool) -> None:
    """HTTP/1.0, as a proxy may speak it: the server closes the connection while the last bytes are on their way."""
    with watched(root) as (server, watching), begun_download(server, "HTTP/1.0") as client:
        got = 0
        while got < SIZE - REST:
            got += len(client.recv(min(MIB, SIZE - REST - got)))
        assert wait_until(lambda: established(server) == 1, TIMEOUT_S)  # that of who watches
        while reads_on and client.recv(MIB):
            pass
        client.close()
        found = told(watching, "finished")
        assert (found["outcome"], found["covered"] == SIZE) == (("complete", True) if reads_on else ("aborted", False))
        assert len(records(server, 1)) == 1


def test_an_archive_is_a_transfer(root: Path, folder: Path) -> None:
    (root / "notes").mkdir()
    make_sample(root / "notes" / "some.bin", 3 * MIB)
    with watched(root) as (server, watching):
        assert run_client("wget", "-q", f"{server.url}/archive/notes.tar", folder=folder).returncode == 0
        found = told(watching, "finished")
        assert (found["route"], found["path"], found["outcome"]) == ("archive", "notes.tar", "complete")
        assert found["sent"] == found["length"] == _size(folder / "notes.tar")


def test_when_the_elected_worker_is_killed_another_keeps_the_transfers(root: Path, folder: Path) -> None:
    """What was sent before is known from the rows."""
    with watched(root, "--workers", "2", "--resume-window", "8") as (server, watching):
        url = f"{server.url}/download/large.bin"
        assert run_client("curl", "-s", "-o", "a", "-r", f"0-{SIZE // 2 - 1}", url, folder=folder).returncode == 0
        assert wait_until(lambda: json.loads(watching.event().data).get("covered") == SIZE // 2, TIMEOUT_S)
        elected = elected_of(server)
        assert elected is not None
        elected.kill()
        assert wait_until(lambda: elected_of(server) not in (None, elected), TIMEOUT_S)
        assert run_client("curl", "-s", "-o", "a", "-C", "-", "--retry", "3", url, folder=folder).returncode == 0
        [line] = records(server, 1)
        assert line.startswith("127.0.0.1: download of large.bin: complete, 268435456 bytes")


def elected_of(server: Running) -> psutil.Process | None:
    """Return the worker that holds the lock of the election; each holds another one, for its counts."""
    holders = re.findall(r"FLOCK +ADVISORY +WRITE (\d+) ", Path("/proc/locks").read_text())
    workers = [child for child in psutil.Process(server.process.pid).children() if holders.count(str(child.pid)) > 1]
    return workers[0] if len(workers) == 1 else None


def established(server: Running) -> int:
    """Return how many connections the server has that neither side has closed."""
    connections = psutil.Process(server.process.pid).net_connections("tcp4")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in connections)


@contextmanager
def begun_download(server: Running, version: str = "HTTP/1.1") -> Iterator[socket.socket]:
    """A connection with a small window, on which a download has begun."""
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(TIMEOUT_S)
        client.connect((host, int(port)))
        client.sendall(f"GET /download/large.bin {version}\r\nHost: {host}\r\n\r\n".encode())
        yield client


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
