"""``unheard_since``: from when on nginx's log is to be read, by whoever begins to read it."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress

from fileserve.storage.errors import Unreadable
from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.offloaded import Offloaded, read_offload
from fileserve.web.transfers.pieces import Piece, read_piece
from fileserve.web.transfers.telling import subject_in
from fileserve.web.transfers.topics import ENDED, OFFLOADED, PIECES
from fileserve.web.workers.bus import Bus, Row

__all__ = ["unheard_since"]

ALL = 1_000_000
MARGIN_S = 5.0  # of rows that are still on their way


async def unheard_since(bus: Bus) -> float:
    """Return when the first response began that is left to nginx and of whose end no row of *bus* tells."""
    rows: list[Row] = []
    with suppress(Unreadable):  # the bus says so in the log
        for topic in (OFFLOADED, PIECES, ENDED):
            rows += await bus.last(topic, ALL)
    waiting = _waiting(sorted(rows, key=lambda row: row.id))
    return min([time.time(), *(piece.times[0] for piece in waiting)]) - MARGIN_S


def _waiting(rows: Sequence[Row]) -> Offloaded:
    waiting = Offloaded(TransferCounts())
    for row in rows:
        with suppress(ValueError):  # of another version
            if row.topic == ENDED:
                subject = subject_in(row.data)
                if subject is not None:
                    waiting.forget_all_of(subject)
            elif row.topic == PIECES:
                piece = read_piece(json.loads(row.data))
                if isinstance(piece, Piece):
                    waiting.forget(piece)
            elif (offload := read_offload(json.loads(row.data))) is not None:
                waiting.add(offload)
    return waiting
