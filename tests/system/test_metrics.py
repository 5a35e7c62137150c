"""/metrics compared with what was really done: by one worker and by two, over renewals, crashes and restarts."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.harness import Client
from tests.tools import Running, running, stop, tool, wait_until

pytestmark = pytest.mark.system

MIB = 1 << 20
LARGE = 3 * MIB + 17
ENDLESS = 64 * MIB
PATIENCE_S = 20
TOKEN = "a-token-for-the-scraper"

Metrics = dict[str, float]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"0123456789")
    (root / "large").write_bytes(bytes(LARGE))
    with (root / "endless").open("wb") as file:
        file.truncate(ENDLESS)
    return root


@contextmanager
def counting(root: Path, *options: str) -> Iterator[Running]:
    """Serve *root* with counts of its own, beside those of other tests."""
    command = (sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0", *options)
    with running(*command, XDG_CACHE_HOME=str(root.parent / "cache")) as server:
        yield server


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([tool("curl"), "-sS", *arguments], capture_output=True, timeout=60)


def status_of(*arguments: str) -> int:
    return int(curl("-o", "/dev/null", "-w", "%{http_code}", *arguments).stdout)


def metrics_of(server: Running) -> Metrics:
    """Return all samples, by their names and labels as they are written."""
    text = curl(server.url + "/metrics").stdout.decode()
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def becomes(server: Running, expected: Metrics) -> None:
    """Return when the metrics are *expected*: the other workers' are a second old, and a last byte takes a moment."""
    found: Metrics = {}

    def is_so() -> bool:
        nonlocal found
        found = metrics_of(server)
        return expected.items() <= found.items()

    if not wait_until(is_so, PATIENCE_S):
        assert {name: found.get(name) for name in expected} == expected


def leave_after_some_bytes(server: Running, path: str) -> None:
    with address_of(server) as sock:
        client = Client(sock).get(path)
        assert client.head().status == 200
        client.exactly(2 * MIB)  # of which the last may not be acknowledged yet when it leaves
        client.reset()


def address_of(server: Running) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def answered(server: Running, request: bytes) -> int:
    """Return the status that the bytes of *request* are answered with."""
    with address_of(server) as sock:
        return Client(sock).send(request).head().status


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_metrics_tell_what_was_done(workers: str, root: Path) -> None:
    with counting(root, "--workers", workers, "--upload", "--resume-window", "1") as server:
        for _ in range(7):
            assert curl(server.url + "/download/small").stdout == b"0123456789"
        assert len(curl(server.url + "/download/large").stdout) == LARGE
        assert status_of("-r", "0-3", server.url + "/download/small") == 206
        assert status_of("-r", "99-", server.url + "/download/small") == 416
        assert status_of("-H", 'If-Match: "other"', server.url + "/download/small") == 412
        assert status_of(server.url + "/download/absent") == 404
        assert status_of(server.url + "/live") == 401
        assert status_of(server.url + "/archive.tar?exclude=*e*") == 200
        assert status_of("-T", str(root / "small"), server.url + "/upload/stored") == 201
        leave_after_some_bytes(server, "/download/endless")
        assert answered(server, b"nonsense\r\n\r\n") == 400
        assert answered(server, b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000 + b"\r\n\r\n") == 431
        assert answered(server, b"GET / HTTP/1.1\r\n\r\n") == 400
        tus = (
            "-X",
            "POST",
            "-H",
            "Tus-Resumable: 1.0.0",
            "-H",
            "Upload-Length: 10",
            "-H",
            "Upload-Metadata: filename YQ==",
        )
        assert status_of(*tus, server.url + "/uploads") == 201
        assert b"complete" not in curl(server.url + "/checksum/large").stdout
        subscriber = subprocess.Popen([tool("curl"), "-sN", server.url + "/events/tail/small"], stdout=subprocess.PIPE)
        assert subscriber.stdout is not None
        assert subscriber.stdout.readline().startswith(b"retry")
        becomes(
            server,
            {
                "fileserve_workers": int(workers),
                "fileserve_transfers_finished_total end=taken route=download": 9,
                "fileserve_transfers_finished_total end=left route=download": 1,
                "fileserve_transfers_finished_total end=stalled route=download": 0,
                "fileserve_transfers_finished_total end=taken route=archive": 1,
                "fileserve_transfers_active route=download": 0,
                "fileserve_transfer_duration_seconds_count route=download": 10,
                "fileserve_logical_transfers_finished_total outcome=aborted": 1,
                "fileserve_logical_transfers_active": 0,
                "fileserve_responses_total status=206": 1,
                "fileserve_responses_total status=416": 1,
                "fileserve_responses_total status=412": 1,
                "fileserve_responses_total status=404": 1,
                "fileserve_responses_total status=401": 1,
                "fileserve_responses_total status=201": 2,
                "fileserve_refusals_total reason=malformed status=400": 1,
                "fileserve_refusals_total reason=bad_host status=400": 1,
                "fileserve_refusals_total reason=large_head status=431": 1,
                "fileserve_refusals_total reason=slow_head status=408": 0,
                "fileserve_stalled_connections_total": 0,
                "fileserve_upload_received_bytes_total": 10,
                "fileserve_uploads_stored_total": 1,
                "fileserve_upload_sessions": 1,
                "fileserve_uploads_active": 0,
                "fileserve_index_hashed_files_total": 1,
                "fileserve_index_hashed_bytes_total": LARGE,
                "fileserve_index_waiting_files": 0,
                "fileserve_event_streams": 1,
                "fileserve_connections": 2,  # the subscriber's, and the one that asks
            },
        )
        subscriber.kill()
        subscriber.communicate()
        becomes(server, {"fileserve_event_streams": 0, "fileserve_connections": 1})
        found = metrics_of(server)
        taken = found["fileserve_transfer_bytes_total route=download"] - 7 * 10 - 4 - LARGE
        assert MIB <= taken < ENDLESS
        begun = sum(value for name, value in found.items() if name.startswith("fileserve_responses_total"))
        assert found["fileserve_first_byte_seconds_count"] == begun
        assert sum(found[f"fileserve_open_descriptors worker={worker}"] for worker in range(int(workers))) > 10


