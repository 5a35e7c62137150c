"""``Readiness``: whether this server can do its work: the served directory can be read, the index can be written.

Each is asked of the disk in the pool, and at most once a second, however often somebody asks. A disk that hangs (a
network mount whose server is gone) holds up one thread for each question, and nobody else: who waits gets an answer
after `WAIT_S`, and the next question is not put before the last one is answered.

What is said tells an operator what to do, and no path: a balancer's log is read by others, too.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from fileserve import disk
from fileserve.storage.errors import StorageError

__all__ = ["OK", "Readiness"]

log = logging.getLogger("fileserve.readiness")

OK = "ok"
WAIT_S = 2.0
FRESH_S = 1.0
SLOW = "It does not answer within {:g} s: look after the disk or the network mount that it is on."


class Check:
    """One question that is asked of the disk by *ask*, which raises ``StorageError``; *advice* says what to do then."""

    __slots__ = ("_advice", "_ask", "_asked_s", "_asking", "_said")

    def __init__(self, ask: Callable[[], None], advice: str) -> None:
        self._ask = ask
        self._advice = advice
        self._asking: asyncio.Future[None] | None = None
        self._asked_s = float("-inf")
        self._said = OK

    async def answer(self) -> str:
        """Return `OK`, or what is wrong, as it was a moment ago at the most."""
        if self._asking is None and time.monotonic() < self._asked_s + FRESH_S:
            return self._said
        if self._asking is None:
            self._asking = asyncio.wrap_future(disk.submit(self._ask))
            self._asking.add_done_callback(self._hear)
        done, _ = await asyncio.wait((self._asking,), timeout=WAIT_S)
        return self._said if done else SLOW.format(WAIT_S)

    def _hear(self, answered: "asyncio.Future[None]") -> None:
        error = None if answered.cancelled() else answered.exception()
        reason = f" ({error})" if isinstance(error, StorageError) else ""
        self._said = f"{self._advice}{reason}" if error is not None else OK
        if error is not None:
            log.warning("not ready: %s: %s", self._advice, error.__cause__ or error)
        self._asked_s, self._asking = time.monotonic(), None


class Readiness:
    """The checks of one worker: *read_root* and *write_index* block, and raise ``StorageError``."""

    def __init__(self, read_root: Callable[[], None], write_index: Callable[[], None]) -> None:
        self._checks: Mapping[str, Check] = {
            "root": Check(
                read_root,
                "The served directory cannot be read, or is not where it was: is it there and mounted, and may the "
                "server's user list it?",
            ),
            "index": Check(
                write_index,
                "The index of digests cannot be written: is its disk full or read-only, and may the server's user "
                "write there? --index-file chooses another place.",
            ),
        }

    async def answers(self) -> dict[str, str]:
        """Return what each check says, by its name."""
        said = await asyncio.gather(*(check.answer() for check in self._checks.values()))
        return dict(zip(self._checks, said, strict=True))
