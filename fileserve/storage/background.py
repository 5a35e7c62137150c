"""``Background``: files whose digests somebody will want, one after another, while nobody waits.

Strategy: a bounded queue of passes that are not run yet, each with its descriptor, and one computation at a time. It
holds a claim on that, so a client who joins it and leaves does not stop it; and where a client's computation of the
same file runs already, it joins that instead.

Left out: how a computation begins, which ``checksums`` says; and how fast, which is for whoever fills the queue.
"""

import logging
from collections.abc import Callable
from contextvars import Context

from fileserve.storage.computation import Computation
from fileserve.storage.errors import Busy, StorageError
from fileserve.storage.hashing import Pass, Work
from fileserve.storage.index import Identity, identity
from fileserve.storage.reader import OpenFile

__all__ = ["Background"]

# Policy: each file in the queue holds a descriptor, so it is short; who is refused asks again.
_QUEUED = 128

_log = logging.getLogger(__name__)


class Background:
    """The queue. *begin* joins or begins the computation of a pass, or raises ``Busy``. For the event loop's thread."""

    __slots__ = ("_begin", "_current", "_queue")

    def __init__(self, begin: Callable[[Pass], Computation]) -> None:
        self._begin = begin
        self._queue: dict[tuple[Identity, Work], Pass] = {}
        self._current: Computation | None = None

    def add(self, opened: OpenFile, work: Work) -> None:
        """Queue *opened*, which may be closed meanwhile, once. Raises ``Busy`` when the queue is full."""
        key = (identity(opened.status), work)
        if key in self._queue or (self._current is not None and self._current.covers(*key)):
            return
        if len(self._queue) >= _QUEUED:
            raise Busy("too many files wait for their digests")
        self._queue[key] = Pass(opened, work)
        self._advance()

    def __len__(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        """Empty the queue, and leave what is being computed."""
        while self._queue:
            self._queue.popitem()[1].close()

    def _advance(self) -> None:
        while self._current is None and self._queue:
            first = next(iter(self._queue))
            try:
                self._current = self._begin(self._queue.pop(first))
            except Busy as error:
                _log.warning("a file is left without its digests: %s", error)
                continue
            self._current.claim()
            self._current.done.add_done_callback(lambda done: self._ended(), context=Context())

    def _ended(self) -> None:
        current, self._current = self._current, None
        error = current.done.exception() if current else None
        if error is not None and not isinstance(error, StorageError):
            _log.error("computing digests failed", exc_info=error)
        self._advance()
