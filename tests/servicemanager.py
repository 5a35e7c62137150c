"""What systemd does for a service, in small: sockets handed over, and a socket that hears how it is.

The real one tells its children apart by their process id, which is what ``LISTEN_PID`` and ``WATCHDOG_PID`` are for; a
shell that becomes the server has its own at hand.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools import clean_environment, stop

WAIT_S = 30
BECOME = """
export LISTEN_PID=$$ WATCHDOG_PID=$$
n=3; for fd in $LISTENERS; do eval "exec $n<&$fd"; n=$((n+1)); done
exec "$@"
"""


@dataclass
class Service:
    """A server that was started like a service, and what it has told."""

    process: subprocess.Popen[bytes]
    ear: socket.socket
    told: list[dict[str, str]] = field(default_factory=list)

    def hears(self, name: str, value: str = "", within_s: float = WAIT_S) -> dict[str, str]:
        """Return the first message from now on that gives *name*, with *value* in it."""
        end = time.monotonic() + within_s
        while (left_s := end - time.monotonic()) > 0:
            self.ear.settimeout(left_s)
            try:
                message = dict(line.split("=", 1) for line in self.ear.recv(4096).decode().splitlines())
            except TimeoutError:
                break
            self.told.append(message)
            if value in message.get(name, "") and name in message:
                return message
        raise AssertionError(f"no {name}={value} within {within_s} s; told: {self.told}")


@contextmanager
def service(
    root: Path, *options: str, listeners: tuple[socket.socket, ...] = (), abstract: bool = False, watchdog_s: float = 0
) -> Iterator[Service]:
    """Run ``fileserve serve`` as a service for the length of the block; *abstract* is the kind of its NOTIFY_SOCKET."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        path = f"{folder}/notify"
        ear.bind(f"\0{path}" if abstract else path)
        fds = tuple(listener.fileno() for listener in listeners)
        variables = {
            "NOTIFY_SOCKET": f"@{path}" if abstract else path,
            "LISTENERS": " ".join(map(str, fds)),
            "LISTEN_FDS": str(len(fds)),
            "LISTEN_FDNAMES": ":".join("http" for _ in fds),
        }
        if watchdog_s:
            variables["WATCHDOG_USEC"] = str(int(watchdog_s * 1_000_000))
        command = ["bash", "-c", BECOME, "bash", sys.executable, "-m", "fileserve", "serve", str(root), *options]
        with Path(os.devnull).open("wb") as nowhere:
            process = subprocess.Popen(
                command, env=clean_environment() | variables, pass_fds=fds, cwd=folder, stderr=nowhere
            )
        try:
            yield Service(process, ear)
        finally:
            stop(process)
