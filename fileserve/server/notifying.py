"""``Notifier``: tells systemd how the server is, sd_notify(3).

Strategy: one datagram for each state, lines of ``NAME=value``, to the Unix socket that ``NOTIFY_SOCKET`` names. That is
the whole of the protocol, and the reason that no library is here: sdnotify (last release 2017) is as long and knows no
watchdog, systemd-python and cysystemd are compiled against the headers of libsystemd, which a slim image lacks.

What systemd says to this process is taken out of the environment: workers are not those whom it addresses.
"""

import logging
import os
import socket
import time

from fileserve.server.superior import Superior

__all__ = ["Notifier", "superior_of_environment"]

log = logging.getLogger("fileserve.server")

SEND_S = 1.0  # systemd reads at once; a manager that does not may not stop the event loop for longer
STOPPING_BEAT_S = 10.0
EXTENSION_S = 60.0  # how long systemd waits after each sign of life of a server that ends
MICROSECONDS = 1_000_000


def superior_of_environment() -> Superior:
    """Return whoever started this process, and take what was said to it alone out of the environment."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    interval = os.environ.pop("WATCHDOG_USEC", "")
    is_meant = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not path.startswith(("/", "@")):
        return Superior()
    return Notifier(path, int(interval) / MICROSECONDS if is_meant and interval.isdecimal() else None)


class Notifier(Superior):
    """Tells the service manager that listens at *path*, which begins with ``@`` where it is an abstract name.

    *watchdog_s* is the silence after which it takes the server for hung; ``None`` where it does not look.
    """

    def __init__(self, path: str, watchdog_s: float | None) -> None:
        self._path = f"\0{path[1:]}" if path.startswith("@") else path
        self._stops = False
        self.watchdog_s = watchdog_s or None
        self.beat_s = min(STOPPING_BEAT_S, watchdog_s / 3) if watchdog_s else STOPPING_BEAT_S

    def ready(self, status: str) -> None:
        """Say that connections are accepted: after the start, and again after a renewal."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Say that a renewal has begun, and when."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Say that the end has begun. From now on each sign of life asks for more time, up to the drain's own limit."""
        self._stops = True
        self._say("STOPPING=1", f"STATUS={status}", _EXTENSION)

    def beat(self) -> None:
        """Say that the event loop turns, if that is asked for."""
        signs = ["WATCHDOG=1"] * (self.watchdog_s is not None) + [_EXTENSION] * self._stops
        if signs:
            self._say(*signs)

    def _say(self, *lines: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_S)
                sender.sendto("\n".join(lines).encode(), self._path)
        except OSError as error:
            log.warning("the service manager could not be told %s: %s", lines[0], error)


_EXTENSION = f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * MICROSECONDS)}"
