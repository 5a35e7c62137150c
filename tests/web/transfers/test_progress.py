"""The responses of one worker: what is told of those under way, and how those that have ended did."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fileserve.records import request_id
from fileserve.semantics.plan import ResponsePlan, plan_download
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag
from fileserve.web.transfers import pieces, progress
from fileserve.web.transfers.live import Live, Origin
from fileserve.web.transfers.pieces import Backlog, End, Piece, Subject
from fileserve.web.transfers.progress import SMALL, Progress, Rhythm

LENGTH = 1000
REPRESENTATION = Representation(LENGTH, EntityTag("tag"), 0, "text/plain", "name")
PATIENCE_S = 10
SELDOM = 8


@dataclass
class Asked:
    """A request, with what the server tells of its response."""

    told: dict[str, Any] | None = None
    fields: dict[str, str] = field(default_factory=dict)
    name: tuple[bytes, ...] = (b"films", b"a\xff.mkv")
    address: str | None = "192.0.2.1"

    @property
    def scope(self) -> dict[str, Any]:
        return {"extensions": {"fileserve": self.told} if self.told is not None else {}}

    @property
    def origin(self) -> Origin:
        return self, "download"


@dataclass
class Sent:
    """A response of which *left* bytes are still to be handed over."""

    plan: ResponsePlan
    left: int = 0


def told(unsent: int | None = 0, unacknowledged: int = 0, lost: str | None = None) -> dict[str, Any]:
    return {"unsent": lambda: unsent, "unacknowledged": lambda: unacknowledged, "lost": lambda: lost}


def sent_of(asked: Asked, left: int = 0) -> Sent:
    return Sent(plan_download("GET", asked.fields, REPRESENTATION, boundary="boundary", now_s=10), left)


@dataclass
class Told:
    """Who is told; keeps it."""

    is_watched: bool = False
    ended: list[Piece] = field(default_factory=list)
    under_way: list[Sequence[Piece]] = field(default_factory=list)

    def tell_ended(self, pieces: Sequence[Piece]) -> None:
        self.ended += pieces

    def tell_under_way(self, pieces: Sequence[Piece]) -> None:
        self.under_way.append(pieces)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns follow each other at once."""
    monkeypatch.setattr(progress, "WATCHED", Rhythm(0, 1, 1, 1))
    monkeypatch.setattr(progress, "UNWATCHED", Rhythm(0, SELDOM, 1, 1))


async def rest(one: Progress) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while one._timer is not None:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)


class TestEnd:
    """How a response ended, by what the server tells of it."""

    @pytest.mark.parametrize(
        ("end", "told", "expected"),
        [
            pytest.param(None, told(), None, id="it_is_under_way"),
            pytest.param(End.TAKEN, told(), End.TAKEN, id="all_is_with_the_client"),
            pytest.param(End.TAKEN, told(unacknowledged=1), None, id="the_last_bytes_are_on_their_way"),
            pytest.param(End.TAKEN, told(unacknowledged=1, lost="left"), End.LEFT, id="they_never_arrive"),
            pytest.param(End.TAKEN, told(unacknowledged=1, lost="stalled"), End.STALLED, id="they_are_not_taken"),
            pytest.param(End.TAKEN, told(lost="left"), End.TAKEN, id="the_client_leaves_with_all_of_it"),
            pytest.param(End.TAKEN, told(unsent=None, lost="left"), End.LEFT, id="the_client_had_left_before_it_began"),
            pytest.param(End.TAKEN, told(unsent=1, lost="left"), End.LEFT, id="the_last_message_was_not_written"),
            pytest.param(End.LEFT, told(unsent=1, lost="left"), End.LEFT, id="the_client_left_in_the_middle"),
            pytest.param(End.LEFT, told(lost="left"), End.TAKEN, id="the_client_left_when_it_had_all"),
            pytest.param(End.LEFT, told(unsent=1, lost="stalled"), End.STALLED, id="the_client_took_nothing_more"),
            pytest.param(End.LEFT, told(unsent=1), End.LEFT, id="it_was_cancelled_before_the_connection_was_lost"),
            pytest.param(End.FAILED, told(unsent=1), End.FAILED, id="the_content_failed"),
            pytest.param(End.TAKEN, None, End.TAKEN, id="another_server_tells_nothing"),
            pytest.param(End.LEFT, None, End.LEFT, id="another_server_tells_of_who_left"),
            pytest.param(End.TAKEN, {"now_ns": None}, End.TAKEN, id="a_server_that_tells_less"),
        ],
    )
    def test_it_is_known(self, end: End | None, told: dict[str, Any] | None, expected: End | None) -> None:
        asked = Asked(told)
        live = Live(sent_of(asked), asked.origin, "id")
        if end is not None:
            live.account.close(end)
        assert live.account.settle() is expected

    def test_of_another_server_what_was_handed_over_counts_unless_the_client_left(self) -> None:
        asked = Asked()
        live = Live(sent_of(asked, left=400), asked.origin, "id")
        assert (live.account.settle(), live.account.taken) == (None, 600)
        live.account.close(End.LEFT)
        assert (live.account.settle(), live.account.taken) == (End.LEFT, 0)


