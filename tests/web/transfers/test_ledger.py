"""Pieces folded into logical transfers: what belongs together, when it ends, and how."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.ranges import Span
from fileserve.web.transfers.ledger import SILENCE_S, Ledger
from fileserve.web.transfers.logical import Outcome
from fileserve.web.transfers.pieces import REQUESTS, Backlog, End, Piece, Subject, read_piece

WINDOW_S = 60.0
FILE = Subject("192.0.2.1", "download", "films/a.mkv", '"tag"', 100)
OTHER = Subject("192.0.2.2", "download", "films/a.mkv", '"tag"', 100)


def piece(
    start: int,
    stop: int,
    end: End | None = End.TAKEN,
    *,
    at: tuple[float, float] = (0, 1),
    subject: Subject = FILE,
    resumes: bool = False,
    first: int | None = None,
    id: str = "1",
) -> Piece:
    first = start if first is None else first
    return Piece(subject, (id,), at, first, first if resumes else 0, stop - start, (Span(start, stop),), end)


def outcomes(ledger: Ledger, now_s: float) -> list[Outcome]:
    return [outcome for _, outcome in ledger.end(now_s)]


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        pytest.param([piece(0, 100)], Outcome.COMPLETE, id="one_response_with_everything"),
        pytest.param([piece(0, 60), piece(40, 100)], Outcome.COMPLETE, id="overlapping_ranges"),
        pytest.param([piece(90, 100), piece(0, 90)], Outcome.COMPLETE, id="ranges_out_of_order"),
        pytest.param([piece(0, 60, End.LEFT), piece(60, 100)], Outcome.COMPLETE, id="resumed_in_time"),
        pytest.param([piece(0, 100), piece(0, 9, End.LEFT)], Outcome.COMPLETE, id="what_is_covered_stays_so"),
        pytest.param([piece(60, 100, resumes=True)], Outcome.COMPLETE, id="everything_from_where_an_earlier_one_ended"),
        pytest.param([piece(0, 50, End.FAILED)], Outcome.FAILED, id="content_that_changed"),
    ],
)
def test_an_end_that_is_known_at_once(pieces: list[Piece], outcome: Outcome) -> None:
    ledger = Ledger(WINDOW_S)
    for one in pieces:
        ledger.take(one)
    assert outcomes(ledger, 1) == [outcome]
    assert len(ledger) == 0


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        pytest.param([piece(0, 60, End.LEFT)], Outcome.ABORTED, id="a_client_that_left"),
        pytest.param([piece(0, 60, End.STALLED)], Outcome.STALLED, id="a_client_that_took_nothing_more"),
        pytest.param([piece(0, 60)], Outcome.EXPIRED, id="the_rest_was_never_asked_for"),
        pytest.param([piece(60, 100)], Outcome.EXPIRED, id="a_range_at_the_end_is_no_resume"),
        pytest.param([piece(60, 99, End.LEFT, resumes=True)], Outcome.ABORTED, id="a_resume_that_was_broken_off"),
        pytest.param([piece(60, 100, resumes=True), piece(20, 30)], Outcome.EXPIRED, id="more_was_asked_for_later"),
        pytest.param(
            [piece(0, 9, End.LEFT), piece(20, 30, at=(0, 1.5))], Outcome.ABORTED, id="connections_that_end_together"
        ),
        pytest.param([piece(0, 9, End.LEFT), piece(20, 30, at=(0, 9))], Outcome.EXPIRED, id="the_last_end_counts"),
    ],
)
def test_an_end_that_shows_when_nothing_follows(pieces: list[Piece], outcome: Outcome) -> None:
    ledger = Ledger(WINDOW_S)
    for one in pieces:
        ledger.take(one)
    last_s = max(one.times[1] for one in pieces)
    assert outcomes(ledger, last_s + WINDOW_S - 0.1) == []
    assert ledger.next_end_s() == last_s + WINDOW_S
    assert outcomes(ledger, last_s + WINDOW_S) == [outcome]


def test_a_resume_after_the_end_is_a_new_one_that_tells_from_where() -> None:
    ledger = Ledger(WINDOW_S)
    ledger.take(piece(0, 60, End.LEFT))
    [(before, _)] = ledger.end(100)
    ledger.take(piece(60, 100, at=(200, 210), resumes=True))
    [(after, outcome)] = ledger.end(210)
    assert (before.first, after.first, outcome) == (0, 60, Outcome.COMPLETE)
    assert before.id != after.id


def test_other_clients_and_other_content_are_other_transfers() -> None:
    ledger = Ledger(WINDOW_S)
    changed = Subject(FILE.client, FILE.route, FILE.path, '"other"', FILE.length)
    for subject in (FILE, OTHER, changed):
        ledger.take(piece(0, 50, subject=subject))
    assert len(ledger) == 3


def test_what_is_under_way_keeps_it_open() -> None:
    ledger = Ledger(WINDOW_S)
    ledger.take(piece(0, 100))
    for now_s in range(0, 200, 5):
        ledger.report("worker", [piece(0, 10, None, id="2")], now_s)
        assert outcomes(ledger, now_s) == []
    ledger.report("worker", [], 200)
    assert outcomes(ledger, 200) == [Outcome.COMPLETE]


def test_a_piece_that_ends_is_no_longer_under_way() -> None:
    """Its row may come before its worker's next report."""
    ledger = Ledger(WINDOW_S)
    ledger.report("worker", [piece(0, 99, None)], 0)
    ledger.take(piece(0, 100))
    [(transfer, state)] = ledger.states(1)
    assert (state.connections, state.sent) == (0, 100)
    assert outcomes(ledger, 1) == [Outcome.COMPLETE]
    assert transfer.sent == 100


