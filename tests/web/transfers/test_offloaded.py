"""What nginx sends, from its log: what a line says of a response, and what is no line."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.ranges import Span
from fileserve.web.transfers.counts import TransferCounts
from fileserve.web.transfers.ledger import Ledger
from fileserve.web.transfers.logical import Outcome
from fileserve.web.transfers.nginx_log import LONGEST, parse_line
from fileserve.web.transfers.offloaded import LINES, PATIENCE_S, LogLine, Offload, Offloaded, read_offload
from fileserve.web.transfers.pieces import End, Piece, Subject

FILE = Subject("192.0.2.1", "download", "films/a.mkv", '"tag"', 100)
ID = "1a2b3c4d5e-n7"
NOW_S = 1_790_000_000.0
LINE: dict[str, Any] = {
    "transfer": ID,
    "status": 206,
    "range": "bytes 20-99/100",
    "sent": 80,
    "completion": "OK",
    "same": 1,
    "at": 1_789_999_999.5,
}


def offload(start: int = 20, stop: int = 100, id: str = ID, began_s: float = 0.0) -> Offload:
    return Offload(Piece(FILE, (id,), (began_s, began_s), start, 0, 0, (), is_offloaded=True), Span(start, stop))


def line(**given: Any) -> LogLine:
    return parse(LINE | given)


def parse(values: dict[str, Any]) -> LogLine:
    found = parse_line(json.dumps(values).encode(), NOW_S)
    assert found is not None
    return found


def heard(line: LogLine, *waiting: Offload) -> Piece | None:
    offloaded = Offloaded(TransferCounts())
    for one in waiting:
        assert offloaded.add(one) is None
    return offloaded.hear(line)


@pytest.mark.parametrize(
    ("given", "span", "expected"),
    [
        pytest.param({}, (20, 100), (End.TAKEN, 80, [(20, 100)]), id="whole_range"),
        pytest.param({"sent": 5, "completion": ""}, (20, 100), (End.LEFT, 5, [(20, 25)]), id="client_left"),
        pytest.param({"sent": 0, "completion": ""}, (20, 100), (End.LEFT, 0, []), id="client_left_at_once"),
        pytest.param({"sent": 80, "completion": ""}, (20, 100), (End.LEFT, 80, [(20, 100)]), id="left_at_the_end"),
        pytest.param({"sent": 5}, (20, 100), (End.LEFT, 5, [(20, 25)]), id="complete_and_short"),
        pytest.param({"sent": 99}, (20, 100), (End.TAKEN, 80, [(20, 100)]), id="more_than_was_asked_for"),
        pytest.param({"status": 499, "sent": 0, "range": ""}, (20, 100), (End.LEFT, 0, []), id="left_before"),
        pytest.param({"same": 0}, (20, 100), (End.FAILED, 80, []), id="another_file"),
        pytest.param({"range": "bytes 0-99/100"}, (20, 100), (End.FAILED, 80, []), id="another_range"),
        pytest.param({"range": "bytes 20-99/101"}, (20, 100), (End.FAILED, 80, []), id="another_length"),
        pytest.param({"status": 200, "range": ""}, (20, 100), (End.FAILED, 80, []), id="whole_instead_of_a_range"),
        pytest.param({"status": 416, "range": "bytes */5"}, (20, 100), (End.FAILED, 80, []), id="unsatisfiable"),
        pytest.param({"status": 200, "sent": 100}, (0, 100), (End.TAKEN, 100, [(0, 100)]), id="whole"),
        pytest.param({"status": 200, "sent": 7, "completion": ""}, (0, 100), (End.LEFT, 7, [(0, 7)]), id="part"),
    ],
)
def test_a_line_says_how_a_response_has_ended(
    given: dict[str, Any], span: tuple[int, int], expected: tuple[End, int, list[tuple[int, int]]]
) -> None:
    piece = heard(line(**given), offload(*span))
    assert piece is not None
    assert (piece.end, piece.sent, [(one.start, one.stop) for one in piece.spans]) == expected
    assert (piece.subject, piece.ids, piece.times[1]) == (FILE, (ID,), 1_789_999_999.5)
    assert not piece.is_offloaded


def test_what_nginx_gives_back_has_sent_nothing() -> None:
    piece = heard(parse({"transfer": ID, "returned": 1}), offload())
    assert piece is not None
    assert (piece.end, piece.sent, piece.spans) == (End.TAKEN, 0, ())


def test_a_line_that_comes_before_its_row_waits_for_it() -> None:
    offloaded = Offloaded(TransferCounts())
    assert offloaded.hear(line()) is None
    ended = offloaded.add(offload())
    assert ended is not None
    assert ended.end is End.TAKEN
    assert list(offloaded) == []


def test_a_line_that_is_read_again_says_nothing_new() -> None:
    offloaded = Offloaded(TransferCounts())
    offloaded.add(offload())
    assert offloaded.hear(line()) is not None
    assert offloaded.hear(line()) is None


def test_of_too_many_lines_that_nobody_waits_for_the_oldest_are_forgotten() -> None:
    offloaded = Offloaded(TransferCounts())
    for number in range(LINES + 1):
        offloaded.hear(line(transfer=f"1a2b3c4d5e-n{number:x}"))
    assert offloaded.add(offload(id="1a2b3c4d5e-n0")) is None
    assert offloaded.add(offload(id="1a2b3c4d5e-n1")) is not None


def test_of_too_many_responses_the_oldest_is_given_up() -> None:
    offloaded = Offloaded(TransferCounts(), most=2)
    assert [offloaded.add(offload(id=f"1a2b3c4d5e-n{number}")) for number in range(2)] == [None, None]
    given_up = offloaded.add(offload(id="1a2b3c4d5e-n2"))
    assert given_up is not None
    assert (given_up.ids, given_up.end, given_up.sent) == (("1a2b3c4d5e-n0",), End.UNKNOWN, 0)


def test_after_a_day_nobody_waits() -> None:
    offloaded = Offloaded(TransferCounts())
    assert offloaded.next_end_s() == math.inf
    offloaded.add(offload(began_s=5.0))
    offloaded.add(offload(began_s=6.0, id="1a2b3c4d5e-n8"))
    assert offloaded.next_end_s() == 5.0 + PATIENCE_S
    assert list(offloaded.expire(4.0 + PATIENCE_S)) == []
    assert [piece.end for piece in offloaded.expire(5.5 + PATIENCE_S)] == [End.UNKNOWN]
    assert len(list(offloaded)) == 1


def test_what_has_ended_otherwise_is_not_waited_for() -> None:
    offloaded = Offloaded(TransferCounts())
    offloaded.add(offload())
    offloaded.add(offload(id="1a2b3c4d5e-n8"))
    offloaded.forget(offload().ended(5, End.LEFT, 1.0))
    assert [piece.ids for piece in offloaded] == [("1a2b3c4d5e-n8",)]
    offloaded.forget_all_of(FILE)
    assert list(offloaded) == []


def test_a_row_is_read_as_it_was_written() -> None:
    assert read_offload(json.loads(json.dumps(offload().to_json()))) == offload()
    for values in ({}, {"others": [1, 2]}, offload().piece.to_json(), offload().to_json() | {"ids": []}):
        assert read_offload(values) is None


def test_the_ledger_shows_how_many_connections_tell_nothing_and_no_rate() -> None:
    ledger = Ledger(60.0)
    ledger.take(Piece(FILE, ("1",), (0, 1), 0, 0, 20, (Span(0, 20),), End.TAKEN))
    ledger.report("nginx", [offload().piece], math.inf)
    [(_, state)] = ledger.states(1e9)
    assert (state.connections, state.offloaded, state.sent, state.rate) == (1, 1, 20, 0.0)
    assert list(ledger.end(1e9)) == []  # however long it takes
    ledger.take(offload().ended(0, End.UNKNOWN, 1e9))
    assert [outcome for _, outcome in ledger.end(1e9 + 60)] == [Outcome.UNKNOWN]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"127.0.0.1 - - GET / 200", id="another_format"),
        pytest.param(json.dumps(LINE).encode()[:-1], id="cut"),
        pytest.param(json.dumps(LINE).encode() + b"}", id="more"),
        pytest.param(b"[" * 500, id="deep"),
        pytest.param(b"\xff\xfe" * 20, id="no_utf8"),
        pytest.param(b'"' + b"x" * LONGEST + b'"', id="long"),
        pytest.param(json.dumps(LINE).encode() + b" " * LONGEST, id="long_for_nothing"),
        *(
            pytest.param(json.dumps({**LINE, **wrong}).encode(), id=f"wrong_{number}")
            for number, wrong in enumerate[dict[str, Any]](
                [
                    {"transfer": ""},
                    {"transfer": 7},
                    {"transfer": "../" + ID},
                    {"transfer": ID + "\n"},
                    {"status": "200"},
                    {"status": 99},
                    {"status": 1e9},
                    {"range": None},
                    {"range": "bytes 0-" + "9" * 30 + "/1"},
                    {"range": "<script>"},
                    {"sent": -1},
                    {"sent": 10**30},
                    {"sent": 1.5},
                    {"completion": "yes"},
                    {"same": 2},
                    {"same": "1"},
                    {"at": "now"},
                    {"at": None},
                    {"more": 1},
                    {"returned": 1},
                ]
            )
        ),
        pytest.param(json.dumps({"transfer": ID, "returned": 2}).encode(), id="returned_otherwise"),
        pytest.param(json.dumps({"transfer": ID}).encode(), id="only_an_id"),
    ],
)
def test_what_is_no_line_says_nothing(text: bytes) -> None:
    assert parse_line(text, NOW_S) is None


@pytest.mark.parametrize("at_s", ["NaN", "Infinity", "-5.0", "0.0", "99999999999.0"])
def test_a_time_that_cannot_be_is_now(at_s: str) -> None:
    found = parse_line(json.dumps(LINE).encode().replace(b"1789999999.5", at_s.encode()), NOW_S)
    assert found is not None
    assert found.at_s == NOW_S


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_anything_is_read_without_a_crash(text: bytes) -> None:
    assert parse_line(text, NOW_S) is None


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(st.fixed_dictionaries({name: VALUES | st.just(value) for name, value in LINE.items()}))
def test_whatever_a_line_says_its_piece_keeps_to_the_response(values: dict[str, Any]) -> None:
    found = parse_line(json.dumps(values).encode(), NOW_S)
    piece = heard(found, offload()) if found is not None else None
    if piece is not None:
        assert all(20 <= span.start < span.stop <= 100 for span in piece.spans)
        assert 0.0 <= piece.times[1] <= NOW_S


def test_ends_are_counted_where_they_are_heard_and_what_nginx_gives_back_where_it_is_sent() -> None:
    counts = TransferCounts()
    offloaded = Offloaded(counts, most=1)
    offloaded.add(offload())
    offloaded.hear(line())
    offloaded.add(offload(id="1a2b3c4d5e-n8"))
    offloaded.hear(parse({"transfer": "1a2b3c4d5e-n8", "returned": 1}))
    offloaded.add(offload(id="1a2b3c4d5e-n9"))
    offloaded.add(offload(id="1a2b3c4d5e-na"))
    ends = {end: count for end, count in counts["download"].ends.items() if count}
    assert (ends, counts["download"].sent) == ({"taken": 1, "unknown": 1}, 80)
