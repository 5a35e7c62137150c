"""``Notifier``: tells systemd how the server is, sd_notify(3).

Strategy: one datagram for each state, lines of ``NAME=value``, to the Unix socket that ``NOTIFY_SOCKET`` names. That is
the whole of the protocol, and the reason that no library is here: sdnotify (last release 2017) is as long and knows no
watchdog, systemd-python and cysystemd are compiled against the headers of libsystemd, which a slim image lacks.

Nothing here waits for the manager. What its socket has no room for comes with a later sign of life; a sign of life is
dropped, since the next one says the same. What fails is one warning until something arrives again.

What systemd says to this process is taken out of the environment: workers are not those whom it addresses.
"""

import logging
import os
import socket
import time
from collections import deque

from fileserve.server.superior import Superior

__all__ = ["Notifier", "superior_of_environment"]

log = logging.getLogger("fileserve.server")

SHORTEST_WATCHDOG_S = 0.3  # Policy: a third of it is the beat, and ten beats a second are enough of them
LONGEST_USEC = 2**64 - 1  # of systemd's own numbers; it means for ever
UNTOLD = 8  # a manager that takes nothing for so many states is past helping
STOPPING_BEAT_S = 10.0
EXTENSION_S = 60.0  # how long systemd waits after each sign of life of a server that ends
MICROSECONDS = 1_000_000


def superior_of_environment() -> Superior:
    """Return whoever started this process, and take what was said to it alone out of the environment."""
    path = os.environ.pop("NOTIFY_SOCKET", "")
    interval = os.environ.pop("WATCHDOG_USEC", "")
    is_meant = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if path.startswith(("/", "@")):
        return Notifier(path, _watchdog_s(interval) if is_meant else None)
    if path:
        log.warning(
            "NOTIFY_SOCKET=%s: only Unix sockets are told, an absolute path or @name; this one hears nothing", path
        )
    return Superior()


def _watchdog_s(interval: str) -> float | None:
    """Return the seconds of a ``WATCHDOG_USEC``; ``None`` where it asks for nothing."""
    if not interval.isdecimal() or not interval.strip("0"):
        return None
    watchdog_s = min(int(interval[:40]), LONGEST_USEC) / MICROSECONDS
    if watchdog_s < SHORTEST_WATCHDOG_S:
        log.warning("WATCHDOG_USEC=%s is too short; it is taken for %g s", interval, SHORTEST_WATCHDOG_S)
    return max(watchdog_s, SHORTEST_WATCHDOG_S)


class Notifier(Superior):
    """Tells the service manager that listens at *path*, which begins with ``@`` where it is an abstract name.

    *watchdog_s* is the silence after which it takes the server for hung; ``None`` where it does not look.
    """

    def __init__(self, path: str, watchdog_s: float | None) -> None:
        self._path = f"\0{path[1:]}" if path.startswith("@") else path
        self._stops = False
        self._fails = False
        self._untold: deque[bytes] = deque(maxlen=UNTOLD)
        self.watchdog_s = watchdog_s
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
        if self._tell_untold() and signs:
            self._send(_message(*signs))

    def _say(self, *lines: str) -> None:
        self._untold.append(_message(*lines))
        self._tell_untold()

    def _tell_untold(self) -> bool:
        """Send what waits, in its order; tell whether nothing waits any more."""
        while self._untold and self._send(self._untold[0]):
            self._untold.popleft()
        return not self._untold

    def _send(self, message: bytes) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message, self._path)
        except OSError as error:
            if not self._fails:
                log.warning("the service manager could not be told %s: %s", message.partition(b"\n")[0].decode(), error)
            self._fails = True
            return False
        self._fails = False
        return True


def _message(*lines: str) -> bytes:
    return "\n".join(lines).encode()


_EXTENSION = f"EXTEND_TIMEOUT_USEC={int(EXTENSION_S * MICROSECONDS)}"
