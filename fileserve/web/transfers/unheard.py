"""``unheard_since``: from when on nginx's log is to be read, by whoever begins to read it."""

import time
from collections.abc import Sequence
from contextlib import suppress

from fileserve.storage.errors import Unreadable
from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.offloaded import Offload, Offloaded
from fileserve.web.transfers.pieces import Piece, Subject
from fileserve.web.transfers.rows import ALL, Taken, read_rows
from fileserve.web.transfers.topics import ENDED, OFFLOADED, PIECES
from fileserve.web.workers.bus import Bus, Row

__all__ = ["unheard_since"]

MARGIN_S = 5.0  # of rows that are still on their way


async def unheard_since(bus: Bus) -> float:
    """Return when the first response began that is left to nginx and of whose end no row of *bus* tells."""
    rows: list[Row] = []
    with suppress(Unreadable):  # the bus says so in the log
        for topic in (OFFLOADED, PIECES, ENDED):
            rows += await bus.last(topic, ALL)
    return min([time.time(), *(piece.times[0] for piece in _waiting(rows))]) - MARGIN_S


def _waiting(rows: Sequence[Row]) -> Offloaded:
    waiting = Offloaded(TransferCounts())
    for _, told in read_rows(rows):
        match told:
            case Offload():
                waiting.add(told)
            case Taken(piece=Piece() as piece):
                waiting.forget(piece)
            case Subject():
                waiting.forget_all_of(told)
    return waiting
