"""``ResumedFile``: the file of a session during one request, for the event loop's thread.

It is a staged file that may be there already, and that stays when the request ends before it is whole.
"""

import hmac
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from fileserve import disk
from fileserve.storage.changes.resumable import ResumedDraft
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.writer import StagedFile
from fileserve.storage.errors import StorageError
from fileserve.storage.hashing import Sums

__all__ = ["ResumedFile"]

_COPIED_AT_ONCE = 64 * 1024 * 1024  # others get their turn in the pool


class ResumedFile(StagedFile):
    """A session's file during one request; ``size`` counts what this request brought, ``offset`` what was there."""

    __slots__ = ("draft", "is_verified", "offset", "sums")

    def __init__(self, draft: ResumedDraft) -> None:
        super().__init__(draft)
        self.draft = draft
        self.offset = draft.written
        self.sums: Sums | None = None
        self.is_verified = False

    @property
    def session(self) -> Session:
        """The session as it is since its file was locked."""
        return self.draft.session

    async def reserve_for(self, coming: int | None) -> None:
        """Reserve room for *coming* bytes; ``None``: as many as are still to come. Raises ``NoSpace``."""
        await disk.run_change(self.draft.reserve_for, coming)

    async def verify(self, algorithm: str, digest: bytes) -> bool:
        """Return whether what this request brought has that digest. After ``finish``."""
        computed = await disk.run_change(self.draft.checksum, algorithm, self.offset)
        self.is_verified = hmac.compare_digest(computed, digest)
        return self.is_verified

    async def append(self, part: "ResumedFile") -> None:
        """Append all that is in *part*."""
        for start in range(0, part.offset, _COPIED_AT_ONCE):
            count = min(_COPIED_AT_ONCE, part.offset - start)
            await disk.run_change(self.draft.append, part.draft, start, count)
            self.size += count

    async def rewind(self) -> None:
        """Take back what this request brought."""
        self._batch.clear()
        with suppress(StorageError):
            await self._batch_ended()
        await disk.run_change(self.draft.begin_at, self.offset)

    async def pause(self, note: Callable[[], None] | None = None) -> None:
        """Write what is left, make it durable and close the file; ``offset`` is what is there then.

        *note* is called as ``ResumedDraft.pause`` does that.
        What could not be written is not there. Goes on in its thread when the waiting task is cancelled.
        """
        job = disk.submit_change(_pause, self.draft, self._writing, list(self._batch), note)
        self._writing = None
        self._batch.clear()
        await disk.ended(job)
        self.offset, self.sums = job.result()


def _pause(
    draft: ResumedDraft,
    writing: Future[None] | None,
    batch: list[bytes | memoryview],
    note: Callable[[], None] | None,
) -> tuple[int, Sums | None]:
    with suppress(StorageError):
        if writing is not None:
            writing.result()  # which the pool began before this
        if batch:
            draft.write(batch)
    return draft.pause(note)
