"""What a worker and its supervisor do beyond ending: silent TLS clients, ends at awkward moments."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from fileserve import Settings
from fileserve.server.configuration import configure
from fileserve.server.leash import Leash
from fileserve.server.worker import LOST_S, Drain, Worker
from tests.server.certificates import certificate
from tests.tools import clean_environment, serving, tool, wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def test_a_client_that_never_shakes_hands_is_cut(root: Path, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with serving(root, "--ssl-certfile", str(pem), "--head-timeout", "0.5") as server:
        address = urlsplit(server.url)
        assert address.port is not None
        with socket.create_connection(("127.0.0.1", address.port), timeout=20) as silent:
            assert silent.recv(1) == b""


def test_silent_clients_of_one_address_leave_descriptors_for_others(root: Path, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    (root / "small").write_bytes(b"small")
    with serving(root, "--ssl-certfile", str(pem), "--connections-per-client", "3") as server, ExitStack() as stack:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        address = urlsplit(server.url)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", address.port), timeout=20))
        curl = [tool("curl"), "-sf", "--interface", "127.0.0.2", "--max-time", "5", "--cacert", str(pem)]
        done = subprocess.run([*curl, server.url + "/download/small"], capture_output=True, check=False)
        assert done.stdout == b"small"


def test_sigterm_in_the_pause_before_a_replacement_ends_without_a_traceback(root: Path) -> None:
    with serving(root, "--workers", "2") as server:
        assert wait_until(lambda: "2 workers accept connections" in server.log.read_text(), timeout_s=30)
        os.kill(psutil.Process(server.process.pid).children()[0].pid, signal.SIGKILL)
        assert wait_until(lambda: "starting another" in server.log.read_text(), timeout_s=10)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()


def test_a_signal_before_the_application_is_loaded_ends_a_worker_in_peace(root: Path) -> None:
    """It waits for the loop, which does not turn before."""
    script = (
        "import os, signal, uvicorn\n"
        "load = uvicorn.Config.load\n"
        "uvicorn.Config.load = lambda config: (os.kill(os.getpid(), signal.SIGTERM), load(config))\n"
        "from fileserve.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "serve", str(root), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


async def test_a_sigterm_that_comes_with_the_leash_s_end_is_the_first_and_the_next_one_the_second(root: Path) -> None:
    """A restart directly behind a reload: the supervisor has told the worker to drain, and is gone."""
    supervisors, end = socket.socketpair()
    with end:
        worker = Worker(configure(Settings(root=root)), Drain(30, 30, 30), Leash(end, None))
        worker.config.load()
        with worker.capture_signals():
            supervisors.close()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(LOST_S * 3)
            assert worker.leave_at is not None
            assert not worker.force_exit
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
            assert worker.force_exit


@pytest.mark.parametrize(
    ("number", "notice_s"),
    [
        pytest.param(signal.SIGTERM, 30, id="sigterm"),
        pytest.param(signal.SIGINT, 0, id="somebody_waits"),
    ],
)
async def test_the_server_goes_on_accepting_for_as_long_as_the_notice(
    root: Path, number: signal.Signals, notice_s: float
) -> None:
    supervisors, end = socket.socketpair()
    with supervisors, end:
        worker = Worker(configure(Settings(root=root)), Drain(30, 30, 30), Leash(end, None))
        worker.config.load()
        before_s = time.monotonic()
        worker.end(number)
        assert worker.leave_at is not None
        assert before_s <= worker.leave_at - notice_s <= time.monotonic()
        worker.leave_at = time.monotonic() + 30
        assert not await worker.on_tick(1)
        worker.leave_at = time.monotonic()
        assert await worker.on_tick(1)
