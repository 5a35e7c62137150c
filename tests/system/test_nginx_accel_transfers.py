"""What is told of downloads that the real nginx sends by itself: from its log, with the right bytes, by any worker."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.system.clients import run_client, started_client
from tests.system.forwarding import RESET_ON_CLOSE
from tests.system.nginx import Nginx, free_port, nginx
from tests.system.samples import MIB
from tests.system.test_events import Stream
from tests.system.test_streams import OPTIONS, stream
from tests.system.test_transfers import TIMEOUT_S, begun_download, records, told
from tests.tools import Running, serving, wait_until

pytestmark = pytest.mark.system

SIZE = 64 * MIB
WINDOW_S = 1.5
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a large file that takes no room."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("large.bin", 'a"},{"x.bin'):
        with (root / name).open("wb") as file:
            file.truncate(SIZE)
        os.utime(root / name, (1_700_000_000, 1_700_000_000))
    return root


@dataclass(frozen=True)
class Site:
    """A fileserve with nginx in front that sends its files, and what is told of that."""

    server: Running
    proxy: Nginx
    watching: Stream
    log: Path

    @property
    def url(self) -> str:
        """Of the large file, through nginx."""
        return f"{self.proxy.url}/download/large.bin"

    @property
    def behind(self) -> Running:
        """The server as one reaches it through nginx."""
        return replace(self.server, url=self.proxy.url)


@contextmanager
def serving_from(root: Path, *options: str, port: int = 0) -> Iterator[Running]:
    """Serve *root*, so that nginx sends the files and tells of it in a log beside."""
    accel = ("--trusted-proxies", "127.0.0.1", "--accel-redirect", "/_files/", "--accel-log", str(root.parent / "log"))
    with serving(root, *OPTIONS, *accel, "--resume-window", str(WINDOW_S), *options, port=port) as server:
        yield server


@contextmanager
def in_front_of(server: Running, root: Path, changes: Mapping[str, str]) -> Iterator[Nginx]:
    ours = {"/var/log/nginx/fileserve-accel.log": str(root.parent / "log")}
    with nginx("fileserve-accel.conf", server.url, changes={**ours, **changes, "/srv/files/": f"{root}/"}) as proxy:
        yield proxy


@contextmanager
def site(root: Path, *options: str, changes: Mapping[str, str] | None = None) -> Iterator[Site]:
    with (
        serving_from(root, *options) as server,
        in_front_of(server, root, changes or {}) as proxy,
        stream(server.url, "/events/transfers") as watching,
    ):
        assert watching.event().type == "snapshot"
        yield Site(server, proxy, watching, root.parent / "log")


def until_finished(watching: Stream) -> list[dict[str, Any]]:
    """Return what is told until a transfer has finished."""
    events = [watching.event()]
    while events[-1].type != "finished":
        events.append(watching.event())
    return [json.loads(event.data) for event in events]


@WORKERS
def test_a_download_is_under_way_until_nginx_has_sent_it(root: Path, folder: Path, workers: str) -> None:
    with site(root, "--workers", workers) as at:
        ended = run_client("curl", "-sS", "-f", "-O", "--limit-rate", "40M", at.url, folder=folder)
        assert ended.returncode == 0, ended.stderr
        *under_way, finished = until_finished(at.watching)
        assert {(one["offloaded"], one["sent"], one["rate"]) for one in under_way if one["connections"]} == {(1, 0, 0)}
        assert (finished["outcome"], finished["sent"], finished["covered"]) == ("complete", SIZE, SIZE)
        assert finished["seconds"] > 1  # as long as the client took, and not the decision
        assert records(at.server, 1)[0].startswith(f"127.0.0.1: download of large.bin: complete, {SIZE} bytes")


@WORKERS
def test_a_download_by_eight_connections_is_one_transfer(root: Path, folder: Path, workers: str) -> None:
    with site(root, "--workers", workers) as at:
        options = ("-x8", "-s8", "-k1M", "--file-allocation=none", "--max-overall-download-limit=40M", "-q")
        assert run_client("aria2c", *options, at.url, folder=folder).returncode == 0
        events = until_finished(at.watching)
        assert {one["id"] for one in events} == {events[-1]["id"]}
        assert max(one["offloaded"] for one in events) > 2
        assert (events[-1]["outcome"], events[-1]["covered"], events[-1]["from"]) == ("complete", SIZE, 0)


@WORKERS
def test_who_leaves_has_aborted_and_who_resumes_gets_the_rest(root: Path, folder: Path, workers: str) -> None:
    with site(root, "--workers", workers) as at:
        with started_client("wget", "-q", "--limit-rate=8m", at.url, folder=folder) as wget:
            assert wait_until(lambda: (folder / "large.bin").exists() and _size(folder) > MIB, TIMEOUT_S)
            wget.send_signal(signal.SIGINT)
            wget.wait(TIMEOUT_S)
        got = _size(folder)
        aborted = until_finished(at.watching)[-1]
        assert (aborted["outcome"], aborted["from"]) == ("aborted", 0)
        assert got <= aborted["covered"] == aborted["sent"] < SIZE
        assert run_client("wget", "-q", "-c", at.url, folder=folder).returncode == 0
        resumed = until_finished(at.watching)[-1]
        assert (resumed["outcome"], resumed["from"], resumed["sent"]) == ("complete", got, SIZE - got)


def test_over_http_2_the_bytes_are_counted_alike(root: Path, folder: Path) -> None:
    port = free_port()
    with site(root, changes={"server_name _;": f"server_name _; listen 127.0.0.1:{port} http2;"}) as at:
        options = ("-sS", "-f", "-o", "a", "--http2-prior-knowledge", f"http://127.0.0.1:{port}/download/large.bin")
        assert run_client("curl", *options, folder=folder).returncode == 0
        finished = until_finished(at.watching)[-1]
        assert (finished["outcome"], finished["sent"]) == ("complete", SIZE)
        assert run_client("curl", *options, "--max-time", "1", "--limit-rate", "8M", folder=folder).returncode == 28
        finished = until_finished(at.watching)[-1]
        assert finished["outcome"] == "aborted"
        assert (folder / "a").stat().st_size <= finished["covered"] < SIZE


def test_a_resume_in_time_is_the_same_transfer(root: Path, folder: Path) -> None:
    with site(root, "--resume-window", "30") as at:
        half = SIZE // 2
        assert run_client("curl", "-sS", "-o", "a", "-r", f"0-{half - 1}", at.url, folder=folder).returncode == 0
        assert run_client("curl", "-sS", "-o", "a", "-C", "-", at.url, folder=folder).returncode == 0
        finished = until_finished(at.watching)[-1]
        assert (finished["outcome"], finished["sent"], finished["from"]) == ("complete", SIZE, 0)
        assert len(records(at.server, 1)) == 1


def test_who_leaves_before_the_answer_is_not_under_way_for_ever(root: Path) -> None:
    with site(root) as at:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", int(at.proxy.url.rpartition(":")[2])), TIMEOUT_S) as client:
                client.sendall(b"GET /download/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)  # leaves by a reset
        finished = until_finished(at.watching)[-1]
        assert (finished["outcome"], finished["connections"]) == ("aborted", 0)
        assert at.log.read_text().count('"completion":""') == 20


def test_who_takes_nothing_more_is_cut_off_by_nginx_and_has_aborted(root: Path) -> None:
    """It cannot be told from one who has left: nginx logs both alike."""
    with site(root, changes={"send_timeout 60s;": "send_timeout 1s;"}) as at, begun_download(at.behind) as client:
        client.recv(MIB)
        finished = until_finished(at.watching)[-1]
        assert finished["outcome"] == "aborted"
        assert 0 < finished["covered"] < SIZE


def test_the_log_is_rotated_as_logrotate_does(root: Path, folder: Path) -> None:
    with site(root) as at:
        options = ("-sS", "-f", "-o", "a")
        assert run_client("curl", *options, at.url, folder=folder).returncode == 0
        assert until_finished(at.watching)[-1]["outcome"] == "complete"
        at.log.rename(at.log.with_suffix(".1"))
        assert run_client("curl", *options, at.url, folder=folder).returncode == 0  # into the old one, still
        assert until_finished(at.watching)[-1]["outcome"] == "complete"
        os.kill(at.proxy.process.pid, signal.SIGUSR1)
        assert wait_until(at.log.exists, TIMEOUT_S)
        assert run_client("curl", *options, at.url, folder=folder).returncode == 0
        assert until_finished(at.watching)[-1]["outcome"] == "complete"
        assert at.log.read_text().count("\n") == 1


def test_what_nginx_sends_goes_on_while_fileserve_is_restarted(root: Path, folder: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        server = first.enter_context(serving_from(root, port=port))
        proxy = stack.enter_context(in_front_of(server, root, {}))
        url = f"{proxy.url}/download/large.bin"
        watching = first.enter_context(stream(server.url, "/events/transfers"))
        curl = stack.enter_context(started_client("curl", "-sS", "-f", "-O", "--limit-rate", "16M", url, folder=folder))
        assert told(watching, "started")["offloaded"] == 1
        first.close()
        again = stack.enter_context(serving_from(root, port=port))
        watching = stack.enter_context(stream(again.url, "/events/transfers"))
        finished = told(watching, "finished")
        assert curl.wait(TIMEOUT_S) == 0
        assert (finished["outcome"], finished["sent"]) == ("complete", SIZE)


def test_a_download_over_the_death_of_nginx_is_complete_once_the_rest_is_there(root: Path, folder: Path) -> None:
    with site(root) as at, in_front_of(at.server, root, {}) as again:
        with started_client("curl", "-sS", "-O", "--limit-rate", "16M", at.url, folder=folder) as curl:
            assert wait_until(lambda: (folder / "large.bin").exists() and _size(folder) > MIB, TIMEOUT_S)
            at.proxy.process.terminate()  # at once, its workers write no line
            assert curl.wait(TIMEOUT_S) == 18
        assert at.log.read_text() == ""
        rest = ("-sS", "-f", "-O", "-C", "-", f"{again.url}/download/large.bin")
        assert run_client("curl", *rest, folder=folder).returncode == 0
        finished = until_finished(at.watching)[-1]
        assert (finished["outcome"], finished["from"], finished["covered"]) == ("complete", 0, SIZE)


def test_what_nginx_cannot_send_is_sent_by_fileserve_and_told_once(root: Path, folder: Path, tmp_path: Path) -> None:
    with site(root, changes={"alias /srv/files/;": f"alias {tmp_path}/nowhere/;"}) as at:
        assert run_client("curl", "-sS", "-f", "-O", at.url, folder=folder).returncode == 0
        finished = until_finished(at.watching)[-1]
        assert (finished["outcome"], finished["sent"]) == ("complete", SIZE)
        assert json.loads(at.log.read_text())["returned"] == 1
        time.sleep(WINDOW_S)
        with stream(at.server.url, "/events/transfers") as watching:
            assert json.loads(watching.event().data) == {"transfers": []}
        assert len(records(at.server, 1)) == 1


def test_a_file_that_is_cut_under_way_is_not_complete(root: Path) -> None:
    with site(root) as at, begun_download(at.behind) as client:
        client.recv(MIB)
        os.truncate(root / "large.bin", 8 * MIB)
        while client.recv(MIB):
            pass
        finished = until_finished(at.watching)[-1]
        assert finished["outcome"] == "aborted"
        assert 0 < finished["covered"] < 9 * MIB


def test_nothing_that_a_client_says_stands_in_the_log(root: Path, folder: Path) -> None:
    with site(root) as at:
        url = f"{at.proxy.url}/download/a%22%7D%2C%7B%22x.bin?x=%22%7D"
        said = ("-A", '"}\\', "-e", '{"transfer":"', "-H", 'X-Request-ID: "}', "-H", "X-Fileserve-Transfer: 1-n0")
        assert run_client("curl", "-sS", "-f", "-o", "a", *said, url, folder=folder).returncode == 0
        assert until_finished(at.watching)[-1]["outcome"] == "complete"
        [line] = at.log.read_text().splitlines()
        assert json.loads(line).keys() == {"transfer", "status", "range", "sent", "completion", "same", "at"}
        assert "x" not in line.replace("transfer", "")


def _size(folder: Path) -> int:
    return (folder / "large.bin").stat().st_size
