"""``Counts``: what the socket edge of one process has seen, in plain integers.

They are added to in the path of each request, so nothing here takes a lock or looks anything up by name; names come in
when somebody asks, with ``counters`` and ``gauges``. An application finds the counts of its server in its state (ASGI's
lifespan state, and each request's) under `COUNTS`.

Left out: what becomes of the numbers, and those of other processes.
"""

import time
from bisect import bisect_left
from collections import Counter

from fileserve.server.clock import Instant
from fileserve.server.refusals import Refusal

__all__ = ["BOUNDS_S", "COUNTS", "Counts"]

COUNTS = "fileserve.counts"
#: Upper bounds of the buckets of the time to first byte, in seconds.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Counts:
    """The counts of one server, which has *places* for connections. For the event loop's thread.

    An attribute for each thing that is counted: to find it by a name would take longer.
    """

    __slots__ = (
        "admitted",
        "broken_off",
        "dismissed",
        "offloads",
        "places",
        "refusals",
        "responses",
        "stalls",
        "waits",
    )

    def __init__(self, places: int) -> None:
        self.places = places
        self.admitted = 0  # connections
        self.dismissed = 0
        self.stalls = 0
        self.broken_off = 0
        self.refusals: Counter[Refusal] = Counter(dict.fromkeys(Refusal, 0))
        self.responses = [0] * 1000  # by status
        self.offloads = 0  # answers to nginx, which sends the response itself: no client gets their status
        self.waits = Waits()

    def begin_response(self, status: int, instant: Instant) -> None:
        """Count a response that begins, and stop its *instant*'s watch: its first byte leaves with its head."""
        instant.first_s = first_s = time.perf_counter()
        self.responses[status] += 1
        self.waits.add(first_s - instant.began_s)

    def begin_offload(self, instant: Instant) -> None:
        """Count an answer that leaves the response to nginx, as `begin_response` does."""
        instant.first_s = time.perf_counter()
        self.offloads += 1
        self.waits.add(instant.first_s - instant.began_s)

    def counters(self) -> dict[str, dict[str, float]]:
        """Return what only grows: by its name, and there by what tells one number from another."""
        return {
            "connections": {"": self.admitted},
            "refusals": {f"{refusal.status} {refusal.name.lower()}": n for refusal, n in self.refusals.items()},
            "responses": self._responses(),
            "stalls": {"": self.stalls},
            "broken_off": {"": self.broken_off},
            "first_byte": self.waits.numbers(),
        }

    def _responses(self) -> dict[str, float]:
        by_status: dict[str, float] = {str(status): n for status, n in enumerate(self.responses) if n}
        return by_status | ({"offloaded": self.offloads} if self.offloads else {})

    def gauges(self) -> dict[str, dict[str, float]]:
        """Return how it stands now, in the same way."""
        return {"connections": {"": self.admitted - self.dismissed}, "places": {"": self.places}}


class Waits:
    """How long requests waited for the first byte of their answer."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def numbers(self) -> dict[str, float]:
        """Return how many there were in each bucket, by its upper bound, and the sum of all."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        return {"sum": self.sum_s, **dict(zip(bounds, self.counts, strict=True))}
