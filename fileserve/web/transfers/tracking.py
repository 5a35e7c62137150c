"""``Tracking``: what one worker has to do with transfers, and how it speaks of them with the other workers.

Each worker has its `Progress`, a `Keeper` that works while it is the elected one, and a `Audience` for its subscribers.
Between them go rows of the bus, for what must not be lost, and datagrams: that somebody watches, what is under way, and
what the keeper shows. What nginx sends is told by a row when it is left to it; one of the workers that have nginx's log
reads there how that ended. A datagram is JSON, and its lists go in parts that fit.
"""

import asyncio
import itertools
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fileserve.semantics.plan import ResponsePlan
from fileserve.semantics.ranges import Span
from fileserve.web.transfers.audience import Audience
from fileserve.web.transfers.keeping import ELECTION_S, Keeper
from fileserve.web.transfers.live import Origin, begun
from fileserve.web.transfers.nginx_log import follow_log
from fileserve.web.transfers.offloaded import Offload, Offloaded
from fileserve.web.transfers.pieces import End, Piece, read_piece
from fileserve.web.transfers.progress import Progress
from fileserve.web.transfers.topics import OFFLOADED, PIECES
from fileserve.web.transfers.unheard import unheard_since
from fileserve.web.workers.bus import Bus

__all__ = ["Tracking"]

LOG = "nginx-log"  # the office of who reads it: also beside an elected worker that has none
PART = 48 * 1024  # characters of a datagram; the system takes some 200 KiB
T = TypeVar("T")


class Tracking:
    """The transfers of one worker, made in its loop. *window_s* is how long one goes on without a response.

    *nginx_log* is where nginx tells how what it has sent has ended; without it that stays unknown. More attributes
    than elsewhere: the three that do the work, and what it takes to speak for them to the other workers.
    """

    def __init__(self, bus: Bus, window_s: float, nginx_log: Path | None = None) -> None:
        self._bus = bus
        self._nginx_log = nginx_log
        self._offloads = itertools.count()
        self._worker = f"{os.getpid():x}{secrets.token_hex(4)}"
        self._parts = 0  # in which was told last what is under way
        self.progress = Progress(self, self._worker)
        self.keeper = Keeper(bus, self._worker, window_s, self._show, Offloaded(self.progress.counts, window_s))
        self.audience = Audience(bus, self._watch)
        self._work = [asyncio.ensure_future(self.keeper.run()), asyncio.ensure_future(self._read_log())]
        bus.listen(self._hear)

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches, in whatever worker."""
        return self.keeper.is_watched

    def tell_ended(self, pieces: Sequence[Piece]) -> None:
        """Take what has ended here."""
        for piece in pieces if not self.keeper.take(pieces) else ():
            self._bus.append(PIECES, _dumps(piece.to_json()))

    def tell_under_way(self, pieces: Sequence[Piece]) -> None:
        """Take all that is under way here."""
        self.keeper.report(self._worker, pieces)
        if self._bus.is_elected:
            return
        parts = list(_parts([_dumps(piece.to_json()) for piece in pieces]))
        for number in range(max(len(parts), self._parts)):
            listed = parts[number] if number < len(parts) else ()
            self._bus.broadcast(f'{{"under_way":["{self._worker}/{number}",[{",".join(listed)}]]}}'.encode())
        self._parts = len(parts)

    def offload(self, plan: ResponsePlan, origin: Origin) -> str:
        """Note that nginx is to send the one span of *plan*, and return by which id its log is to name that."""
        id = f"{self._worker}-n{next(self._offloads):x}"
        piece, span = begun(plan, origin, id, time.time()), plan.segments[0]
        if self._nginx_log is not None and isinstance(span, Span):
            self._bus.append(OFFLOADED, _dumps(Offload(piece, span).to_json()))
        else:
            self.progress.counts[piece.subject.route].add(End.UNKNOWN, 0, 0.0)
            self.tell_ended((replace(piece, end=End.UNKNOWN, is_offloaded=False),))
        return id

    async def close(self) -> None:
        """Tell of the last ends, and rest."""
        self.progress.close()
        for task in self._work:
            task.cancel()
        await asyncio.wait(self._work)
        await self.audience.close()

    async def _read_log(self) -> None:
        if self._nginx_log is not None:
            while not self._bus.holds(LOG):  # noqa: ASYNC110  the bus tells only who asks
                await asyncio.sleep(ELECTION_S)
            await follow_log(self._nginx_log, partial(unheard_since, self._bus), self.keeper.hear)

    def _watch(self) -> None:
        self.keeper.watch()
        self._bus.broadcast(b'{"watch":1}')

    def _show(self, states: Sequence[tuple[str, str]]) -> None:
        self.audience.update(self._worker, 0, 1, states)
        parts = list(_parts([json.dumps(state) for state in states])) or [[]]
        for number, listed in enumerate(parts):
            self._bus.broadcast(f'{{"shown":["{self._worker}",{number},{len(parts)},[{",".join(listed)}]]}}'.encode())

    def _hear(self, message: bytes) -> None:
        values: Any = None
        with suppress(ValueError):  # a worker of another version
            values = json.loads(message)
        match values:
            case {"watch": 1}:
                self.keeper.watch()
            case {"under_way": [worker, pieces]}:
                self.keeper.report(worker, [piece for piece in map(read_piece, pieces) if piece is not None])
            case {"shown": [keeper, part, parts, states]}:
                self.audience.update(keeper, part, parts, [(id, text) for id, text in states])


def _dumps(values: dict[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in lists that are as long as a datagram may be."""
    part: list[str] = []
    length = 0
    for text in texts:
        if part and length + len(text) > PART:
            yield part
            part, length = [], 0
        part.append(text)
        length += len(text) + 1
    if part:
        yield part
