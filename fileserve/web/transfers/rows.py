"""``read_rows``: what the rows of transfers tell, whichever worker has written them.

Rows outlive the server that wrote them: what another version has written, and is not understood, tells nothing.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from fileserve.web.transfers.offloaded import LogLine, Offload, read_offload
from fileserve.web.transfers.pieces import Piece, Subject, read_piece
from fileserve.web.transfers.telling import read_subject
from fileserve.web.transfers.topics import ENDED, LOGGED, OFFLOADED, PIECES
from fileserve.web.workers.bus import Row

__all__ = ["ALL", "Taken", "Told", "read_rows"]

ALL = 1_000_000  # rows of a topic: more are not kept


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken in responses that have ended. The worker *kept_by* has folded it, and tells whoever follows."""

    piece: Piece
    kept_by: str | None


#: Responses that have ended, one that is left to nginx, lines of its log, or whose logical transfer has ended.
Told: TypeAlias = Taken | Offload | tuple[LogLine, ...] | Subject


def read_rows(rows: Iterable[Row]) -> Iterator[tuple[Row, Told | None]]:
    """Yield *rows* in their order, each with what it tells; ``None``: nothing that this version understands."""
    for row in sorted(rows, key=lambda row: row.id):
        told = None
        with suppress(ValueError, TypeError):
            told = _READ[row.topic](json.loads(row.data))
        yield row, told


def _read_taken(values: Any) -> Taken | None:
    piece = read_piece(values)
    return Taken(piece, values.get("kept")) if piece is not None else None


def _read_lines(values: Any) -> tuple[LogLine, ...]:
    return tuple(LogLine(*line) for line in values)


_READ: dict[str, Callable[[Any], Told | None]] = {
    PIECES: _read_taken,
    OFFLOADED: read_offload,
    LOGGED: _read_lines,
    ENDED: read_subject,
}
