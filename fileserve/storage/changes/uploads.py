"""``Uploads``: files that are uploaded in several requests, for the event loop's thread.

Strategy: what is kept between two requests is a row (``sessions``) and a file (``resumable``), so that the next one can
come to another worker, or after a restart. Digests are computed as the bytes pass for as long as they come in their
order to one process, which keeps the state of the sums for a while; else the whole is read once when it has its name.

Left out: whose session it is, and what may be stored.
"""

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from fileserve import disk
from fileserve.storage.changes.resumable import (
    Flushed,
    ResumedDraft,
    create,
    has_its_name,
    open_draft_of,
    size_on_disk,
    unlink,
)
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.sessions import Session, Sessions
from fileserve.storage.changes.target import Target
from fileserve.storage.changes.writer import StagedFile
from fileserve.storage.errors import Locked, NotFound, StorageError
from fileserve.storage.hashing import Sums
from fileserve.storage.names import Name
from fileserve.storage.root import Root

__all__ = ["ResumedFile", "Uploads"]

_MOST_SUMS = 1024  # half a kilobyte each
_COPIED_AT_ONCE = 64 * 1024 * 1024  # others get their turn in the pool


class ResumedFile(StagedFile):
    """A session's file during one request; ``size`` counts what this request brought, ``offset`` what was there."""

    __slots__ = ("_resumed", "is_verified", "offset", "sums")

    def __init__(self, draft: ResumedDraft) -> None:
        super().__init__(draft)
        self._resumed = draft
        self.offset = draft.written
        self.sums: Sums | None = None
        self.is_verified = False

    async def check_room(self) -> None:
        """Reserve room for the rest. Raises ``NoSpace``."""
        await disk.run_change(self._resumed.check_room)

    async def verify(self, algorithm: str, digest: bytes) -> bool:
        """Return whether what this request brought has that digest. After ``finish``."""
        computed = await disk.run_change(self._resumed.checksum, algorithm, self.offset)
        self.is_verified = hmac.compare_digest(computed, digest)
        return self.is_verified

    async def append(self, part: "ResumedFile") -> None:
        """Append all that is in *part*."""
        for start in range(0, part.offset, _COPIED_AT_ONCE):
            count = min(_COPIED_AT_ONCE, part.offset - start)
            await disk.run_change(self._resumed.append, part._resumed, start, count)
            self.size += count

    async def rewind(self) -> None:
        """Take back what this request brought."""
        self._batch.clear()
        with suppress(StorageError):
            await self._batch_ended()
        await disk.run_change(self._resumed.begin_at, self.offset)

    async def pause(self) -> None:
        """Write what is left, make it durable and close the file; ``offset`` is what is there then.

        What could not be written is not there. Goes on in its thread when the waiting task is cancelled.
        """
        job = disk.submit_change(_pause, self._resumed, self._writing, list(self._batch))
        self._writing = None
        self._batch.clear()
        self.offset, self.sums = await asyncio.shield(asyncio.wrap_future(job))


def _pause(
    draft: ResumedDraft, writing: Future[None] | None, batch: list[bytes | memoryview]
) -> tuple[int, Sums | None]:
    with suppress(StorageError):
        if writing is not None:
            writing.result()  # which the pool began before this
        if batch:
            draft.write(batch)
    return draft.pause()


