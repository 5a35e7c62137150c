"""``TransferCounts``: how the responses of one worker ended, in plain integers, for the metrics.

They are added to when a response ends, a quarter of a microsecond each. Bytes count when a client's kernel has taken
them; those of responses under way, which may take hours, come from ``Progress`` when somebody asks.
"""

from bisect import bisect_left
from collections import Counter, defaultdict

from fileserve.web.transfers.pieces import End

__all__ = ["BOUNDS_S", "ROUTES", "RouteCounts", "TransferCounts"]

ROUTES = ("download", "archive", "checksum")
#: Upper bounds of the buckets of durations, in seconds: from a small file to a download of a night.
BOUNDS_S = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0, 43200.0)


class RouteCounts:
    """Those of one route."""

    __slots__ = ("durations", "ends", "seconds", "sent")

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter({end.value: 0 for end in End})
        self.sent = 0  # bytes
        self.durations = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def add(self, end: End, sent: int, seconds: float) -> None:
        """Count a response that has ended."""
        self.ends[end._value_] += 1  # what `value` is, without the descriptor's call
        self.sent += sent
        self.durations[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds


class TransferCounts(defaultdict[str, RouteCounts]):
    """The counts by route. Routes are few, and named by the code; those that are known are told before their first."""

    def __init__(self) -> None:
        super().__init__(RouteCounts, {route: RouteCounts() for route in ROUTES})

    def counters(self) -> dict[str, dict[str, float]]:
        """Return what only grows: by its name, and there by what tells one number from another."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        ends: dict[str, float] = {}
        durations: dict[str, float] = {}
        for route, counts in self.items():
            ends |= {f"{route} {end}": n for end, n in counts.ends.items()}
            buckets = zip(bounds, counts.durations, strict=True)
            durations |= {f"{route} sum": counts.seconds} | {f"{route} {bound}": n for bound, n in buckets}
        return {"ends": ends, "durations": durations, "sent": {route: counts.sent for route, counts in self.items()}}
