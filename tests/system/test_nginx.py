"""fileserve behind the real nginx, with the configurations that we ship."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.system.nginx import nginx
from tests.system.samples import digest, make_sample
from tests.tools import serving, tool

pytestmark = pytest.mark.system

GIB = 1024**3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a sparse file of 3 GiB whose bytes before and after 1, 2 and 3 GiB can be told apart."""
    root = tmp_path / "root"
    root.mkdir()
    with (root / "sparse").open("wb") as file:
        file.truncate(3 * GIB)
        for offset in (0, GIB - 4096, 2 * GIB - 4096, 3 * GIB - 8192):
            file.seek(offset)
            file.write(os.urandom(8192))
    return root


def test_three_gibibytes_pass_and_a_resume_gets_the_rest(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with (
        serving(root, "--trusted-proxies", "127.0.0.1") as server,
        nginx("fileserve.conf", server.url) as proxy,
    ):
        curl = [tool("curl"), "-sS", "-o", str(copy), proxy.url + "/download/sparse"]
        subprocess.run([*curl, "-r", f"0-{GIB + 12344}"], check=True)
        assert copy.stat().st_size == GIB + 12345
        subprocess.run([*curl, "-C", "-"], check=True)
        assert proxy.spooled() == []
    assert digest(copy) == digest(root / "sparse")
    copy.unlink()


def test_an_upload_passes_without_being_stored_on_the_way(tmp_path: Path) -> None:
    root, token = tmp_path / "root", "t0ken-of-sixteen-characters"
    root.mkdir()
    sample = make_sample(tmp_path / "sample", 20 << 20)
    options = ("--trusted-proxies", "127.0.0.1", "--upload", "--keep-free", "0", "--token", token)
    with serving(root, *options) as server, nginx("fileserve.conf", server.url) as proxy:
        curl = [
            tool("curl"),
            "-sS",
            "-w",
            "%{http_code}",
            "-o",
            os.devnull,
            "-T",
            str(sample.path),
            proxy.url + "/upload/",
        ]
        statuses = [
            subprocess.run([*curl, *who], check=True, capture_output=True, text=True).stdout
            for who in ((), ("-H", f"Authorization: Bearer {token}"))
        ]
        assert proxy.spooled() == []
    assert statuses == ["401", "201"]
    assert digest(root / "sample") == sample.digest


def test_fields_come_through_as_they_were_sent(root: Path, tmp_path: Path) -> None:
    with serving(root) as server, nginx("fileserve.conf", server.url) as proxy:
        direct, proxied = (_head(address + "/download/sparse", "-r", "0-9") for address in (server.url, proxy.url))
    hop_by_hop = {"connection", "server", "date", "x-accel-buffering"}  # nginx keeps the last for itself
    assert {k: v for k, v in direct.items() if k not in hop_by_hop} == {
        k: v for k, v in proxied.items() if k not in hop_by_hop
    }


def test_the_operator_s_token_stands_in_no_log(root: Path, tmp_path: Path) -> None:
    token = "the-operators-token"
    with (
        serving(root, "--trusted-proxies", "127.0.0.1", "--operator-token", token) as server,
        nginx("fileserve.conf", server.url) as proxy,
    ):
        jar = ["-b", str(tmp_path / "jar"), "-c", str(tmp_path / "jar")]
        subprocess.run([tool("curl"), "-sSL", *jar, f"{proxy.url}/live?token={token}"], check=True, capture_output=True)
        watching = [tool("curl"), "-sS", "-I", "-w", "%{http_code}", "-o", os.devnull, *jar, f"{proxy.url}/events/logs"]
        assert subprocess.run(watching, check=True, capture_output=True).stdout == b"200"
        logs = proxy.access_log, proxy.error_log
    assert "HEAD /events/logs" in logs[0]
    assert token not in "".join(logs)


def _head(url: str, *options: str) -> dict[str, str]:
    command = [tool("curl"), "-sS", "-D", "-", "-o", os.devnull, *options, url]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    fields = (line.partition(": ") for line in lines[1:] if line)
    return {name.lower(): value for name, _, value in fields}
