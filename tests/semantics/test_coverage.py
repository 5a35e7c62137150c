"""Which bytes a client has got: a set of positions, told in spans."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.coverage import Coverage, taken_spans
from fileserve.semantics.plan import Segment, plan_download
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

LENGTH = 300
positions = st.integers(0, 30)  # so few that spans often meet
spans = st.tuples(positions, positions).map(lambda pair: Span(min(pair), max(pair)))


def positions_of(some: list[Span] | tuple[Span, ...]) -> set[int]:
    return {position for span in some for position in range(span.start, span.stop)}


@given(st.lists(spans, max_size=40))
def test_what_was_added_is_covered_and_nothing_else(added: list[Span]) -> None:
    coverage, expected = Coverage(added), positions_of(added)
    assert positions_of(coverage.spans) == expected
    assert coverage.covered == len(expected)


@given(st.lists(spans, max_size=40))
def test_the_spans_are_in_order_and_neither_overlap_nor_touch(added: list[Span]) -> None:
    told = Coverage(added).spans
    assert all(span.length > 0 for span in told)
    assert all(left.stop < right.start for left, right in pairwise(told))


@given(st.lists(spans, max_size=20), spans)
def test_covers_asks_for_all_of_a_span(added: list[Span], asked: Span) -> None:
    assert Coverage(added).covers(asked) == (positions_of([asked]) <= positions_of(added))


@given(st.lists(spans, max_size=40), st.integers(1, 5))
def test_beyond_its_bound_it_tells_less_and_never_more(added: list[Span], most: int) -> None:
    coverage = Coverage(added, most=most)
    assert len(coverage.spans) <= most
    assert positions_of(coverage.spans) <= positions_of(added)
    assert coverage.covered == len(positions_of(coverage.spans))


def test_beyond_its_bound_the_shortest_span_is_forgotten() -> None:
    assert Coverage([Span(0, 9), Span(20, 21), Span(30, 39)], most=2).spans == (Span(0, 9), Span(30, 39))


@given(st.lists(spans, max_size=10), spans)
def test_a_copy_grows_by_itself(added: list[Span], more: Span) -> None:
    coverage = Coverage(added)
    copy = coverage.copy()
    copy.add(more)
    assert positions_of(coverage.spans) == positions_of(added)
    assert positions_of(copy.spans) == positions_of([*added, more])


def segments_of(range_set: str | None) -> tuple[Segment, ...]:
    representation = Representation(LENGTH, EntityTag("tag"), 0, "text/plain", "file")
    fields = {} if range_set is None else {"range": range_set}
    return plan_download("GET", fields, representation, boundary="boundary", now_s=10).segments


@pytest.mark.parametrize(
    "range_set",
    [
        pytest.param(None, id="whole"),
        pytest.param("bytes=10-19", id="one_range"),
        pytest.param("bytes=200-219,0-9,100-", id="several_ranges_in_the_order_asked"),
    ],
)
@given(st.data())
def test_what_is_taken_of_a_content_is_what_its_first_bytes_show(range_set: str | None, data: st.DataObject) -> None:
    """The oracle writes the content out: a byte of framing is ``None``, one of the representation its position."""
    segments = segments_of(range_set)
    content: list[int | None] = []
    for segment in segments:
        content += [None] * len(segment) if isinstance(segment, bytes) else range(segment.start, segment.stop)
    taken = data.draw(st.integers(-5, len(content) + 5))
    expected = [position for position in content[: max(0, taken)] if position is not None]
    found = list(taken_spans(segments, taken))
    assert [position for span in found for position in range(span.start, span.stop)] == expected
