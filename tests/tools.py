"""Real programs for real tests: where they are, and a fileserve that runs as a child process."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

START_S = 30
STOP_S = 20


def tool(name: str) -> str:
    """Return the path of the program *name*; without it skip the test, or fail where ``.ci/run`` runs."""
    path = shutil.which(name)
    if path is None and os.environ.get("REQUIRE_TOOLS"):
        pytest.fail(f"{name} is not installed, and REQUIRE_TOOLS is set")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@dataclass(frozen=True)
class Running:
    """A fileserve that runs as a child process and listens on a port of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def descriptors(self) -> int:
        """Return how many descriptors the server and its workers hold."""
        server = psutil.Process(self.process.pid)
        return sum(process.num_fds() for process in (server, *server.children(recursive=True)))

    def wait_for_descriptors(self, at_most: int) -> int:
        """Return how many descriptors are held, as soon as it is *at_most* so many, or after some seconds."""
        wait_until(lambda: self.descriptors() <= at_most, timeout_s=10)
        return self.descriptors()


@contextmanager
def serving(root: Path, *options: str, port: int = 0) -> Iterator[Running]:
    """Run ``fileserve serve`` on 127.0.0.1 for the length of the block."""
    with running(sys.executable, "-m", "fileserve", "serve", str(root), "--port", str(port), *options) as server:
        yield server


@contextmanager
def running(*command: str, folder: Path | None = None, **variables: str) -> Iterator[Running]:
    """Run a program that says on which URL it serves, for the length of the block.

    It runs in *folder* (by default an empty one) with the environment *variables* added; what it says goes to ``log``,
    as it would on a terminal.
    """
    environment = clean_environment() | {"FILESERVE_LOG_FORMAT": "human"} | variables
    with tempfile.TemporaryDirectory() as empty:
        log = Path(empty, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output, cwd=folder or empty, env=environment)
        try:
            yield Running(_wait_for_url(process, log), process, log)
        finally:
            stop(process)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without fileserve's own variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FILESERVE_")}


def stop(process: subprocess.Popen[bytes]) -> None:
    """End *process* and its children: kindly, and after some seconds by force."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    by_force = threading.Timer(STOP_S, process.kill)
    by_force.start()
    process.terminate()
    process.wait()  # with a time limit it would look now and then only
    by_force.cancel()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether *condition* came true within *timeout_s*: for what only a look from outside can tell."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _wait_for_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the URL that the greeting names, when the server answers there."""

    def url() -> str | None:
        found = re.search(r" on (https?://[^\s\"]+?)/?[\s\"]", log.read_text())
        return found[1] if found else None

    assert wait_until(lambda: url() is not None or process.poll() is not None, START_S)
    address = url()
    assert address is not None, log.read_text()
    assert wait_until(lambda: _answers(address), START_S), log.read_text()
    return address


def _answers(address: str) -> bool:
    host, _, port = address.rpartition("//")[2].partition("/")[0].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=START_S).close()
    except OSError:
        return False
    return True
