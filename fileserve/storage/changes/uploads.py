"""``Uploads``: files that are uploaded in several requests, for the event loop's thread.

Strategy: what is kept between two requests is a row (``sessions``) and a file (``paused``), so that the next one can
come to another worker, or after a restart. Digests are computed as the bytes pass for as long as they come in their
order to one process, which keeps the state of the sums for a while; else the whole is read once when it has its name.

Left out: whose session it is, and what may be stored.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial

from fileserve import disk
from fileserve.storage.changes.expiry import end, end_expired, give_up
from fileserve.storage.changes.paused import Flushed, create, is_locked
from fileserve.storage.changes.remembered import Remembered
from fileserve.storage.changes.resumable import ResumedDraft, unlink
from fileserve.storage.changes.resumed import ResumedFile
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session, Staged
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.target import Target
from fileserve.storage.changes.whereabouts import find_again, offset_of, open_wherever, settled
from fileserve.storage.errors import Busy, NotFound
from fileserve.storage.hashing import Sums
from fileserve.storage.names import Name
from fileserve.storage.root import Root

__all__ = ["ResumedFile", "Uploads"]

_MOST_SUMS = 1024  # half a kilobyte each
_SETTLES_S = 10.0  # for a disk to take what has arrived


class Uploads:
    """The sessions beneath *root*, each for *lifetime_s* after its last bytes. It closes *sessions* in the end.

    *within* are the directories beneath which alone anything is staged.
    """

    __slots__ = ("_flushed", "_idle", "_lifetime_s", "_root", "_sessions", "_sums", "_under_way", "_within")

    def __init__(self, root: Root, sessions: Sessions, lifetime_s: float, *, within: tuple[Name, ...] = ((),)) -> None:
        self._root = root
        self._within = within
        self._sessions = sessions
        self._lifetime_s = lifetime_s
        self._sums = Remembered[str, tuple[int, Sums]](_MOST_SUMS)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._flushed = Remembered[str, Flushed](_MOST_SUMS)  # what was asked for, so that asking again is cheap

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
        return await disk.run_change(offset_of, self._root, self._sessions, session, self._flushed)

    async def is_locked(self, session: Session) -> bool:
        """Return whether somebody writes to an upload, in any process."""
        return await disk.run_change(is_locked, self._root, session.staged)

    async def set_length(self, staged: ResumedFile, length: int) -> None:
        """Say how long an upload will be whose length was not known. Raises ``NoSpace``."""
        await disk.run_change(self._set_length, staged.draft, length)

    @asynccontextmanager
    async def resume(self, session: Session, need: Need, *, is_checked: bool = False) -> AsyncIterator[ResumedFile]:
        """Open the session's file for the block. At its end all that has arrived is on the disk.

        With *is_checked*, that is only so after ``verify``; else it is taken back. Raises ``Locked``, ``NotFound``.
        """
        with self._counted():
            async with self._resumed(session, need, is_checked) as staged:
                yield staged

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._idle.set()

    @asynccontextmanager
    async def _resumed(self, session: Session, need: Need, is_checked: bool) -> AsyncIterator[ResumedFile]:
        known = self._sums.pop(session.id)
        draft = await disk.run_change(
            open_wherever, self._root, self._sessions, session.id, need, known, discard=ResumedDraft.keep
        )
        staged = ResumedFile(draft)
        try:
            if staged.session.expires_s < time.time() + self._lifetime_s / 2:
                await disk.run_change(self._sessions.extend, session.id, self._expiry())
            if is_checked or staged.session.sure is not None:
                await disk.run_change(self._sessions.set_sure, session.id, staged.offset if is_checked else None)
            yield staged
        finally:
            await self._let_go(session.id, staged, is_checked)
            self._remember(session.id, staged)

    async def _let_go(self, id: str, staged: ResumedFile, is_checked: bool) -> None:
        """Have what has arrived be on the disk, and all of it count, before others can have the file."""
        note = None
        try:
            if is_checked and not staged.is_verified:
                await staged.rewind()
            if is_checked:
                note = partial(self._sessions.set_sure, id, None)
            # What has its name does not fail because the table is busy.
            with suppress(*([Busy] if staged.draft.has_its_name else [])):
                await disk.run_change(self._sessions.extend, id, self._expiry())
        finally:
            await staged.pause(note)

    @asynccontextmanager
    async def concatenated(self, session: Session, parts: Sequence[Session], need: Need) -> AsyncIterator[ResumedFile]:
        """Open the file of *session* for the block, filled with all *parts*. Raises ``Locked`` and ``NoSpace``.

        It is locked first and last: who could have it in between would take it for one that a crash has left.
        """
        async with self.resume(session, need) as whole:
            async with AsyncExitStack() as opened:
                # Locked in one order: of several who want the same ones, somebody gets all of them.
                in_order = sorted(parts, key=lambda part: part.id)
                locked = {part.id: await opened.enter_async_context(self.resume(part, need)) for part in in_order}
                await whole.reserve_for(need.length)
                for part in parts:
                    await whole.append(locked[part.id])
            yield whole

    async def set_stored(self, session: Session) -> None:
        """Say that an upload has its name."""
        self._sums.pop(session.id)
        await disk.run_change(self._sessions.set_stored, session.id)

    async def settled(self, session: Session) -> Session:
        """Return a session as it is once nobody moves its directory. Raises ``NotFound``."""
        return await disk.run_change(settled, self._sessions, session.id)

    async def follow(self, staged: ResumedFile) -> Session:
        """Have a file whose directory may have been moved get its name where that is now, and return its session."""
        session = await self.find(staged.session.id)
        staged.draft.set_session(session)
        return session

    async def end(self, session: Session) -> None:
        """Delete what is there of an upload, and forget it. Raises ``Locked``."""
        await disk.run_change(end, self._root, self._sessions, session)

    async def give_up(self, session: Session) -> bool:
        """End an upload that has failed, unless its file has its name; return whether it has. Raises ``Locked``."""
        return await disk.run_change(give_up, self._root, self._sessions, session, self._expiry())

    def following(self, directory: Name, new: Name) -> AbstractContextManager[None]:
        """Let uploads go on beneath *new*, to where *directory* is moved in the block with their files. Blocks."""
        return self._sessions.following(directory, new)

    def are_open(self) -> bool:
        """Return whether there are sessions that have not ended. Blocks."""
        return self._sessions.exist()

    def end_expired(self) -> tuple[int, int]:
        """End the sessions whose time is over and that nobody writes to. Blocks.

        Returns how many that were, and of how many the file was not where it belongs: somebody has moved a directory.
        """
        return end_expired(self._root, self._sessions, self._expiry())

    def is_left(self, place: Name, inode: int, age_s: float) -> bool:
        """Return whether a hidden file at *place* belongs to no session any more. Blocks.

        Its age counts, too: where sessions are in memory, another process may know of it. A session whose file it is
        goes on there.
        """
        session = self._sessions.staged_as(place[-1])
        if session is not None:
            find_again(self._root, self._sessions, session, Staged(place, inode))
        return session is None and age_s > self._lifetime_s

    async def settle(self) -> None:
        """Wait until no request has a session's file open. Those that were cancelled still make theirs durable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLES_S):
                while self._under_way:
                    self._idle.clear()
                    await self._idle.wait()

    def close(self) -> None:
        """Close the table."""
        self._sessions.close()

    def _begin(
        self, name: Name, need: Need, details: Mapping[str, str], client: str, limits: tuple[int, int], id: str
    ) -> Session:
        target = Target(self._root, name, bool(details.get("parents")), self._within)
        staged = create(target, need)
        session = Session(id, name, staged, need.length, self._expiry(), details)
        try:
            self._sessions.add(session, client, most=limits[0], most_of_client=limits[1])
        except BaseException:
            with suppress(NotFound):
                unlink(self._root, session)
            raise
        return session

    def _set_length(self, draft: ResumedDraft, length: int) -> None:
        draft.set_session(replace(draft.session, length=length))
        draft.check_room()
        self._sessions.set_length(draft.session.id, length)

    def _expiry(self) -> int:
        return int(time.time() + self._lifetime_s) + 1

    def _remember(self, id: str, staged: ResumedFile) -> None:
        if staged.sums is not None:
            self._sums.put(id, (staged.offset, staged.sums))
