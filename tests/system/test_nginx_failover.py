"""Two servers behind one nginx, of which one goes: downloads go on with the other, and nothing is done twice."""

import http.client
import shutil
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from tests.system.clients import TIMEOUT_S, run_client, started_client
from tests.system.nginx import nginx
from tests.system.samples import Sample, digest, make_sample
from tests.tools import serving, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20
CUT_OFF = 18  # curl: the transfer ended before all was there
BEHIND = ("--trusted-proxies", "127.0.0.1", "--keep-alive", "300", "--etag", "portable")


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[Sample]:
    """A file that both servers have: copies with the same time of modification."""
    (tmp_path / "first").mkdir()
    sample = make_sample(tmp_path / "first" / "sample", 100 * MIB)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    yield sample
    for name in ("first", "second"):
        shutil.rmtree(tmp_path / name)


@pytest.mark.parametrize(
    ("configuration", "ends"),
    [
        pytest.param("fileserve.conf", {CUT_OFF}, id="passed_on"),
        pytest.param("fileserve-cache.conf", {CUT_OFF, 0}, id="slices"),  # between two slices nothing breaks
    ],
)
def test_a_download_whose_server_is_killed_goes_on_with_the_other(
    configuration: str, ends: set[int], sample: Sample, tmp_path: Path, folder: Path
) -> None:
    copy = folder / "sample"
    with (
        serving(tmp_path / "first", *BEHIND) as first,
        serving(tmp_path / "second", *BEHIND) as second,
        nginx(configuration, first.url, second.url) as proxy,
    ):
        download = ("curl", "-sSf", "-C", "-", "-O", f"{proxy.url}/download/sample")
        with started_client(*download[:1], "--limit-rate", "20M", *download[1:], folder=folder) as client:
            assert wait_until(lambda: copy.exists() and copy.stat().st_size > MIB, TIMEOUT_S)
            first.process.kill()
            first.process.wait()
            ended = client.wait(TIMEOUT_S)
        assert ended in ends
        assert ended == 0 or MIB < copy.stat().st_size < sample.size
        assert ended == 0 or run_client(*download, folder=folder).returncode == 0
    assert digest(copy) == sample.digest


def test_a_client_that_tries_again_by_itself_sees_no_end(sample: Sample, tmp_path: Path, folder: Path) -> None:
    with (
        serving(tmp_path / "first", *BEHIND) as first,
        serving(tmp_path / "second", *BEHIND) as second,
        nginx("fileserve.conf", first.url, second.url) as proxy,
    ):
        download = ("--limit-rate=20M", "--waitretry=0", f"{proxy.url}/download/sample")
        with started_client("wget", *download, folder=folder) as client:
            assert wait_until(lambda: (folder / "sample").exists(), TIMEOUT_S)
            first.process.kill()
            assert client.wait(TIMEOUT_S) == 0
    assert digest(folder / "sample") == sample.digest


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        pytest.param("GET", "/download/a", 2, id="download"),
        pytest.param("HEAD", "/download/a", 2, id="head"),
        pytest.param("GET", "/events/logs", 2, id="events"),
        pytest.param("PUT", "/upload/a", 1, id="upload"),
        pytest.param("POST", "/upload/a/", 1, id="form"),
        pytest.param("POST", "/uploads", 1, id="session"),
        pytest.param("PATCH", "/uploads/a", 1, id="part"),
        pytest.param("DELETE", "/api/files/a", 1, id="delete"),
        pytest.param("MKCOL", "/api/files/a", 1, id="make"),
        pytest.param("MOVE", "/api/files/a", 1, id="move"),
        pytest.param("POST", "/chat", 1, id="question"),
    ],
)
def test_what_changes_something_is_not_asked_twice(method: str, path: str, asked: int) -> None:
    with hanging_up() as first, hanging_up() as second, nginx("fileserve.conf", first.url, second.url) as proxy:
        connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=TIMEOUT_S)
        connection.request(method, path, body=b"text" if method in ("PUT", "POST", "PATCH") else None)
        assert connection.getresponse().status == 502
        connection.close()
    assert first.asked + second.asked == asked


class HangingUp(socketserver.ThreadingTCPServer):
    """Takes the head of a request, and ends the connection without an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.StreamRequestHandler)
        self.asked = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: object, client_address: object) -> None:
        """Read the head."""
        with request.makefile("rb") as stream:  # type: ignore[attr-defined]
            while stream.readline() not in (b"\r\n", b""):
                pass
        self.asked += 1


@contextmanager
def hanging_up() -> Iterator[HangingUp]:
    with HangingUp() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
