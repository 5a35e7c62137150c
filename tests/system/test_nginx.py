"""fileserve behind the real nginx, with the configurations that we ship."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.samples import digest, make_sample
from tests.tools import serving, stop, tool, wait_until

pytestmark = pytest.mark.system

CONFIGURATIONS = Path(__file__).parent.parent.parent / "nginx"
GIB = 1024**3
MAIN = """\
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include {site};
}}
"""


@contextmanager
def nginx(folder: Path, configuration: str, upstream: str) -> Iterator[str]:
    """Run nginx with one of our configurations in front of the address *upstream*, and yield its URL."""
    program = tool("nginx")
    port = _free_port()
    text = (CONFIGURATIONS / configuration).read_text()
    for shipped, here in (("listen 80;", f"listen 127.0.0.1:{port};"), ("127.0.0.1:8000", upstream)):
        assert shipped in text
        text = text.replace(shipped, here)
    (folder / "site.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(site=folder / "site.conf"))
    process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
    try:
        assert wait_until(lambda: _accepts(port), timeout_s=20), (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


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
    folder, copy = tmp_path / "nginx", tmp_path / "copy"
    folder.mkdir()
    with (
        serving(root, "--trusted-proxies", "127.0.0.1") as server,
        nginx(folder, "fileserve.conf", server.url.removeprefix("http://")) as url,
    ):
        curl = [tool("curl"), "-sS", "-o", str(copy), url + "/download/sparse"]
        subprocess.run([*curl, "-r", f"0-{GIB + 12344}"], check=True)
        assert copy.stat().st_size == GIB + 12345
        subprocess.run([*curl, "-C", "-"], check=True)
    assert digest(copy) == digest(root / "sparse")
    assert list((folder / "proxy").rglob("*")) == []
    copy.unlink()


def test_an_upload_passes_without_being_stored_on_the_way(tmp_path: Path) -> None:
    folder, root, token = tmp_path / "nginx", tmp_path / "root", "t0ken-of-sixteen-characters"
    folder.mkdir()
    root.mkdir()
    sample = make_sample(tmp_path / "sample", 20 << 20)
    options = ("--trusted-proxies", "127.0.0.1", "--upload", "--keep-free", "0", "--token", token)
    with serving(root, *options) as server, nginx(folder, "fileserve.conf", server.url.removeprefix("http://")) as url:
        curl = [tool("curl"), "-sS", "-w", "%{http_code}", "-o", os.devnull, "-T", str(sample.path), url + "/upload/"]
        statuses = [
            subprocess.run([*curl, *who], check=True, capture_output=True, text=True).stdout
            for who in ((), ("-H", f"Authorization: Bearer {token}"))
        ]
    assert statuses == ["401", "201"]
    assert digest(root / "sample") == sample.digest
    assert [path for path in (folder / "body").rglob("*") if path.is_file()] == []


def test_fields_come_through_as_they_were_sent(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with serving(root) as server, nginx(folder, "fileserve.conf", server.url.removeprefix("http://")) as url:
        direct, proxied = (_head(address + "/download/sparse", "-r", "0-9") for address in (server.url, url))
    hop_by_hop = {"connection", "server", "date", "x-accel-buffering"}  # nginx keeps the last for itself
    assert {k: v for k, v in direct.items() if k not in hop_by_hop} == {
        k: v for k, v in proxied.items() if k not in hop_by_hop
    }


def test_the_operator_s_token_stands_in_no_log(root: Path, tmp_path: Path) -> None:
    folder, token = tmp_path / "nginx", "the-operators-token"
    folder.mkdir()
    with (
        serving(root, "--trusted-proxies", "127.0.0.1", "--operator-token", token) as server,
        nginx(folder, "fileserve.conf", server.url.removeprefix("http://")) as url,
    ):
        jar = ["-b", str(tmp_path / "jar"), "-c", str(tmp_path / "jar")]
        subprocess.run([tool("curl"), "-sSL", *jar, f"{url}/live?token={token}"], check=True, capture_output=True)
        watching = [tool("curl"), "-sS", "-I", "-w", "%{http_code}", "-o", os.devnull, *jar, f"{url}/events/logs"]
        assert subprocess.run(watching, check=True, capture_output=True).stdout == b"200"
        logs = [(folder / name).read_text() for name in ("access.log", "error.log")]
    assert "HEAD /events/logs" in logs[0]
    assert token not in "".join(logs)


def _head(url: str, *options: str) -> dict[str, str]:
    command = [tool("curl"), "-sS", "-D", "-", "-o", os.devnull, *options, url]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    fields = (line.partition(": ") for line in lines[1:] if line)
    return {name.lower(): value for name, _, value in fields}
