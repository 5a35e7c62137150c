"""``Sparing``: warnings of what strangers cause at will, so few that they cannot fill a log.

Policy: of each kind `RECORDS` in a minute are told one by one, with the address; the others are counted, and told as
one number when the minute is over, or the server ends. What an operator looks for in the log, a server that fails,
stays to be found there, and ``/metrics`` counts each. What takes more than a request (a file that changed while it was
sent, a disk that fails) is bounded by that, and told each time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextvars import Context

__all__ = ["Sparing"]

RECORDS = 10
MINUTE_S = 60.0


class Sparing:
    """Warnings to *logger*, of one server. For the event loop's thread."""

    __slots__ = ("_counts", "_logger")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: Counter[str] = Counter()  # by kind, since the minute began

    def warning(self, kind: str, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
        """Log *message*, or count it as one more of its *kind*, which is said in the plural."""
        if not self._counts:
            # In a context of its own: the number is not of the request that happened to begin the minute.
            asyncio.get_running_loop().call_later(MINUTE_S, self._begin_anew, context=Context())
        self._counts[kind] += 1
        if self._counts[kind] <= RECORDS:
            self._logger.warning(message, *values, extra=extra)

    def end(self) -> None:
        """Tell how many were left out since the minute began: the server ends before it is over."""
        self._tell_others("before the end")

    def _begin_anew(self) -> None:
        self._tell_others(f"in {MINUTE_S:g} s")

    def _tell_others(self, when: str) -> None:
        counts, self._counts = self._counts, Counter()
        for kind, count in counts.items():
            if count > RECORDS:
                self._logger.warning("%d more %s %s", count - RECORDS, kind, when)
