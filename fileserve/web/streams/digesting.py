"""``GET /events/checksum/{path}``: how far a file's SHA-256 has come, and then the digest, as events.

Unnamed messages tell the progress, four times a second at the most; ``checkpoint`` events each tenth of the file;
``done`` the digest. What is known is ``done`` at once. All who ask for the same file wait for one computation, and it
ends with the last of them. An id is a short hash of the file's state, and the tenths that were told: who reconnects is
not told them again, and ``reset`` says that the file has changed meanwhile.

After ``done`` the stream ends. An EventSource would come back; it is to be closed then, and one that does come back has
nothing left to be told.
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from fileserve.storage.computation import Computation
from fileserve.storage.index import Digests, identity
from fileserve.storage.names import display_name
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.web.routes import NameRequest
from fileserve.web.streams.events import Event, Source, reset

PACE_S = 0.25
TENTHS = 10
DONE = "done"
_TOLD = re.compile(r"[0-9]|10|done")


async def open_progress(request: NameRequest, given: str | None) -> Source | None:
    """Return the progress of the file's digest after the event *given*; ``None``: its digest was told.

    Raises ``Busy`` at the limit of computations.
    """
    opened = await request.site.root.open(request.name)
    try:
        return await _open(request, opened, given)
    finally:
        opened.close()  # a computation has a descriptor of its own


async def _open(request: NameRequest, opened: OpenFile, given: str | None) -> Source | None:
    state = _state(opened.status)
    told = _told(given, state)
    if told == DONE:
        return None
    first = () if given is None or told is not None else (reset(f"{state}-0"),)
    name = display_name(request.name[-1])
    digests = await request.site.digests.checksums.find(opened.status)
    if digests is not None:
        return _Known(f"{state}-{told or 0}", (*first, _done(state, name, digests)))
    held = AsyncExitStack()
    computation = await held.enter_async_context(request.site.digests.checksums.watch(opened, request.client))
    return _Progress(state, name, computation, held, int(told or 0), first)


class _Known:
    """Events that are there already, and no others."""

    def __init__(self, start: str, events: Sequence[Event]) -> None:
        self.start = start
        self._events = events

    async def next(self) -> Sequence[Event]:
        """Return them, and then none."""
        events, self._events = self._events, ()
        return events

    async def close(self) -> None:
        """Do nothing: nothing is held."""


class _Progress:
    """The events of a computation, of which the first *told* tenths are known to the client. Owns what is *held*."""

    def __init__(
        self,
        state: str,
        name: str,
        computation: Computation,
        held: AsyncExitStack,
        told: int,
        first: Sequence[Event],
    ) -> None:
        self._state = state
        self._name = name
        self._computation = computation
        self._held = held
        self._told: int | None = told  # None: everything is
        self._first = first
        self._began_s = time.monotonic()

    @property
    def start(self) -> str:
        """The id with what the client knows already."""
        return f"{self._state}-{self._told}"

    async def next(self) -> Sequence[Event]:
        """Return how far it has come since the last time; raise what the computation ends in."""
        if self._told is None:
            return ()
        first, self._first = self._first, ()
        if first:
            return first
        computation = self._computation
        await asyncio.wait((computation.done,), timeout=PACE_S)
        if not computation.done.done():
            return self._progress(computation.hashed)
        digests = await computation.result()
        events = [*self._progress(computation.size), _done(self._state, self._name, digests)]
        self._told = None
        return events

    async def close(self) -> None:
        """Leave the computation."""
        await self._held.aclose()

    def _progress(self, hashed: int) -> list[Event]:
        """Return the checkpoints that were passed, and a message of *hashed* bytes."""
        size, told = self._computation.size, self._told or 0
        tenths = TENTHS * hashed // size if size else TENTHS
        events = [
            Event(self._data(hashed, 100 / TENTHS * tenth), f"{self._state}-{tenth}", "checkpoint")
            for tenth in range(told + 1, tenths + 1)
        ]
        self._told = max(told, tenths)
        progress = 100 * hashed / size if size else 100.0
        return [*events, Event(self._data(hashed, progress), f"{self._state}-{self._told}")]

    def _data(self, hashed: int, progress: float) -> str:
        passed_s = time.monotonic() - self._began_s
        return json.dumps({"step": hashed, "progress": round(progress, 1), "time": round(passed_s, 3)})


def _done(state: str, name: str, digests: Digests) -> Event:
    return Event(json.dumps({"sha256": digests.sha256.hex(), "name": name}), f"{state}-{DONE}", DONE)


def _state(status: FileStatus) -> str:
    """Return a short hash of what tells this state of a file from every other."""
    return hashlib.sha256(repr(identity(status)).encode()).hexdigest()[:16]


def _told(given: str | None, state: str) -> str | None:
    """Return what of *state* the client was told: tenths or ``done``; ``None``: nothing that its id tells."""
    of, _, told = (given or "").rpartition("-")
    return told if of == state and _TOLD.fullmatch(told) else None