@pytest.mark.parametrize(
    ("range_value", "taken", "spans", "first", "floor"),
    [
        pytest.param(None, 600, [(0, 600)], 0, 0, id="whole"),
        pytest.param("bytes=100-299", 150, [(100, 250)], 100, 0, id="range"),
        pytest.param("bytes=100-", 900, [(100, 1000)], 100, 100, id="resume"),
        pytest.param("bytes=0-", 600, [(0, 600)], 0, 0, id="all_by_a_range"),
        pytest.param("bytes=-100", 100, [(900, 1000)], 900, 0, id="suffix"),
        pytest.param("bytes=900-909,0-9", 10_000, [(900, 910), (0, 10)], 0, 0, id="several"),
        pytest.param("bytes=100-299", 0, [], 100, 0, id="nothing_taken"),
    ],
)
def test_a_piece_tells_what_was_taken(
    range_value: str | None, taken: int, spans: list[tuple[int, int]], first: int, floor: int
) -> None:
    asked = Asked(fields={"range": range_value} if range_value else {})
    sent = sent_of(asked)
    taken = min(taken, sent.plan.content_length)
    asked.told = told(unacknowledged=sent.plan.content_length - taken)
    piece = Live(sent, asked.origin, "id").piece(None, 5)
    assert piece.subject == Subject("192.0.2.1", "download", "films/a�.mkv", '"tag"', LENGTH)
    assert (piece.sent, piece.spans) == (taken, tuple(Span(*span) for span in spans))
    assert (piece.first, piece.floor) == (first, floor)


def test_a_client_without_an_address_and_a_name_without_components_are_told_too() -> None:
    asked = Asked(name=(), address=None)
    subject = Live(sent_of(asked), asked.origin, "id").subject
    assert (subject.client, subject.path) == ("unix", "name")


async def test_small_answers_are_told_in_the_next_turn_and_then_nothing_runs() -> None:
    teller, asked = Told(), Asked(told())
    one = Progress(teller, "worker")
    assert one._timer is None
    for _ in range(3):
        one.note(sent_of(asked), asked.origin)
    await rest(one)
    [piece] = teller.ended
    assert (piece.sent, piece.spans, piece.end, piece.ids) == (3 * LENGTH, (Span(0, LENGTH),), End.TAKEN, ())
    assert teller.under_way == []


async def test_small_answers_beyond_the_bound_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    teller, asked = Told(), Asked(told())
    one = Progress(teller, "worker")
    with caplog.at_level("INFO", logger="fileserve.transfers"):
        for _ in range(SMALL + 5):
            one.note(sent_of(asked), asked.origin)
        await rest(one)
    assert [piece.sent for piece in teller.ended] == [SMALL * LENGTH]
    assert caplog.messages == [f"5 more responses with {5 * LENGTH} bytes, too many at once"]


async def test_each_end_is_counted_once_also_of_those_that_are_told_together() -> None:
    asked = Asked(told())
    one = Progress(Told(), "worker")
    for _ in range(SMALL + 5):
        one.note(sent_of(asked), asked.origin)
    broken = Asked(told(unsent=400, lost="stalled"))
    one.finish(one.begin(sent_of(broken), (broken, "archive")), End.LEFT)
    going = Asked(told(unsent=900))
    one.begin(sent_of(going), going.origin)
    assert one.under_way()["download"] == (1, 100)
    one.close()
    download, archive = one.counts["download"], one.counts["archive"]
    assert (download.ends["taken"], download.ends["left"], download.sent) == (SMALL + 5, 1, (SMALL + 5) * LENGTH + 100)
    assert (archive.ends["stalled"], archive.sent) == (1, LENGTH - 400)
    assert (sum(download.durations), sum(archive.durations)) == (SMALL + 6, 1)
    assert set(one.under_way().values()) == {(0, 0)}


