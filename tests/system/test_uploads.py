"""Uploads with a real curl, real kills and a really full disk."""

import hashlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.clients import head, run_client
from tests.system.forwarding import RESET_ON_CLOSE
from tests.system.samples import MIB, Sample, digest, make_sample
from tests.system.uploading import KILLS, OPTIONS, begin_request, left_in, moments_of, small_disk
from tests.tools import Running, running, serving, tool, wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

CURL = ("curl", "-sS", "-f", "-T")
TOKEN = "t0ken-of-sixteen-characters"


WAYS = {
    "with_a_length": (),
    "without_expecting_100": ("-H", "Expect:"),
    "in_chunks": ("-H", "Transfer-Encoding: chunked"),
    "slowly": ("--limit-rate", "20M"),
    "over_http_1_0": ("-0",),
}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_curl_stores_a_file_in_every_way(workers: str, root: Path, source: Sample, tmp_path: Path) -> None:
    with serving(root, *OPTIONS, "--workers", workers) as server:
        for way, options in WAYS.items():
            for _ in ("created", "replaced"):
                url = f"{server.url}/upload/{way}"
                ended = run_client(*CURL, str(source.path), *options, url, folder=tmp_path)
                assert ended.returncode == 0, ended.stderr
                assert digest(root / way) == source.digest, way
        assert left_in(root) == sorted(WAYS)


def test_curl_stores_what_is_piped_into_it(root: Path, source: Sample, tmp_path: Path) -> None:
    with serving(root, *OPTIONS) as server, source.path.open("rb") as content:
        command = [tool("curl"), "-sSf", "-T", "-", f"{server.url}/upload/piped"]
        assert subprocess.run(command, stdin=content, timeout=60, check=False).returncode == 0
    assert digest(root / "piped") == source.digest