class Uploads:
    """The sessions beneath *root*, each for *lifetime_s* after its last request. It closes *sessions* in the end."""

    __slots__ = ("_flushed", "_lifetime_s", "_root", "_sessions", "_sums")

    def __init__(self, root: Root, sessions: Sessions, lifetime_s: float) -> None:
        self._root = root
        self._sessions = sessions
        self._lifetime_s = lifetime_s
        self._sums: OrderedDict[str, tuple[int, Sums]] = OrderedDict()
        self._flushed: OrderedDict[str, Flushed] = OrderedDict()  # what was asked for, so that asking again is cheap

    async def begin(
        self,
        name: Name,
        need: Need,
        details: Mapping[str, str],
        client: str,
        limits: tuple[int, int],
        id: str | None = None,
    ) -> Session:
        """Begin an upload that is to have *name*; *limits* are how many may be open, in all and of *client*.

        Its *id* is a new one unless it is given. Missing directories will be made where *details* have ``parents``.
        Raises ``TooManySessions``, ``NoSpace``, ``NoDirectory`` and their like; ``Locked`` where the id is in use.
        """
        return await disk.run_change(self._begin, name, need, details, client, limits, id or secrets.token_hex(16))

    async def count(self) -> int:
        """Return how many sessions are open, in all workers. Raises ``Busy``."""
        return await disk.run(self._sessions.count)

    async def find(self, id: str) -> Session:
        """Return a session. Raises ``NotFound``."""
        return await disk.run(self._sessions.find, id)

    async def offset(self, session: Session) -> int:
        """Return how much of an upload is on the disk. Raises ``NotFound`` when its file is gone."""
        return await disk.run_change(self._offset, session)

    async def set_length(self, session: Session, length: int) -> None:
        """Say how long an upload will be whose length was not known."""
        await disk.run_change(self._sessions.set_length, session.id, length)

    @asynccontextmanager
    async def resume(self, session: Session, need: Need, *, is_checked: bool = False) -> AsyncIterator[ResumedFile]:
        """Open the session's file for the block. At its end all that has arrived is on the disk.

        With *is_checked*, that is only so after ``verify``; else it is taken back. Raises ``Locked``, ``NotFound``.
        """

        def look() -> Session:
            return self._sessions.find(session.id)

        known = self._sums.pop(session.id, None)
        draft = await disk.run_change(open_draft_of, self._root, look, need, known, discard=ResumedDraft.keep)
        staged = ResumedFile(draft)
        try:
            if is_checked or session.sure is not None:
                await disk.run_change(self._sessions.set_sure, session.id, staged.offset if is_checked else None)
            yield staged
        finally:
            if is_checked and not staged.is_verified:
                await staged.rewind()
            await staged.pause()
            await disk.run_change(self._end_request, session.id, is_checked)
            self._remember(session.id, staged)

    async def concatenate(self, session: Session, parts: Sequence[Session], need: Need) -> None:
        """Fill the file of *session* with all *parts*, in their order. Raises ``Locked`` and ``NoSpace``."""
        async with AsyncExitStack() as opened:
            sources = [await opened.enter_async_context(self.resume(part, need)) for part in parts]
            whole = await opened.enter_async_context(self.resume(session, need))
            for source in sources:
                await whole.append(source)

    async def set_stored(self, session: Session) -> None:
        """Say that an upload has its name."""
        self._sums.pop(session.id, None)
        await disk.run_change(self._sessions.set_stored, session.id)

    async def end(self, session: Session) -> None:
        """Delete what is there of an upload, and forget it. Raises ``Locked``."""
        await disk.run_change(self._end, session)

    def end_expired(self) -> int:
        """End the sessions whose time is over and that nobody writes to; return how many. Blocks."""
        count = 0
        for session in self._sessions.expired(time.time()):
            with suppress(Locked, NotFound):
                if self._sessions.find(session.id).expires_s <= time.time():  # nobody came back meanwhile
                    self._end(session)
                    count += 1
        return count

    def is_left(self, component: str, age_s: float) -> bool:
        """Return whether a hidden file of this name and age belongs to no session any more. Blocks.

        Its age counts, too: where sessions are in memory, another process may know of it.
        """
        return age_s > self._lifetime_s and not self._sessions.has_staged(component.encode())

    def close(self) -> None:
        """Close the table."""
        self._sessions.close()

    def _begin(
        self, name: Name, need: Need, details: Mapping[str, str], client: str, limits: tuple[int, int], id: str
    ) -> Session:
        target = Target(self._root, name, bool(details.get("parents")))
        staged = create(target, need)
        session = Session(id, name, staged, need.length, self._expiry(), details)
        try:
            self._sessions.add(session, client, most=limits[0], most_of_client=limits[1])
        except BaseException:
            unlink(self._root, session)
            raise
        return session

    def _offset(self, session: Session) -> int:
        try:
            flushed = size_on_disk(self._root, session.staged, self._flushed.get(session.id))
        except NotFound:
            if session.stored or has_its_name(self._root, session):
                self._sessions.set_stored(session.id)
                return session.length or 0
            self._sessions.remove(session.id)
            raise
        sure = self._sessions.find(session.id).sure
        self._flushed[session.id] = flushed
        with suppress(KeyError):  # another thread was faster
            while len(self._flushed) > _MOST_SUMS:
                self._flushed.popitem(last=False)
        return flushed[0] if sure is None else min(flushed[0], sure)

    def _end_request(self, id: str, is_checked: bool) -> None:
        if is_checked:
            self._sessions.set_sure(id, None)
        self._sessions.extend(id, self._expiry())

    def _end(self, session: Session) -> None:
        if not session.stored:
            unlink(self._root, session)
        self._sessions.remove(session.id)

    def _expiry(self) -> int:
        return int(time.time() + self._lifetime_s) + 1

    def _remember(self, id: str, staged: ResumedFile) -> None:
        if staged.sums is not None:
            self._sums[id] = staged.offset, staged.sums
            if len(self._sums) > _MOST_SUMS:
                self._sums.popitem(last=False)
