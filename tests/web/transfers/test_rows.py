"""What rows of transfers tell, and that rows of another version tell nothing and hide nothing."""

import json
from typing import Any

import pytest

from fileserve.semantics.ranges import Span
from fileserve.web.transfers.logical import LogicalTransfer, Outcome, Pace
from fileserve.web.transfers.offloaded import LogLine, Offload
from fileserve.web.transfers.pieces import End, Piece, Subject
from fileserve.web.transfers.rows import Taken, read_rows
from fileserve.web.transfers.telling import told_of_end
from fileserve.web.transfers.topics import ENDED, LOGGED, OFFLOADED, PIECES
from fileserve.web.workers.bus import Row

FILE = Subject("192.0.2.1", "download", "films/a.mkv", '"tag"', 100)
PIECE = Piece(FILE, ("1a-1",), (1.0, 2.0), 0, 0, 100, (Span(0, 100),), End.TAKEN)
OFFLOAD = Offload(Piece(FILE, ("1a-n2",), (1.0, 1.0), 0, 0, 0, (), is_offloaded=True), Span(0, 100))
LINE = LogLine("1a-n2", 3.0, 206, "bytes 0-99/100", 100, True, True)


def test_rows_are_read_as_they_were_written_and_in_their_order() -> None:
    transfer = LogicalTransfer(FILE, 1.0, 0, 0, Pace(0, 1.0), (2.0, End.TAKEN))
    written: dict[str, list[Any]] = {
        PIECES: [PIECE.to_json(), PIECE.to_json() | {"kept": "worker"}],
        OFFLOADED: [OFFLOAD.to_json()],
        LOGGED: [[LINE.to_json()], []],
        ENDED: [told_of_end(transfer, Outcome.COMPLETE)],
    }
    pairs = [(topic, json.dumps(values)) for topic, rows in written.items() for values in rows]
    rows = [Row(number, topic, data) for number, (topic, data) in enumerate(pairs)]
    assert list(read_rows(reversed(rows))) == list(
        zip(
            rows,
            [Taken(PIECE, None), Taken(PIECE, "worker"), OFFLOAD, (LINE,), (), FILE],
            strict=True,
        )
    )


@pytest.mark.parametrize("topic", [PIECES, OFFLOADED, LOGGED, ENDED])
@pytest.mark.parametrize("data", ["", "nonsense", "1", "null", '["x"]', '[["x"]]', '{"x": 1}'])
def test_rows_of_another_version_tell_nothing(topic: str, data: str) -> None:
    other, known = Row(1, topic, data), Row(2, LOGGED, "[]")
    assert list(read_rows([other, known])) == [(other, None), (known, ())]
