"""``Checksums``: the digests of files, known, found, or computed once for all who want them.

Strategy: three places, each slower than the one before: memory, which answers without a thread; the index, which
asks SQLite in the disk pool; the file itself, in a thread of its own. A plain request looks at the first alone.

Digests are kept only when they are sure to stay true. A second change within the grain of the clock leaves size and
times as they are; so a file whose ctime was younger than *settled_ms* when the pass began is hashed for those who
wait, and not remembered (the rule for racy timestamps that git's index follows). A ctime that is ahead of our clock is
of another one (NFS, a virtual machine), which goes on as ours does: once *settled_ms* have passed since we saw it, no
further change can have it. That is waited for before the pass, where it is not long.

Left out: one pass (``hashing``), its thread (``computation``), the counts (``limits``), the queue (``background``).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from fileserve import disk
from fileserve.storage.background import Background
from fileserve.storage.computation import Computation, Result
from fileserve.storage.errors import Busy
from fileserve.storage.hashing import Pass, Work
from fileserve.storage.index import Digests, Index, Pieces, identity
from fileserve.storage.known import UNKNOWN, Known, Unknown
from fileserve.storage.limits import Full, Limits
from fileserve.storage.reader import FileStatus, OpenFile

__all__ = ["Checksums"]

# Policy: a disk that never answers must not hold up the exit; its thread is a daemon.
_CLOSE_S = 5.0
_LONGEST_GRAIN_NS = 2_000_000_000  # that a pass waits for; no file system has a longer one


@dataclass(frozen=True, slots=True)
class Figures:
    """*files* hashed whole and *bytes* read for that; files *running* now, and *waiting* in the background."""

    files: int = 0
    bytes: int = 0
    running: int = 0
    waiting: int = 0

    def after(self, computation: Computation) -> "Figures":
        """Return the figures with *computation*, which has ended. One whose digests were in the index read nothing."""
        is_whole = computation.done.exception() is None and computation.hashed == computation.size
        return Figures(self.files + is_whole, self.bytes + computation.hashed)


class Checksums:
    """The digests of an application's files; used on one event loop's thread.

    At most *at_once* computations run for those who ``watch`` or need a ``crc32``, *at_once_per_client* of one client;
    both are 1 at least. In the background runs one more of what was requested, and one for each ``fill``, whose callers
    see to it how many those are. *settled_ms* is the grain of the file system's clock with a margin. The index stays
    the caller's, who closes it after this.
    """

    __slots__ = ("_background", "_closed", "_done", "_index", "_known", "_limits", "_running", "_settled_ns")

    def __init__(self, index: Index, *, at_once: int, at_once_per_client: int, settled_ms: int) -> None:
        self._index = index
        self._settled_ns = settled_ms * 1_000_000
        self._known = Known()
        self._limits = Limits(at_once, at_once_per_client)
        self._running: set[Computation] = set()
        self._done = Figures()
        self._background = Background(self._begin_in_background)
        self._closed = False

    def known(self, status: FileStatus) -> Digests | Literal[Unknown.UNKNOWN] | None:
        """Return the digests from memory at once; ``None``: there are none; ``UNKNOWN``: only ``find`` can tell."""
        return self._known.find(identity(status))

    def known_crc32(self, status: FileStatus) -> int | None:
        """Return the CRC-32 from memory at once, or ``None`` where memory does not tell."""
        digests = self.known(status)
        return digests.crc32 if isinstance(digests, Digests) else None

    async def find(self, status: FileStatus) -> Digests | None:
        """Return the digests from memory or the index; ``None`` when nobody has computed them for this state."""
        known = self.known(status)
        if known is not UNKNOWN:
            return known
        found = await disk.run(self._index.find, status)
        self._known.remember(identity(status), found)
        return found

    async def find_pieces(self, status: FileStatus) -> Pieces | None:
        """Return the piece digests from the index; ``None`` when nobody has computed them for this state."""
        return await disk.run(self._index.find_pieces, status)

    async def crc32(self, opened: OpenFile, client: str | None) -> int:
        """Return the CRC-32, found or computed; *opened* stays the caller's, and open.

        Where a limit is reached it waits its turn: it is for a transfer that has begun, which cannot be refused.
        Raises what ``Computation.result`` raises, and ``Busy`` when descriptors are used up.
        """
        digests = await self.find(opened.status)
        while digests is None:
            try:
                async with self.watch(opened, client) as computation:
                    digests = await computation.result()
            except Full:
                await self._limits.freed()
                known = self.known(opened.status)
                digests = known if isinstance(known, Digests) else None
        return digests.crc32

    @asynccontextmanager
    async def watch(self, opened: OpenFile, client: str | None, *, sha512: bool = False) -> AsyncIterator[Computation]:
        """Join or begin the computation of *opened*, which may be closed meanwhile. The last one to leave stops it.

        It does not look whether the digests are known. Raises ``Busy`` when as many as may are being computed, in all
        or for *client*; ``None`` is nobody in particular.
        """
        with self._limits.client(client):
            computation = self._join_or_begin(opened, Work(sha512=sha512))
            computation.claim()
            try:
                yield computation
            finally:
                computation.leave()

    async def keep(self, status: FileStatus, digests: Digests) -> None:
        """Keep digests that somebody else has computed of this state of a file, which is sure to stay true."""
        self._known.remember(identity(status), digests)
        await disk.run(self._index.store, status, digests)

    async def fill(self, opened: OpenFile, *, rate: float | None = None) -> None:
        """Compute the digests of *opened* at low priority for nobody in particular, and wait for the end.

        It waits for no turn: a pass that keeps to its *rate* may go on for days, and would hold up all others.
        It reads no more than *rate* bytes a second, until somebody else wants them too. Raises what
        ``Computation.result`` raises.
        """
        self._check_open()
        computation = self._begin_in_background(Pass(opened, Work(), rate))
        computation.claim()
        try:
            await computation.result()
        finally:
            computation.leave()

    def request(self, opened: OpenFile, *, sha512: bool = False, pieces: bool = False) -> None:
        """Have the digests of *opened*, which may be closed meanwhile, computed in the background, once.

        Raises ``Busy`` when too many files wait already.
        """
        self._check_open()
        self._background.add(opened, Work(sha512=sha512, pieces=pieces))

    def figures(self) -> "Figures":
        """Return how much was read for digests until now, and how much work there is."""
        read = self._done.bytes + sum(computation.hashed for computation in self._running)
        return Figures(self._done.files, read, len(self._running), len(self._background))

    async def close(self) -> None:
        """Stop all work and wait for its threads; whoever waits for a result gets ``Busy``."""
        self._closed = True
        self._background.close()
        for computation in self._running:
            computation.reading.stop()
        if self._running:
            await asyncio.wait([computation.done for computation in self._running], timeout=_CLOSE_S)

    def _check_open(self) -> None:
        if self._closed:
            raise Busy("the server is shutting down")

    def _running_for(self, opened_status: FileStatus, work: Work) -> Computation | None:
        state = identity(opened_status)
        return next((running for running in self._running if running.covers(state, work)), None)

    def _join_or_begin(self, opened: OpenFile, work: Work) -> Computation:
        self._check_open()
        running = self._running_for(opened.status, work)
        if running is not None:
            running.reading.hurry()
            return running
        self._limits.begin()
        try:
            computation = Computation(Pass(opened, work), self._compute)
        except BaseException:
            self._limits.end()
            raise
        self._enlist(computation)
        computation.done.add_done_callback(lambda done: self._limits.end())
        return computation

    def _begin_in_background(self, reading: Pass) -> Computation:
        running = self._running_for(reading.status, reading.work)
        if running is not None:
            reading.close()
            if not reading.is_slowed:
                running.reading.hurry()
            return running
        computation = Computation(reading, self._compute_unless_indexed, background=True)
        self._enlist(computation)
        return computation

    def _enlist(self, computation: Computation) -> None:
        self._running.add(computation)
        computation.done.add_done_callback(lambda done: self._ended(computation))

    def _ended(self, computation: Computation) -> None:
        self._running.discard(computation)
        self._done = self._done.after(computation)
        if computation.done.exception() is None and (result := computation.done.result()).settled:
            self._known.remember(computation.reading.identity, result.digests)

    def _compute(self, reading: Pass) -> Result:
        """Hash the file and store what is sure to stay true; in the computation's thread."""
        settled = self._settles(reading.status)
        digests, pieces = reading.run()
        if settled:
            self._index.store(reading.status, digests)
        if settled and pieces is not None:
            self._index.store_pieces(reading.status, pieces)
        return Result(digests, settled)

    def _settles(self, status: FileStatus) -> bool:
        """Return whether all changes from now on show in the file's times. Blocks for a moment, so that they do."""
        age_ns = time.time_ns() - status.ctime_ns
        if age_ns >= 0 or self._settled_ns > _LONGEST_GRAIN_NS:
            return age_ns > self._settled_ns
        time.sleep(self._settled_ns / 1e9)
        return True

    def _compute_unless_indexed(self, reading: Pass) -> Result:
        """Look first whether another process was faster."""
        digests = self._index.find(reading.status)
        has_pieces = not reading.work.pieces or self._index.find_pieces(reading.status) is not None
        if digests is None or not has_pieces or (reading.work.sha512 and digests.sha512 is None):
            return self._compute(reading)
        reading.close()
        return Result(digests, settled=True)