def test_what_was_under_way_in_a_worker_that_died_is_aborted() -> None:
    ledger = Ledger(WINDOW_S)
    ledger.take(piece(0, 50))
    ledger.report("worker", [piece(50, 60, None)], 10)
    assert ledger.next_end_s() == 10 + SILENCE_S
    assert outcomes(ledger, 10 + SILENCE_S) == []
    assert outcomes(ledger, 11 + SILENCE_S) == []
    assert outcomes(ledger, 10 + WINDOW_S) == [Outcome.ABORTED]


@pytest.mark.parametrize("set_by_s", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_clock_that_is_set_is_no_time_that_passes(set_by_s: float) -> None:
    """Neither a worker's silence nor the time in which a download may be resumed."""
    ledger = Ledger(WINDOW_S)
    ledger.set_clock(1000, 5)
    ledger.report("worker", [piece(0, 9, None)], 1000)
    ledger.take(piece(0, 60, End.LEFT, at=(1000, 1000), subject=OTHER, id="2"))
    ledger.set_clock(1001 + set_by_s, 6)
    assert outcomes(ledger, 1001 + set_by_s) == []
    ledger.set_clock(1000 + SILENCE_S + set_by_s, 5 + SILENCE_S)
    ledger.report("worker", [], 1000 + SILENCE_S + set_by_s)
    ledger.take(piece(0, 100, at=(1000, 1000 + SILENCE_S + set_by_s)))
    assert outcomes(ledger, 1000 + SILENCE_S + set_by_s) == [Outcome.COMPLETE]
    ledger.set_clock(1000 + WINDOW_S + set_by_s, 5 + WINDOW_S)
    assert outcomes(ledger, 1000 + WINDOW_S + set_by_s) == [Outcome.ABORTED]


def test_a_clock_that_is_a_little_off_is_not_set() -> None:
    ledger = Ledger(WINDOW_S)
    ledger.set_clock(1000, 5)
    ledger.take(piece(0, 60, End.LEFT, at=(1000, 1000)))
    ledger.set_clock(1000.5, 5.1)
    assert outcomes(ledger, 1000 + WINDOW_S) == [Outcome.ABORTED]


def test_the_state_tells_of_all_workers() -> None:
    ledger = Ledger(WINDOW_S)
    ledger.take(piece(0, 10))
    ledger.report("one", [piece(10, 20, None, id="a"), piece(30, 40, None, id="b")], 1)
    ledger.report("two", [piece(35, 45, None, id="c")], 1)
    [(transfer, state)] = ledger.states(1)
    assert (state.sent, state.connections) == (40, 3)
    assert state.coverage.spans == (Span(0, 20), Span(30, 45))
    assert transfer.coverage.spans == (Span(0, 10),)  # the others may still fail


def test_the_rate_is_that_of_the_last_seconds() -> None:
    ledger = Ledger(WINDOW_S)
    rates = []
    for now_s in range(1, 31):
        sent = 4 * min(now_s, 10)
        ledger.report("worker", [piece(0, sent, None)], now_s)
        [(_, state)] = ledger.states(now_s)
        rates.append(state.rate)
    assert rates[9] == pytest.approx(4)
    assert rates[12] < 2
    assert rates[29] < 0.1


@given(st.permutations([piece(at, at + 10, at=(at, at + 5)) for at in range(0, 100, 10)]))
def test_the_order_of_rows_decides_nothing(pieces: Sequence[Piece]) -> None:
    ledger = Ledger(WINDOW_S)
    for one in pieces:
        assert outcomes(ledger, 1) == []
        ledger.take(one)
    [(transfer, outcome)] = ledger.end(1)
    assert (transfer.sent, transfer.coverage.covered, outcome) == (100, 100, Outcome.COMPLETE)


class TestBound:
    def test_the_one_without_a_response_for_the_longest_time_ends_early(self) -> None:
        ledger = Ledger(WINDOW_S, most=3)
        subjects = [Subject(f"192.0.2.{number}", "download", "a", '"tag"', 100) for number in range(4)]
        ledger.take(piece(0, 10, End.LEFT, subject=subjects[0], at=(0, 5)))
        ledger.take(piece(0, 10, End.LEFT, subject=subjects[1], at=(0, 3)))
        ledger.report("worker", [piece(0, 1, None, subject=subjects[2], at=(0, 0), id="live")], 1)
        ledger.take(piece(0, 10, subject=subjects[3], at=(6, 6)))
        [(transfer, outcome)] = ledger.end(6)
        assert (transfer.subject, outcome) == (subjects[1], Outcome.ABORTED)
        assert ledger.refused == 0

    def test_where_all_have_one_the_new_are_counted(self) -> None:
        ledger = Ledger(WINDOW_S, most=1)
        ledger.report("worker", [piece(0, 1, None, id="2"), piece(0, 1, None, subject=OTHER, id="3")], 1)
        ledger.take(piece(0, 10, subject=OTHER))
        assert (len(ledger), ledger.refused) == (1, 1)
        assert outcomes(ledger, 1) == []


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(piece(0, 10), id="piece"),
        pytest.param(piece(0, 10, None), id="under_way"),
    ],
)
def test_what_is_told_is_read_again(told: Piece) -> None:
    assert read_piece(told.to_json()) == told


