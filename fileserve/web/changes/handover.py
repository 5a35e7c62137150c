"""An upload changes hands: a request that has fallen silent lets go of it when its client comes back.

One request writes to a session at a time. Where the network has swallowed a client, its request waits for content that
never comes, for as long as a stall may last, and the client, back on another connection, would find the session locked
meanwhile. So whoever asks for a session anew, and it is theirs, ends the request that holds it, as if its client had
left: what has arrived is on the disk before the session is free. That goes on between workers, by messages of the bus.

Policy: only a request that has brought nothing for two seconds lets go; who is sending goes on, and the other one is
told to wait (423). Servers that take over at once let two tabs with one file throw each other out for ever.

Where the server cannot end a connection for us (another one than ours), nobody lets go.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from starlette.types import Scope

from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.uploads import ResumedFile, Uploads
from fileserve.storage.errors import Locked
from fileserve.web.workers.bus import Bus

__all__ = ["Handover", "Held"]

SILENT_S = 2.0
PATIENCE_S = 5.0  # for what has arrived to be written
ANSWER_S = 2.0  # for another worker to say whether it has the session, or has let go of it


class Held:
    """A session that a request holds; *scope* is the request's. ``released`` is done once it holds it no more."""

    __slots__ = ("_hang_up", "_is_over", "_loop", "_waits_since_s", "released")

    def __init__(self, scope: Scope) -> None:
        self._hang_up: Callable[[], None] | None = scope.get("extensions", {}).get("fileserve", {}).get("hang_up")
        self._loop = asyncio.get_running_loop()
        self._waits_since_s: float | None = None
        self._is_over = False
        self.released: asyncio.Future[None] = self._loop.create_future()

    def wait(self) -> None:
        """Note that the request waits for its client from now on."""
        self._waits_since_s = self._loop.time()

    def hear(self) -> None:
        """Note that something has come, and is to be written."""
        self._waits_since_s = None

    def end(self) -> None:
        """Note that no more comes, and that what has come is only to be written."""
        self._is_over = True

    def let_go(self) -> bool:
        """End the request if its client is silent; return whether it is ending."""
        if self._is_over:
            return True
        since_s = self._waits_since_s
        if self._hang_up is None or since_s is None or self._loop.time() - since_s < SILENT_S:
            return False
        self._hang_up()
        return True


class Handover:
    """The sessions that requests of this worker hold, and the word with the other workers about theirs."""

    __slots__ = ("_asked", "_bus", "_held", "_uploads")

    def __init__(self, bus: Bus, uploads: Uploads) -> None:
        self._bus = bus
        self._uploads = uploads
        self._held: dict[str, Held] = {}
        self._asked: dict[str, set[asyncio.Future[None]]] = {}  # by who waits for an answer
        bus.listen(self._hear)

    @asynccontextmanager
    async def resumed(
        self, scope: Scope, session: Session, need: Need, *, is_checked: bool = False
    ) -> AsyncIterator[tuple[ResumedFile, Held]]:
        """Do what ``Uploads.resume`` does, after a silent request has let go. Raises ``Locked`` where none does."""
        held = Held(scope)
        try:
            async with AsyncExitStack() as stack:
                try:
                    staged = await stack.enter_async_context(self._uploads.resume(session, need, is_checked=is_checked))
                except Locked:
                    await self.free(session.id)
                    staged = await stack.enter_async_context(self._uploads.resume(session, need, is_checked=is_checked))
                self._held[session.id] = held
                try:
                    yield staged, held
                finally:
                    held.end()
        finally:
            if self._held.get(session.id) is held:
                del self._held[session.id]
            held.released.set_result(None)

    async def free(self, id: str) -> None:
        """Have whoever holds the session *id*, in any worker, let go of it if it is silent, and wait for that."""
        held = self._held.get(id)
        if held is not None:
            if held.let_go():
                await asyncio.wait((held.released,), timeout=PATIENCE_S)
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked = self._asked.setdefault(id, set())
        asked.add(answer)
        try:
            self._tell("let_go", id)
            await asyncio.wait((answer,), timeout=ANSWER_S)
        finally:
            asked.discard(answer)
            if not asked:
                del self._asked[id]

    async def nudge(self, session: Session) -> None:
        """Do the same, without waiting where nobody holds it."""
        if session.id in self._held or await self._uploads.is_locked(session):
            await self.free(session.id)

    def _hear(self, message: bytes) -> None:
        values: Any = None
        with suppress(ValueError):  # a worker of another version
            values = json.loads(message)
        match values:
            case {"let_go": str(id)} if (held := self._held.get(id)) is not None:
                if held.let_go():
                    held.released.add_done_callback(lambda _: self._tell("released", id))
                else:
                    self._tell("kept", id)
            case {"released": str(id)} | {"kept": str(id)}:
                for answer in self._asked.get(id, ()):
                    if not answer.done():
                        answer.set_result(None)

    def _tell(self, what: str, id: str) -> None:
        self._bus.broadcast(json.dumps({what: id}).encode())
