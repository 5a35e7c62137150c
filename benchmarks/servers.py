"""Peers as running servers: started, waited for, asked once, and stopped by their process id."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks import client, cost, machine, network
from benchmarks.client import Address
from benchmarks.peers import Peer, Place, environment

START_S = 30
STOP_S = 10


class Broken(Exception):
    """A server did not start, or ended; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """A peer that runs."""

    peer: Peer
    pid: int
    port: int

    @property
    def name(self) -> str:
        """The peer's name in tables."""
        return self.peer.name

    @property
    def address(self) -> Address:
        """Where it listens."""
        return ("127.0.0.1", self.port)

    def request(self, path: Path, span: tuple[int, int] | None = None) -> bytes:
        """Return a GET of the file *path* at the top of the served folder, or of a *span* of it."""
        return client.request(self.peer.prefix + path.name, span)

    def url(self, path: Path) -> str:
        """Return the URL of the file *path*."""
        return f"http://127.0.0.1:{self.port}{self.peer.prefix}{path.name}"


class Start(Protocol):
    """Starts peers, and returns those that can run here."""

    def __call__(self, *peers: Peer) -> list[Server]: ...


@contextmanager
def running(peer: Peer, root: Path) -> Iterator[Server]:
    """Run *peer* over *root* for the length of the block.

    Raises:
        Broken: it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        place = Place(root, network.free_port(), Path(folder))
        log = place.folder / "log"
        process = _launch(peer.command(place), place, log)
        try:
            _wait_until_it_answers(process, place, log)
            yield Server(peer, process.pid, place.port)
        finally:
            _stop(process)


def _launch(command: list[str], place: Place, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output, machine.pinned(machine.SERVER):
        return subprocess.Popen(command, stdout=output, stderr=output, cwd=place.folder, env=environment(place.root))


def _wait_until_it_answers(process: subprocess.Popen[bytes], place: Place, log: Path) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", place.port)).close()
            return
        time.sleep(0.02)
    raise Broken(log.read_text())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started: kindly, and after some seconds by force."""
    children = [psutil.Process(pid) for pid in cost.processes(process.pid)[1:]] if process.poll() is None else []
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