async def test_a_turn_is_of_no_request_and_a_piece_names_its_own() -> None:
    """What is logged in a turn would else be told of the request that happened to begin it."""
    seen: list[str] = []

    class Listening(Told):
        def tell_ended(self, pieces: Sequence[Piece]) -> None:
            seen.append(request_id.get())
            super().tell_ended(pieces)

    teller, asked = Listening(), Asked(told())
    one = Progress(teller, "worker")
    token = request_id.set("a-request")
    one.note(sent_of(asked), asked.origin)
    request_id.reset(token)
    await rest(one)
    [piece] = teller.ended
    assert piece.requests == ("a-request",)
    assert seen == [""]


async def test_a_small_answer_waits_for_the_client_to_take_it() -> None:
    untaken = [10]
    teller, asked = Told(), Asked(told() | {"unacknowledged": lambda: sum(untaken)})
    one = Progress(teller, "worker")
    one.note(sent_of(asked), asked.origin)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not teller.ended
    untaken.clear()
    await rest(one)
    assert len(teller.ended) == 1


async def test_who_watches_is_told_at_each_turn_and_others_seldom() -> None:
    teller, asked = Told(), Asked(told(unsent=500))
    one = Progress(teller, "worker")
    live = one.begin(sent_of(asked), asked.origin)
    for _ in range(4 * SELDOM):
        await asyncio.sleep(0)
    seldom = len(teller.under_way)
    teller.is_watched = True
    for _ in range(4 * SELDOM):
        await asyncio.sleep(0)
    assert 1 <= seldom < len(teller.under_way) - seldom
    assert [piece.ids for piece in teller.under_way[-1]] == [(live.id,)]
    one.finish(live, End.LEFT)
    await rest(one)
    [ended] = teller.ended
    assert ended.ids == (live.id,)  # so that it is no longer counted as under way
    assert (ended.end, ended.sent) == (End.LEFT, 500)


async def test_what_has_ended_is_told_as_under_way_until_its_row_is_there() -> None:
    """Or those who watch would see it shrink for a moment."""
    teller, asked = Told(is_watched=True), Asked(told(unsent=500))
    one = Progress(teller, "worker")
    live = one.begin(sent_of(asked), asked.origin)
    for _ in range(10):
        await asyncio.sleep(0)
    before = len(teller.under_way)
    one.finish(live, End.LEFT)
    await rest(one)
    [last] = teller.under_way[before:]
    assert [piece.ids for piece in last] == [(live.id,)]


async def test_what_is_under_way_at_the_end_of_the_server_is_told_as_left() -> None:
    teller, asked = Told(), Asked(told(unsent=500))
    one = Progress(teller, "worker")
    one.begin(sent_of(asked), asked.origin)
    one.close()
    [ended] = teller.ended
    assert (ended.end, ended.sent) == (End.LEFT, 500)


def test_a_backlog_tells_a_few_at_a_time_and_counts_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "WAITING", 3)
    monkeypatch.setattr(pieces, "TOLD", 2)
    backlog = Backlog()
    for number in range(5):
        subject = Subject(f"192.0.2.{number}", "download", "a", '"tag"', 10)
        for _ in range(2):
            backlog.add(Piece(subject, (), (0, 1), 0, 0, 10, (Span(0, 10),), End.TAKEN))
    assert [[piece.sent for piece in backlog.take()] for _ in range(3)] == [[20, 20], [20], []]
    assert backlog
    assert [backlog.take_counted() for _ in range(2)] == [(4, 40), (0, 0)]
    assert not backlog


@pytest.mark.parametrize("end", End)
@pytest.mark.parametrize("told_by_server", [None, told(), told(unsent=5, lost="left")])
async def test_a_response_that_ends_after_all_was_told_is_told_no_more(
    end: End, told_by_server: dict[str, Any] | None
) -> None:
    """It is cancelled when the drain is over, and may end only after that."""
    teller = Told()
    under_way = Progress(teller, "w")
    asked = Asked(told_by_server)
    live = under_way.begin(sent_of(asked), asked.origin)
    under_way.close()
    before = list(teller.ended)
    under_way.finish(live, end)
    under_way.close()
    assert teller.ended == before
    assert [piece.end for piece in before] == [End.LEFT]
    assert not under_way.live
