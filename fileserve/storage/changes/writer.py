"""``StagedFile``: bytes on their way to a name. Whole and durable under it in the end, or gone without a trace.

Strategy: chunks are gathered into batches. One batch is written by a thread, with its digests, while the next is
gathered, and whoever brings more waits: memory holds two batches, and the disk slows down the client in the end.
Every byte is written once, and hashed while it is in the processor's cache.

Policy: writes go through the process's own pool rather than through aiofiles, for the reasons that ``reader`` gives.

Left out: how many bytes may come, and from whom; the file itself (``draft``).
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

from fileserve import disk
from fileserve.storage.changes.draft import Committed, Draft, Judge, open_draft
from fileserve.storage.changes.patience import patiently
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.target import Target
from fileserve.storage.changes.together import Alternatives, commit_together
from fileserve.storage.index import Digests

__all__ = ["StagedFile", "commit_all", "stage"]

_BATCH = 256 * 1024
_BUFFERS = 512  # a chunk of few bytes takes many in memory


async def stage(target: Target, need: Need, *, unnamed: bool) -> "StagedFile":
    """Return an empty staged file for *target*, as ``open_draft`` opens it."""

    def open_one() -> Draft:
        return open_draft(target, need, unnamed=unnamed)

    return StagedFile(await disk.run_change(open_one, discard=Draft.discard))


async def commit_all(
    files: Sequence["StagedFile"], judge: Judge, alternatives: Alternatives | None
) -> list[tuple[bytes, Committed]]:
    """Give files of one directory their names, all or none, as ``commit_together`` does. After ``finish`` of each."""
    return await patiently(commit_together, [file._draft for file in files], judge, alternatives)


class StagedFile:
    """A file that is being written, used by one task at a time. Leaving its block without ``commit`` leaves nothing.

    *size* counts the bytes taken so far.
    """

    __slots__ = ("_batch", "_draft", "_gathered", "_writing", "size")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._batch: list[bytes | memoryview] = []
        self._gathered = 0
        self._writing: Future[None] | None = None
        self.size = 0

    def __enter__(self) -> "StagedFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.discard()

    async def write(self, content: bytes | memoryview) -> None:
        """Take the next bytes. Waits while as many as may are still to be written.

        Raises ``NoSpace``, ``Unreadable`` and their like, perhaps for bytes that were taken before.
        """
        if not content:
            return
        self._batch.append(content)
        self._gathered += len(content)
        self.size += len(content)
        if self._gathered >= _BATCH or len(self._batch) >= _BUFFERS:
            await self._begin_batch()

    async def finish(self) -> Digests | None:
        """Write what is left, and return the digests of the whole; ``None`` where none were asked for."""
        await self._begin_batch()
        await self._batch_ended()
        return self._draft.digests()

    async def commit(self, judge: Judge) -> Committed:
        """Give the file its name, durably; argument and errors are those of ``Draft.commit``. After ``finish``.

        When the waiting task is cancelled, the file has its name or has not, and is whole in either case.
        """
        return await patiently(self._draft.commit, judge)

    async def settle(self, committed: Committed, grain_ms: int) -> bool:
        """Wait until another change would show in the file's times; return whether it is still what was written.

        Where the file system's clock is ahead of ours, we cannot tell when that is: then it is ``False`` at once.
        """
        grain_ns = (grain_ms + 1) * 1_000_000
        wait_ns = committed.status.ctime_ns + grain_ns - time.time_ns()
        if wait_ns > 2 * grain_ns:
            return False
        if wait_ns > 0:
            await asyncio.sleep(wait_ns / 1e9)
        return committed.untouched and self._draft.status() == committed.status

    def discard(self) -> None:
        """Close the file; unless it was committed, nothing of it is left. Never waits: that is a thread's work."""
        disk.submit_change(self._draft.discard)

    async def _begin_batch(self) -> None:
        await self._batch_ended()
        if self._batch:
            batch, self._batch, self._gathered = self._batch, [], 0
            self._writing = disk.submit_change(self._draft.write, batch)

    async def _batch_ended(self) -> None:
        """Wait for the batch that is being written, whose place nothing else may take.

        It is this file's until it has ended: where the waiting task is cancelled, whoever goes on still waits for it.
        """
        writing = self._writing
        if writing is not None:
            if not writing.done():  # in the usual case it is; to be told by the thread would cost as much as writing
                await disk.ended(writing)
            self._writing = None
            writing.result()
