"""nginx that keeps slices: what is kept and for whom, and that no two versions are ever mixed."""

import http.client
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.clients import TIMEOUT_S, strong_etag
from tests.system.nginx import Nginx, nginx
from tests.tools import Running, serving, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20
SIZE = 20 * MIB + 321
MODIFIED_S = 1_700_000_000
BEHIND = ("--trusted-proxies", "127.0.0.1", "--keep-alive", "300")
TOKEN = "t0ken-of-sixteen-characters"
LASTING = {"proxy_cache_valid 206 10s;": "proxy_cache_valid 206 1h;"}
FLEETING = {"proxy_cache_valid 206 10s;": "proxy_cache_valid 206 1s;"}


@dataclass(frozen=True)
class Got:
    """What came of an answer, which may have been cut."""

    status: int
    content: bytes
    is_whole: bool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def content(root: Path) -> bytes:
    return _write(root, MODIFIED_S)


def _write(root: Path, modified_s: int) -> bytes:
    """Put a new version of the file into its place."""
    content = os.urandom(SIZE)
    (root / "new").write_bytes(content)
    os.utime(root / "new", (modified_s, modified_s))
    (root / "new").replace(root / "file")
    return content


@pytest.fixture
def server(root: Path, content: bytes) -> Iterator[Running]:
    with serving(root, *BEHIND) as running:
        strong_etag(running.url + "/download/file")
        yield running


def test_what_was_fetched_once_needs_no_server(server: Running, content: bytes) -> None:
    with nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy:
        assert _get(proxy).content == content
        server.process.kill()
        server.process.wait()
        assert _get(proxy) == Got(200, content, True)
        part = _get(proxy, {"Range": f"bytes={9 * MIB}-{17 * MIB}"})
        assert part == Got(206, content[9 * MIB : 17 * MIB + 1], True)
        assert _get(proxy, method="HEAD").status == 502


@pytest.mark.parametrize("last", ["9" * 18, "9" * 20, "9" * 40])
def test_a_range_of_more_digits_than_nginx_counts_is_answered_by_the_server(
    server: Running, content: bytes, last: str
) -> None:
    with nginx("fileserve-cache.conf", server.url) as proxy:
        got = _get(proxy, {"Range": f"bytes=0-{last}"})
    assert (got.status in (200, 206), got.content == content, got.is_whole) == (True, True, True)


def test_a_part_costs_its_slices_and_no_more(server: Running, content: bytes) -> None:
    with nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy:
        assert _get(proxy, {"Range": f"bytes={9 * MIB}-{10 * MIB}"}).content == content[9 * MIB : 10 * MIB + 1]
        # nginx goes on with a slice when its client has what it wants.
        assert wait_until(lambda: [size // MIB for size in _kept(proxy)] == [8], TIMEOUT_S), _kept(proxy)


def test_a_file_that_has_not_changed_is_asked_about_and_not_fetched(server: Running, content: bytes) -> None:
    with nginx("fileserve-cache.conf", server.url, changes=FLEETING) as proxy:
        assert _get(proxy).content == content
        assert wait_until(lambda: "REVALIDATED" in _get_and_log(proxy), TIMEOUT_S)
        assert _get(proxy).content == content


def _get_and_log(proxy: Nginx) -> str:
    _get(proxy, {"Range": "bytes=0-9"})
    return proxy.access_log


def test_a_file_that_has_changed_is_fetched_anew(server: Running, root: Path, content: bytes) -> None:
    with nginx("fileserve-cache.conf", server.url, changes=FLEETING) as proxy:
        assert _get(proxy).content == content
        changed = _write(root, MODIFIED_S + 10)
        assert wait_until(lambda: _get(proxy) == Got(200, changed, True), TIMEOUT_S)


def test_slices_of_two_versions_are_never_one_download(server: Running, root: Path, content: bytes) -> None:
    with nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy:
        _get(proxy, {"Range": "bytes=0-9"})  # the first slice
        _write(root, MODIFIED_S + 10)
        strong_etag(server.url + "/download/file")
        got = _get(proxy)
        assert got == Got(200, content[: 8 * MIB], False)  # broken off where the next slice begins
        assert "etag mismatch" in proxy.error_log


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"Authorization": f"Bearer {TOKEN}"}, id="token"),
        pytest.param({"Authorization": f"Bearer {TOKEN}", "Range": "bytes=0-9"}, id="a_range_with_a_token"),
        pytest.param({"Cookie": "fileserve_operator=the-operators-token"}, id="cookie"),
    ],
)
def test_what_is_private_is_not_kept(root: Path, content: bytes, fields: Mapping[str, str]) -> None:
    private = ("--private", "--token", TOKEN, "--operator-token", "the-operators-token")
    with (
        serving(root, *BEHIND, *private) as server,
        nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy,
    ):
        for _ in range(2):
            assert _get(proxy, fields).status in (200, 206)
            assert _get(proxy).status == 401
            assert _get(proxy, {"Range": "bytes=0-9"}).status == 401
        assert _kept(proxy) == []


def test_what_is_not_to_be_shared_is_not_kept(root: Path, content: bytes) -> None:
    with (
        serving(root, *BEHIND, "--cache-control", "private, max-age=60") as server,
        nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy,
    ):
        assert _get(proxy).content == content
        assert _kept(proxy) == []


def test_an_archive_is_kept_like_a_file(server: Running, root: Path) -> None:
    (root / "folder").mkdir()
    (root / "folder" / "member").write_bytes(os.urandom(9 * MIB))
    os.utime(root / "folder" / "member", (MODIFIED_S, MODIFIED_S))
    path = "/archive/folder.tar"
    strong_etag(server.url + path)
    with nginx("fileserve-cache.conf", server.url, changes=LASTING) as proxy:
        first = _get(proxy, path=path)
        server.process.kill()
        server.process.wait()
        assert first.is_whole
        assert _get(proxy, path=path) == first


def _kept(proxy: Nginx) -> list[int]:
    """Return the sizes of the files in the cache."""
    return [path.stat().st_size for path in (proxy.folder / "fileserve").rglob("*") if path.is_file()]


def _get(
    proxy: Nginx, fields: Mapping[str, str] | None = None, method: str = "GET", path: str = "/download/file"
) -> Got:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers=dict(fields or {}))
        response = connection.getresponse()
        try:
            return Got(response.status, response.read(), True)
        except http.client.IncompleteRead as error:
            return Got(response.status, error.partial, False)
    finally:
        connection.close()