@pytest.mark.parametrize("values", [{}, [], None, {"others": 1}, {"subject": []}, piece(0, 1).to_json() | {"end": "x"}])
def test_what_is_something_else_is_passed_over(values: object) -> None:
    assert read_piece(values) is None


def test_pieces_that_are_joined_tell_the_same() -> None:
    one, other = piece(50, 60, at=(1, 3), id="b"), piece(0, 50, at=(0, 2), id="a")
    assert join([one, other]) == Piece(FILE, ("b", "a"), (0, 3), 0, 0, 60, (Span(0, 60),), End.TAKEN)


def test_the_last_requests_are_told() -> None:
    ledger = Ledger(WINDOW_S)
    pieces = [replace(piece(one, one + 1), requests=(f"request-{one}",)) for one in range(100)]
    ledger.take(join(pieces[:50]))
    for one in pieces[50:]:
        ledger.take(one)
    [(transfer, _)] = ledger.end(1)
    assert transfer.requests == tuple(f"request-{one}" for one in range(100 - REQUESTS, 100))
    assert len(join(pieces).requests) == REQUESTS
    assert read_piece(pieces[0].to_json()) == pieces[0]
    old = pieces[0].to_json()
    del old["requests"]
    assert read_piece(old) == replace(pieces[0], requests=())


def join(pieces: Sequence[Piece]) -> Piece:
    backlog = Backlog()
    for ended in pieces:
        backlog.add(ended)
    [joined] = backlog.take()
    return joined