@pytest.mark.parametrize(
    ("options", "fields", "status"),
    [
        pytest.param(("--token", TOKEN), (), "401", id="unknown_client"),
        pytest.param(("--upload-bytes", "1MiB"), (), "413", id="too_large"),
        pytest.param((), ("-H", "If-Match: *"), "412", id="precondition_that_fails"),
        pytest.param((), ("-H", "Content-Range: bytes 0-1/2"), "400", id="range"),
        pytest.param(("--keep-free", "9000TiB"), (), "507", id="no_space"),
    ],
)
def test_who_is_refused_does_not_send_gigabytes(
    options: tuple[str, ...], fields: tuple[str, ...], status: str, root: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(4 << 30)
    told = ("-w", "%{http_code} %{size_upload}\n", "-o", os.devnull, "-v")
    with serving(root, *OPTIONS, *options) as server:
        patient = ("--expect100-timeout", "20")  # by itself curl begins to send after a second
        for expects, most in ((patient, 0), (("-H", "Expect:"), 16 * MIB)):
            url = f"{server.url}/upload/x"
            ended = run_client("curl", "-sS", *told, *fields, *expects, "-T", str(large), url, folder=tmp_path)
            got, sent = ended.stdout.split()
            assert got == status, ended.stderr
            assert "100 Continue" not in ended.stderr
            assert int(sent) <= most
    assert left_in(root) == []


def test_100_is_sent_when_the_upload_will_be_taken(root: Path, source: Sample, tmp_path: Path) -> None:
    with serving(root, *OPTIONS) as server:
        ended = run_client("curl", "-sSfv", "-T", str(source.path), f"{server.url}/upload/", folder=tmp_path)
    assert "100 Continue" in ended.stderr


def test_curl_stores_the_files_of_a_form(root: Path, source: Sample, tmp_path: Path) -> None:
    small = tmp_path / 'quo"te %41.txt'
    small.write_bytes(b"small")
    with serving(root, *OPTIONS) as server:
        files = (
            "-F",
            f"a=@{source.path}",
            "-F",
            'b=@"' + str(small).replace('"', '\\"') + '"',
            "-F",
            "existing=rename",
        )
        for _ in range(2):
            ended = run_client("curl", "-sSf", *files, f"{server.url}/upload/", folder=tmp_path)
            assert ended.returncode == 0, ended.stderr
    assert left_in(root) == sorted([source.name, "source (2).bin", small.name, 'quo"te %41 (2).txt'])
    assert digest(root / source.name) == digest(root / "source (2).bin") == source.digest


def test_a_browser_stores_a_file_by_a_plain_form(root: Path, source: Sample, tmp_path: Path) -> None:
    """A page of this server alone may send one; the page of another site may not."""
    playwright = pytest.importorskip("playwright.sync_api")
    page_of = (
        '<form method="post" action="{}/upload/" enctype="multipart/form-data"><input type="file" name="f"><button>'
    )
    with (
        serving(root, *OPTIONS) as server,
        playwright.sync_playwright() as player,
        player.chromium.launch(executable_path=tool("chromium"), args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        for is_own in (False, True):
            page.goto(f"{server.url}/healthz" if is_own else "about:blank")
            page.set_content(page_of.format(server.url))
            page.set_input_files("input", source.path)
            with page.expect_navigation() as navigation:
                page.click("button")
            assert navigation.value.status == (200 if is_own else 403)
            assert left_in(root) == ([source.name] if is_own else [])
        assert page.url == f"{server.url}/browse/"
    assert digest(root / source.name) == source.digest


def send_part(server: Running, path: str, length: int, part: bytes) -> socket.socket:
    """Begin a PUT of *length* bytes, send *part* of it, and return the connection."""
    return begin_request(server, "PUT", f"/upload/{path}", {"Content-Length": str(length)}, part)


@pytest.mark.parametrize("how", ["closes", "resets", "half_closes"])
def test_a_client_that_leaves_leaves_nothing(how: str, root: Path) -> None:
    (root / "old").write_bytes(b"old")
    with serving(root, *OPTIONS) as server:
        head(server.url + "/")  # until the first answer, the server is still starting
        before = server.descriptors()
        for path in ("old", "new"):
            with send_part(server, path, 10 * MIB, bytes(3 * MIB)) as connection:
                if how == "half_closes":
                    connection.shutdown(socket.SHUT_WR)
                    assert connection.recv(1000) == b""
                if how == "resets":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        assert server.wait_for_descriptors(before) <= before
        assert left_in(root) == ["old"]
        assert (root / "old").read_bytes() == b"old"


@pytest.mark.parametrize("pieces", [1, 100], ids=["sends_no_more", "sends_a_byte_now_and_then"])
def test_a_client_that_sends_too_little_is_told_and_leaves_nothing(pieces: int, root: Path) -> None:
    with serving(root, *OPTIONS, "--stall-timeout", "1") as server:
        with send_part(server, "new", 10 * MIB, bytes(MIB)) as connection:
            connection.settimeout(0.2)
            told = b""
            for _ in range(pieces):
                with suppress(TimeoutError):
                    told = connection.recv(1000)
                    break
                connection.sendall(b"x")
            connection.settimeout(20)
            assert (told or connection.recv(1000)).startswith(b"HTTP/1.1 408")
        assert left_in(root) == []


def test_an_end_that_cuts_uploads_short_is_no_error(root: Path) -> None:
    with serving(root, *OPTIONS, "--interrupt-timeout", "0.5") as server:
        expecting = {"Content-Length": str(10 * MIB), "Expect": "100-continue"}
        with begin_request(server, "PUT", "/upload/new", expecting) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            connection.sendall(bytes(MIB))
            server.process.send_signal(signal.SIGINT)
            server.process.wait(20)
            with suppress(ConnectionResetError):
                assert connection.recv(1000) == b""
        log = server.log.read_text()
    assert "Traceback" not in log
    assert "without starting response" not in log
    assert left_in(root) == []


@pytest.mark.parametrize("creates", [True, False], ids=["create_only", "replace"])
def test_of_uploads_of_one_name_at_once_over_two_workers_the_last_or_only_one_is_whole(
    creates: bool, root: Path, tmp_path: Path
) -> None:
    samples = [make_sample(tmp_path / f"source-{number}", 2 * MIB) for number in range(8)]
    fields = ("-H", "If-None-Match: *") if creates else ()

    def send(sample: Sample) -> str:
        told = ("-w", "%{http_code}", "-o", os.devnull)
        url = f"{server.url}/upload/one"
        return run_client("curl", "-sS", *told, *fields, "-T", str(sample.path), url, folder=tmp_path).stdout

    with serving(root, *OPTIONS, "--workers", "2") as server, ThreadPoolExecutor(8) as clients:
        statuses = sorted(clients.map(send, samples))
    assert statuses == (["201"] + ["412"] * 7 if creates else ["201"] + ["204"] * 7)
    assert digest(root / "one") in {sample.digest for sample in samples}
    assert left_in(root) == ["one"]


OLD, NEW = b"o" * MIB, b"n" * (3 * MIB)


def put_until_killed(server: Running, path: str) -> bool:
    """Send a PUT; return whether it was answered that it is done."""
    address = server.url.rpartition("//")[2]
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("PUT", f"/upload/{path}", NEW)
        return connection.getresponse().status in (201, 204)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_answered(connection: socket.socket) -> bool:
    """Tell whether a success had been sent before the server ended."""
    with connection, suppress(OSError):
        return connection.recv(100).startswith((b"HTTP/1.1 201", b"HTTP/1.1 204"))
    return False


def test_a_server_killed_at_any_moment_has_stored_the_whole_or_nothing(root: Path) -> None:
    """Before the last byte was sent, nothing is stored; behind it, the whole or nothing; what was answered, is.

    What is left is gone after the next start.
    """
    for sent, pause_s in moments_of(len(NEW), KILLS, seed=20):
        (root / "old").write_bytes(OLD)
        (root / "new").unlink(missing_ok=True)
        with serving(root, *OPTIONS) as server:
            connections = {path: send_part(server, path, len(NEW), NEW[:sent]) for path in ("old", "new")}
            time.sleep(pause_s)
            server.process.kill()
            server.process.wait(20)
            done = {path for path, connection in connections.items() if is_answered(connection)}
        old, new = (root / "old").read_bytes(), (root / "new").read_bytes() if (root / "new").exists() else None
        if sent < len(NEW):
            assert (old, new, done) == (OLD, None, set()), sent
        assert old == NEW or (old == OLD and "old" not in done), (sent, pause_s)
        assert new == NEW or (new is None and "new" not in done), (sent, pause_s)
    with serving(root, *OPTIONS):
        assert wait_until(lambda: set(left_in(root)) <= {"old", "new"}, timeout_s=10)


@pytest.mark.parametrize(
    ("call", "is_hidden_name_left"),
    [("writev", False), ("fsync", False), ("link", False), ("replace", True)],
)
def test_a_server_killed_in_a_step_of_a_replacement_leaves_the_old_file(
    call: str, is_hidden_name_left: bool, root: Path
) -> None:
    (root / "old").write_bytes(OLD)
    ours = "b'.fileserve-put-' in str(a).encode()" if call == "replace" else "True"  # other files are replaced, too
    killed = f"os.{call} = lambda *a, **k: os.kill(os.getpid(), 9) if {ours} else real(*a, **k)"
    script = f"import os; real = os.{call}; {killed}; from fileserve.cli import main; main()"
    with running(sys.executable, "-c", script, "serve", str(root), "--port", "0", *OPTIONS) as server:
        assert not put_until_killed(server, "old")
        server.process.wait(20)
    assert (root / "old").read_bytes() == OLD
    assert any(name.startswith(".fileserve-put-") for name in left_in(root)) == is_hidden_name_left
    with serving(root, *OPTIONS):
        assert wait_until(lambda: left_in(root) == ["old"], timeout_s=10)


def test_a_start_leaves_alone_what_another_process_still_writes(root: Path) -> None:
    """On a file system without unnamed files; an old process drains while a new one starts."""
    # A flag that nobody knows: the directory itself is opened for writing, and refused, as by an old kernel.
    script = "import os; os.O_TMPFILE = 1 << 30; from fileserve.cli import main; main()"
    with (
        running(sys.executable, "-c", script, "serve", str(root), "--port", "0", *OPTIONS) as old,
        send_part(old, "new", 2 * MIB, bytes(MIB)) as connection,
    ):
        assert wait_until(lambda: len(left_in(root)) == 1, timeout_s=10)
        (root / (".fileserve-put-" + "0" * 32)).write_bytes(b"left")
        with serving(root, *OPTIONS):
            assert wait_until(lambda: len(left_in(root)) == 1, timeout_s=10)
            connection.sendall(bytes(MIB))
            assert connection.recv(1000).startswith(b"HTTP/1.1 201")
    assert (root / "new").stat().st_size == 2 * MIB


@pytest.mark.parametrize(
    "fields", [pytest.param((), id="length_known"), pytest.param(("-H", "Transfer-Encoding: chunked"), id="in_chunks")]
)
def test_a_full_disk_is_507_and_leaves_nothing(fields: tuple[str, ...], tmp_path: Path) -> None:
    sources = [make_sample(tmp_path / f"source-{size}", size * MIB) for size in (20, 5)]
    told = ("-w", "%{http_code}", "-o", os.devnull)
    with small_disk("16M") as disk, serving(disk, *OPTIONS) as server:
        for source, status in zip(sources, ("507", "201"), strict=True):
            url = f"{server.url}/upload/"
            ended = run_client("curl", "-sS", *told, *fields, "-T", str(source.path), url, folder=tmp_path)
            assert ended.stdout == status, ended.stderr
            assert wait_until(lambda: shutil.disk_usage(disk).free >= 10 * MIB, timeout_s=20)
        assert left_in(disk) == ["source-5"]
        assert digest(disk / "source-5") == sources[1].digest


def test_other_clients_are_answered_while_uploads_are_flushed(root: Path) -> None:
    """Four uploads fill the threads for changes; who reads does not wait for them."""
    script = "import os, time; os.fsync = lambda fd: time.sleep(0.5); from fileserve.cli import main; main()"
    (root / "file").write_bytes(b"content")
    with running(sys.executable, "-c", script, "serve", str(root), "--port", "0", *OPTIONS) as server:
        uploads = [threading.Thread(target=put_until_killed, args=(server, f"new-{number}")) for number in range(8)]
        for upload in uploads:
            upload.start()
        connection = http.client.HTTPConnection(server.url.rpartition("//")[2], timeout=20)
        answers = 0
        while any(upload.is_alive() for upload in uploads):
            connection.request("GET", "/api/files/")
            answers += connection.getresponse().read().startswith(b"{")
        connection.close()
        assert answers > 20
        assert hashlib.sha256((root / "new-0").read_bytes()).digest() == hashlib.sha256(NEW).digest()
