"""The instant of a response and its Date field, RFC 9110 §6.6.1.

Formats an instant as an IMF-fixdate (§5.6.7) and remembers the text of the last second, because most responses of a
busy server fall into the same one. Locale plays no part.

Left out: reading dates. That is for those who evaluate preconditions.
"""

import time
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Instant:
    """The clock, read when first asked, in nanoseconds since the epoch; and a stopwatch.

    What asks before it looks at a file can be sure that Last-Modified cut to this instant is not later than Date (RFC
    9110 §8.8.2.1), and that a second between the two means what §8.8.2.2 wants it to mean. It stands apart from the
    exchange, because the scope holds it and the exchange the scope: a circle for each request would keep the garbage
    collector busy.
    """

    __slots__ = ("_now_ns", "began_s", "first_s")

    def __init__(self) -> None:
        self._now_ns = 0
        self.began_s = time.perf_counter()  # of a clock that is never set: when the request was there
        self.first_s = 0.0  # of the same: when the first byte of its answer was sent

    def __call__(self) -> int:
        """Return the instant; each call the same."""
        if not self._now_ns:
            self._now_ns = time.time_ns()
        return self._now_ns


@lru_cache(maxsize=4)
def format_date(now_s: int) -> bytes:
    """Return the IMF-fixdate of *now_s*, in seconds since the epoch. RFC 9110 §5.6.7."""
    at = time.gmtime(now_s)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        day.encode(),
        at.tm_mday,
        month.encode(),
        at.tm_year,
        at.tm_hour,
        at.tm_min,
        at.tm_sec,
    )
