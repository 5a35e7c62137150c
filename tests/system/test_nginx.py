"""fileserve behind the real nginx, with the configurations that we ship."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.server.certificates import certificate
from tests.system.nginx import CONFIGURATIONS, free_port, nginx
from tests.system.samples import digest, is_content_of, make_sample
from tests.tools import serving, stop, tool

pytestmark = [pytest.mark.system, pytest.mark.alone]

GIB = 1024**3
BEHIND = ("--trusted-proxies", "127.0.0.1", "--keep-alive", "300")


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


def test_three_gibibytes_pass_in_two_parts_to_a_client_that_rests(root: Path) -> None:
    with (
        serving(root, *BEHIND) as server,
        nginx("fileserve.conf", server.url) as proxy,
        (root / "sparse").open("rb") as expected,
    ):
        for part in (f"0-{GIB + 12344}", f"{GIB + 12345}-"):
            curl = [tool("curl"), "-sSf", "-r", part, proxy.url + "/download/sparse"]
            with subprocess.Popen(curl, stdout=subprocess.PIPE) as client:
                assert client.stdout is not None
                data = client.stdout.read(1 << 20)
                time.sleep(1)  # nothing is read meanwhile: nginx could spool gigabytes
                while data:
                    assert data == expected.read(len(data))
                    data = client.stdout.read(1 << 20)
            assert client.returncode == 0
        assert expected.read(1) == b""
        assert proxy.spooled() == []


def test_over_the_unix_socket_of_the_document_clients_are_told_apart(tmp_path: Path) -> None:
    document = (CONFIGURATIONS.parent / "docs" / "nginx.md").read_text()
    (command,) = re.findall(r"^\$ (fileserve serve DIR --uds .*)$", document, re.MULTILINE)
    (path,) = re.findall(r"`server unix:(\S+);`", document)
    assert f"--uds {path} " in command
    uds = tmp_path / "socket"
    words = shlex.split(command.replace("DIR", str(tmp_path)).replace(path, str(uds)))
    process = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.DEVNULL)
    try:
        with nginx("fileserve.conf", f"unix:{uds}") as proxy:
            curl = [tool("curl"), "-sSf", "--retry", "20", proxy.url + "/check-proxy/request/"]
            told = json.loads(subprocess.run(curl, stdout=subprocess.PIPE, check=True).stdout)
            assert told["client"] == "127.0.0.1"
    finally:
        stop(process)


def test_a_gibibyte_is_uploaded_without_being_stored_on_the_way(tmp_path: Path) -> None:
    root, zeros, token = tmp_path / "root", tmp_path / "zeros", "t0ken-of-sixteen-characters"
    root.mkdir()
    with zeros.open("wb") as file:
        file.truncate(GIB)
    options = ("--trusted-proxies", "127.0.0.1", "--upload", "--keep-free", "0", "--token", token)
    with serving(root, *options) as server, nginx("fileserve.conf", server.url) as proxy:
        curl = [tool("curl"), "-sSf", "-H", f"Authorization: Bearer {token}", "-T"]
        subprocess.run([*curl, str(zeros), proxy.url + "/upload/"], check=True)
        with zeros.open("rb") as file:  # of no known length: in chunks
            subprocess.run([*curl, "-", proxy.url + "/upload/chunked"], check=True, stdin=file)
        assert proxy.spooled() == []
    for name in ("zeros", "chunked"):
        with (root / name).open("rb") as stored:
            assert is_content_of(zeros, stored)
    for path in (zeros, *root.iterdir()):
        path.unlink()


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


@pytest.mark.parametrize("configuration", ["fileserve.conf", "fileserve-accel.conf", "fileserve-cache.conf"])
@pytest.mark.parametrize("path", ["/healthz", "/download/file", "/check-proxy/request/"])
def test_a_client_of_http_1_0_needs_no_host(configuration: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with serving(tmp_path, *BEHIND) as server, nginx(configuration, server.url) as proxy:
        address = proxy.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((address[0], int(address[2])), timeout=20) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert answer.split(b" ")[1] == b"200", answer


def test_the_operator_s_token_stands_in_no_log(root: Path, tmp_path: Path) -> None:
    token = "the-operators-token"
    with (
        serving(root, "--trusted-proxies", "127.0.0.1", "--operator-token", token) as server,
        nginx("fileserve.conf", server.url) as proxy,
    ):
        jar = ["-b", str(tmp_path / "jar"), "-c", str(tmp_path / "jar")]
        subprocess.run([tool("curl"), "-sSL", *jar, f"{proxy.url}/live?token={token}"], check=True, capture_output=True)
        slash = [tool("curl"), "-sS", "-o", os.devnull, f"{proxy.url}/live/?token={token}"]
        subprocess.run(slash, check=True, capture_output=True)
        watching = [tool("curl"), "-sS", "-I", "-w", "%{http_code}", "-o", os.devnull, *jar, f"{proxy.url}/events/logs"]
        assert subprocess.run(watching, check=True, capture_output=True).stdout == b"200"
        logs = proxy.access_log, proxy.error_log
    assert "HEAD /events/logs" in logs[0]
    assert token not in "".join(logs)


@pytest.mark.parametrize("configuration", ["fileserve.conf", "fileserve-accel.conf", "fileserve-cache.conf"])
def test_the_operator_s_token_stands_in_no_log_while_no_server_answers(configuration: str) -> None:
    token, nobody = "the-operators-token", f"http://127.0.0.1:{free_port()}"
    with nginx(configuration, nobody) as proxy:
        for address in (f"/live?token={token}", f"/live/?token={token}", "/healthz"):
            curl = [tool("curl"), "-sS", "-w", "%{http_code}", "-o", os.devnull, proxy.url + address]
            assert subprocess.run(curl, check=True, capture_output=True).stdout == b"502"
        logs = {path.name: path.read_text() for path in proxy.folder.glob("*.log")}
    assert "GET /healthz" in logs["error.log"], "other failures are told"
    assert token not in "".join(logs.values())


def _head(url: str, *options: str) -> dict[str, str]:
    command = [tool("curl"), "-sS", "-D", "-", "-o", os.devnull, *options, url]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    fields = (line.partition(": ") for line in lines[1:] if line)
    return {name.lower(): value for name, _, value in fields}


def test_with_its_second_block_uncommented_it_speaks_https_and_http_2(root: Path, tmp_path: Path) -> None:
    shipped = (CONFIGURATIONS / "fileserve.conf").read_text()
    block = shipped[shipped.index("#server {") :]
    lines = [line.removeprefix("#") for line in block.splitlines()]
    port, pem = free_port(), certificate(tmp_path)
    changes = {
        block: "\n".join(lines),
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/certs/files.example.org.pem": str(pem),
        "/etc/ssl/private/files.example.org.key": str(pem),
    }
    url = f"https://127.0.0.1:{port}"
    with (
        serving(root, "--trusted-proxies", "127.0.0.1") as server,
        nginx("fileserve.conf", server.url, changes=changes),
    ):
        curl = [tool("curl"), "-sSf", "--cacert", str(pem)]
        for version in ("--http1.1", "--http2"):
            arrival = subprocess.run([*curl, version, url + "/check-proxy/request/"], check=True, capture_output=True)
            told = json.loads(arrival.stdout)
            assert (told["scheme"], told["host"]) == ("https", f"127.0.0.1:{port}")
        head = _head(url + "/download/sparse", *curl[2:], "--http2", "-r", "0-9")
        assert head["strict-transport-security"] == "max-age=31536000"
        assert head["content-range"] == f"bytes 0-9/{3 * GIB}"