def test_a_download_under_way_is_told_as_it_goes(root: Path) -> None:
    with counting(root) as server, address_of(server) as sock:
        client = Client(sock).get("/download/endless")
        assert client.head().status == 200
        client.exactly(8 * MIB)
        becomes(server, {"fileserve_transfers_active route=download": 1, "fileserve_logical_transfers_active": 1})
        name = "fileserve_transfer_bytes_total route=download"
        assert wait_until(lambda: 8 * MIB <= metrics_of(server)[name] < ENDLESS, PATIENCE_S)
        client.exactly(ENDLESS - 8 * MIB)
        becomes(server, {name: ENDLESS, "fileserve_transfers_finished_total end=taken route=download": 1})


def workers_of(server: Running) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


@pytest.mark.parametrize("way", [signal.SIGHUP, signal.SIGKILL], ids=["renewed", "killed"])
def test_no_counter_falls_when_workers_are_replaced(way: signal.Signals, root: Path) -> None:
    done = "fileserve_transfers_finished_total end=taken route=download"
    with counting(root, "--workers", "2") as server:
        for _ in range(6):
            curl(server.url + "/download/small")
        becomes(server, {done: 6, "fileserve_workers": 2})
        before, old = metrics_of(server), workers_of(server)
        if way is signal.SIGHUP:
            server.process.send_signal(way)
        else:
            for worker in old:
                worker.send_signal(way)
        assert wait_until(lambda: not any(worker.is_running() for worker in old), PATIENCE_S)
        assert wait_until(lambda: len(workers_of(server)) == 2, PATIENCE_S)
        becomes(server, {done: 6, "fileserve_workers": 2, "fileserve_connections": 1})
        after = metrics_of(server)
        fallen = {name for name, value in before.items() if "_total" in name and after[name] < value}
        assert fallen == set()
        curl(server.url + "/download/small")
        becomes(server, {done: 7})


def test_counters_go_on_after_a_restart(root: Path) -> None:
    done = "fileserve_transfers_finished_total end=taken route=download"
    with counting(root) as server:
        curl(server.url + "/download/small")
    with counting(root) as server:
        curl(server.url + "/download/small")
        becomes(server, {done: 2, "fileserve_workers": 1})


def test_a_client_that_takes_nothing_is_counted_as_stalled(root: Path) -> None:
    with counting(root, "--stall-timeout", "1") as server, address_of(server) as sock:
        Client(sock).get("/download/endless").head()
        becomes(
            server,
            {
                "fileserve_stalled_connections_total": 1,
                "fileserve_transfers_finished_total end=stalled route=download": 1,
            },
        )


def test_what_limits_refuse_is_counted(root: Path) -> None:
    limits = ("--transfers-per-client", "1", "--connections-per-client", "3", "--head-timeout", "0.5")
    with counting(root, *limits) as server, address_of(server) as one, address_of(server) as two:
        assert Client(one).get("/download/endless").head().status == 200
        assert Client(two).get("/download/small").head().status == 429
        two.close()
        with address_of(server) as slow:
            slow.sendall(b"GET / HT")
            assert Client(slow).head().status == 408
        with address_of(server), address_of(server):
            assert answered(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == 429
        one.close()
        becomes(
            server,
            {
                "fileserve_refusals_total reason=transfers status=429": 1,
                "fileserve_refusals_total reason=connections status=429": 1,
                "fileserve_refusals_total reason=slow_head status=408": 1,
            },
        )


def test_openmetrics_is_spoken_to_whoever_asks_for_it(root: Path) -> None:
    with counting(root) as server:
        answer = curl("-i", "-H", "Accept: application/openmetrics-text; version=1.0.0", server.url + "/metrics").stdout
        assert b"content-type: application/openmetrics-text; version=1.0.0" in answer
        assert answer.endswith(b"# EOF\n")
        head = curl("-I", server.url + "/metrics").stdout
        assert head.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("token", "expected"), [("", 403), (TOKEN, 200)])
def test_a_unix_socket_needs_the_token(token: str, expected: int, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    command = (sys.executable, "-m", "fileserve", "serve", str(root), "--uds", str(path), "--metrics-token", token)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    asked = ("--unix-socket", str(path), "-H", f"Authorization: Bearer {token}", "http://localhost/metrics")
    try:
        assert wait_until(lambda: path.exists() and status_of(*asked) != 0, PATIENCE_S)
        assert status_of(*asked) == expected
    finally:
        stop(process)


def test_labels_hold_nothing_that_a_client_chooses(root: Path) -> None:
    name = "a-name-of-a-file"
    (root / name).write_bytes(b"x")
    with counting(root) as server:
        for path in (f"/download/{name}", f"/{name}", f"/download/{name}-absent", f"/nowhere/{name}?{name}={name}"):
            status_of("-A", name, "-X", "GET", server.url + path)
        status_of("-X", name.upper(), server.url + "/download/small")
        text = curl(server.url + "/metrics").stdout.decode()
        assert name not in text.lower()
        assert "127.0.0.1" not in text
