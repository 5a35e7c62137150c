"""How servers end, renew themselves and take over from each other, with real processes and downloads under way."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.server.certificates import certificate
from tests.server.downloading import Download
from tests.servicemanager import Service
from tests.tools import Running, clean_environment, running, serving, stop, tool, wait_until


def get(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    with closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def refuses(url: str) -> bool:
    try:
        get(url, "/download/small")
    except ConnectionError:
        return True
    return False


def workers(server: Running) -> set[int]:
    """Return the process ids of the workers, when the first of them have started."""
    assert wait_until(lambda: "2 workers accept connections" in server.log.read_text(), timeout_s=30)
    return {child.pid for child in psutil.Process(server.process.pid).children()}


@pytest.mark.parametrize("count", ["1", "2"])
def test_sigterm_lets_a_download_finish_and_takes_no_new_connection(root: Path, digest: str, count: str) -> None:
    with serving(root, "--workers", count) as server:
        download = Download(urlsplit(server.url).netloc)
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: refuses(server.url), timeout_s=10)
        assert server.process.poll() is None
        assert download.finish() == digest
        server.process.wait(20)
        assert "ending: 3600 s for" in server.log.read_text()
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_second_signal_ends_the_server_now(root: Path, count: str) -> None:
    with serving(root, "--workers", count) as server:
        download = Download(urlsplit(server.url).netloc)
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: refuses(server.url), timeout_s=10)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            download.finish()
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("count", ["1", "2"])
def test_what_is_left_after_the_timeout_is_broken_off(root: Path, count: str) -> None:
    with serving(root, "--workers", count, "--interrupt-timeout", "0.3") as server:
        download = Download(urlsplit(server.url).netloc)
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
        assert "Ctrl-C again ends them now" in server.log.read_text()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            download.finish()


def test_during_the_notice_connections_are_taken_and_closed_and_readyz_says_no(root: Path) -> None:
    with serving(root, "--drain-notice", "30") as server:
        assert get(server.url, "/readyz") == 200
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: get(server.url, "/readyz") == 503, timeout_s=10)
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
        with closing(connection):
            connection.request("GET", "/download/small")
            response = connection.getresponse()
            assert (response.read(), response.getheader("connection")) == (b"small", "close")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)


def test_sighup_renews_the_workers_and_loses_no_download(root: Path, digest: str) -> None:
    with serving(root, "--workers", "2") as server:
        before = workers(server)
        download = Download(urlsplit(server.url).netloc)
        server.process.send_signal(signal.SIGHUP)
        while "all 2 workers are renewed" not in server.log.read_text():
            assert get(server.url, "/download/small") == 200
        assert len(workers(server) - before) == 2
        assert wait_until(lambda: len(workers(server) & before) == 1, timeout_s=10)  # the one that still sends
        assert download.finish() == digest
        assert wait_until(lambda: not workers(server) & before, timeout_s=10)


def test_a_renewed_server_can_be_ended_while_an_old_worker_drains(root: Path, digest: str) -> None:
    with serving(root, "--workers", "2") as server:
        download = Download(urlsplit(server.url).netloc)
        server.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "all 2 workers are renewed" in server.log.read_text(), timeout_s=30)
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: len(workers(server)) == 1, timeout_s=10)
        assert download.finish() == digest
        server.process.wait(20)


def test_a_worker_that_is_killed_is_replaced(root: Path) -> None:
    with serving(root, "--workers", "2") as server:
        victim = min(workers(server))
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: len(workers(server) - {victim}) == 2, timeout_s=20)
        assert get(server.url, "/download/small") == 200


def test_ctrl_c_of_a_terminal_reaches_the_supervisor_alone(root: Path) -> None:
    """It passes it on, once; a worker that had it twice would end at once."""
    with serving(root, "--workers", "2") as server:
        assert all(os.getsid(pid) == pid for pid in workers(server))


def test_workers_do_not_outlive_a_supervisor_that_is_killed(root: Path) -> None:
    with serving(root, "--workers", "2") as server:
        left = [psutil.Process(pid) for pid in workers(server)]
        server.process.kill()
        assert not psutil.wait_procs(left, timeout=20)[1]


def test_a_second_server_takes_over_an_inherited_socket(root: Path, digest: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with inheriting(root, listener) as old:
            download = Download(urlsplit(url).netloc)
            with inheriting(root, listener):
                old.send_signal(signal.SIGTERM)
                for _ in range(20):
                    assert get(url, "/download/small") == 200
                assert old.poll() is None
                assert download.finish() == digest
                old.wait(20)
                assert get(url, "/download/small") == 200


def test_a_second_server_takes_over_a_port_that_is_shared(root: Path, digest: str) -> None:
    with serving(root, "--reuse-port") as old:
        download = Download(urlsplit(old.url).netloc)
        port = urlsplit(old.url).port
        assert port is not None
        with serving(root, "--reuse-port", port=port) as new:
            old.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not_listening(old), timeout_s=10)
            assert get(new.url, "/download/small") == 200
            assert download.finish() == digest
            old.process.wait(20)


def test_sockets_of_systemd_are_used(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        serve = [sys.executable, "-m", "fileserve", "serve", str(root)]
        with child(["bash", "-c", f"exec 3<&{listener.fileno()}; {command}", "bash", *serve], (listener.fileno(),)):
            assert get(url, "/download/small") == 200


def test_a_unix_socket_is_served_and_replaced_when_nobody_listens_on_it(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    curl = [tool("curl"), "-sf", "--unix-socket", str(path), "http://localhost/download/small"]
    with child([sys.executable, "-m", "fileserve", "serve", str(root), "--uds", str(path)], ()):
        assert subprocess.run(curl, capture_output=True, check=False, timeout=20).stdout == b"small"


def test_tls_is_served_in_chunks(root: Path, tmp_path: Path, digest: str) -> None:
    pem = certificate(tmp_path)
    with serving(root, "--ssl-certfile", str(pem)) as server:
        curl = [tool("curl"), "-sf", "--cacert", str(pem), server.url + "/download/large"]
        content = subprocess.run(curl, capture_output=True, check=True).stdout
        assert sha256(content).hexdigest() == digest


def test_sigterm_over_tls_lets_a_download_finish_and_ends_silent_clients(
    root: Path, tmp_path: Path, digest: str
) -> None:
    pem = certificate(tmp_path)
    with serving(root, "--ssl-certfile", str(pem)) as server:
        address = urlsplit(server.url)
        assert address.port is not None
        with socket.create_connection(("127.0.0.1", address.port), timeout=20) as silent:
            download = Download(address.netloc, ssl.create_default_context(cafile=pem))
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not_listening(server), timeout_s=10)
            assert download.finish() == digest
            assert server.process.wait(20) == 0
            assert silent.recv(1) == b""
        assert "Traceback" not in server.log.read_text()


def test_a_client_that_is_shaking_hands_when_the_drain_begins_is_served(root: Path, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    patient = (
        "from fileserve.server import handshakes; handshakes.MOMENT_S = 60; from fileserve.cli import main; main()"
    )
    command = [sys.executable, "-c", patient, "serve", str(root), "--port", "0", "--ssl-certfile", str(pem)]
    with running(*command, "--head-timeout", "60") as server:
        address = urlsplit(server.url)
        assert address.port is not None
        with socket.create_connection(("127.0.0.1", address.port), timeout=20) as sock:
            accepted: Callable[[], bool] = lambda: psutil.CONN_ESTABLISHED in states(server)  # noqa: E731
            assert wait_until(accepted, timeout_s=10)
            server.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not_listening(server), timeout_s=10)
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(1)
            with ssl.create_default_context(cafile=pem).wrap_socket(sock, server_hostname="127.0.0.1") as shaken:
                shaken.sendall(b"GET /download/small HTTP/1.1\r\nHost: test\r\n\r\n")
                assert b" 200 " in shaken.recv(4096)
        assert server.process.wait(20) == 0


def test_sighup_renews_the_certificate(root: Path, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with serving(root, "--workers", "2", "--ssl-certfile", str(pem)) as server:
        before = workers(server)
        address = urlsplit(server.url)
        assert address.port is not None
        first = ssl.get_server_certificate(("127.0.0.1", address.port), timeout=20)
        certificate(tmp_path)
        server.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "all 2 workers are renewed" in server.log.read_text(), timeout_s=30)
        assert wait_until(lambda: not workers(server) & before, timeout_s=10)
        second = ssl.get_server_certificate(("127.0.0.1", address.port), timeout=20)
        assert second != first
        assert second.strip() in pem.read_text()


@contextmanager
def inheriting(root: Path, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that inherits *listener*, for the length of the block."""
    command = [sys.executable, "-m", "fileserve", "serve", str(root), "--fd", str(listener.fileno())]
    with child(command, (listener.fileno(),)) as process:
        yield process


@contextmanager
def child(command: list[str], fds: tuple[int, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* with *fds* for the length of the block, which begins when it has said that it is ready."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"{folder}/notify")
        variables = clean_environment() | {"NOTIFY_SOCKET": f"{folder}/notify"}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, pass_fds=fds, env=variables)
        try:
            Service(process, ear).hears("READY", "1")
            yield process
        finally:
            stop(process)


def not_listening(server: Running) -> bool:
    return psutil.CONN_LISTEN not in states(server)


def states(server: Running) -> set[str]:
    """Return the states of the connections that *server* has."""
    return {connection.status for connection in psutil.Process(server.process.pid).net_connections("tcp")}
