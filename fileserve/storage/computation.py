"""``Computation``: one pass over a file in a thread of its own, for all who wait for it.

Strategy: whoever is interested holds a claim. When the last one leaves, the pass is stopped, and the thread ends within
one buffer. The thread is a daemon, so the interpreter's exit never waits for a hash or for a disk that does not answer;
what it does to the index is a transaction, which is done or not.

Policy: a thread for each pass rather than a pool. Starting one costs some 50 µs against the milliseconds of a pass, and
the threads of a pool are waited for at the interpreter's exit.

Left out: how many at once (``limits``), and what a result is good for (``checksums``).
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fileserve import disk
from fileserve.storage.errors import Busy
from fileserve.storage.hashing import Pass, Work
from fileserve.storage.index import Digests, Identity

__all__ = ["Computation", "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """The digests; *settled* when they may be kept: no later content can have the same state of the file."""

    digests: Digests
    settled: bool


class Computation:
    """A pass that runs, or has run. For the event loop's thread.

    *compute* runs in the thread and ends the pass; *background* lets the thread go after all others (on Linux). Raises
    ``Busy`` when the system gives no thread; the pass is closed then.
    """

    __slots__ = ("_claims", "_loop", "background", "done", "reading")

    def __init__(self, reading: Pass, compute: Callable[[Pass], Result], *, background: bool = False) -> None:
        self.reading = reading
        self.background = background
        self._claims = 0
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Result] = self._loop.create_future()
        thread = threading.Thread(target=self._run, args=(compute,), name="digest", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            reading.close()
            raise Busy("no thread is left to compute in") from error

    @property
    def hashed(self) -> int:
        """The number of bytes hashed so far."""
        return self.reading.hashed

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.reading.status.size

    def covers(self, state: Identity, work: Work) -> bool:
        """Return whether this goes on, and gives what *work* asks for of this state of a file."""
        return not self.reading.stopped and self.reading.identity == state and self.reading.work.covers(work)

    async def result(self) -> Digests:
        """Wait for the digests; a wait that is cancelled or timed out may be repeated.

        Raises ``ContentChanged`` when the file changed meanwhile, what ``errors`` lists when it cannot be read, and
        ``Busy`` when all work is stopped.
        """
        await asyncio.wait(
            (self.done,)
        )  # awaiting the future itself would cancel it for all, when one wait is cancelled
        return self.done.result().digests

    def claim(self) -> None:
        """Take part; ``leave`` ends it."""
        self._claims += 1

    def leave(self) -> None:
        """End one claim; the last one to leave stops the pass."""
        self._claims -= 1
        if not self._claims:
            self.reading.stop()

    def _run(self, compute: Callable[[Pass], Result]) -> None:
        if self.background:
            disk.give_way()
        try:
            result: Result | Exception = compute(self.reading)
        except Exception as error:  # whatever it is, it belongs to those who wait
            result = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, result)

    def _end(self, result: Result | Exception) -> None:
        if isinstance(result, Result):
            self.done.set_result(result)
        else:
            self.done.set_exception(result)
            self.done.exception()  # seen: that nobody waits any more is no fault to be logged
