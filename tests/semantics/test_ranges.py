"""Range to spans, spans to Content-Range: RFC 9110 §14.1, §14.2, §14.4."""

import sys
from collections import Counter
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_range_header

from fileserve.semantics.ranges import Span, content_range, select_spans, unsatisfied_content_range

Pairs = list[tuple[int, int]]
HUGE = "9" * 5000  # more digits than int() takes

SATISFIABLE = [
    pytest.param("bytes=0-4", [(0, 5)], id="first_and_last_14_1_2"),
    pytest.param("bytes=0-0", [(0, 1)], id="one_byte_whitenoise_fails_14_1_2"),
    pytest.param("bytes=9-9", [(9, 10)], id="the_last_byte_14_1_2"),
    pytest.param("bytes=4-", [(4, 10)], id="open_end_14_1_2"),
    pytest.param("bytes=0-", [(0, 10)], id="all_of_it_14_1_2"),
    pytest.param("bytes=-3", [(7, 10)], id="suffix_14_1_2"),
    pytest.param("bytes=-10", [(0, 10)], id="suffix_of_all_14_1_2"),
    pytest.param("bytes=-11", [(0, 10)], id="suffix_longer_than_the_representation_14_1_2"),
    pytest.param("bytes=5-10", [(5, 10)], id="last_is_the_length_14_1_2"),
    pytest.param("bytes=5-99", [(5, 10)], id="last_beyond_the_end_14_1_2"),
    pytest.param("BYTES=0-4", [(0, 5)], id="units_are_case_insensitive_caddy_fails_14_1"),
    pytest.param("bYtEs=0-4", [(0, 5)], id="mixed_case_14_1"),
    pytest.param("bytes= 0-4\t,\t6-7 ", [(0, 5), (6, 8)], id="whitespace_around_members_5_6_1"),
    pytest.param("bytes=,,0-4,, ,6-7,", [(0, 5), (6, 8)], id="empty_members_5_6_1"),
    pytest.param("bytes=000-0004", [(0, 5)], id="leading_zeros"),
    pytest.param(f"bytes=0-{HUGE}", [(0, 10)], id="last_of_5000_digits_14_1_2"),
    pytest.param(f"bytes=-{HUGE}", [(0, 10)], id="suffix_of_5000_digits_14_1_2"),
    pytest.param(f"bytes={'0' * 5000}1-{'0' * 5000}4", [(1, 5)], id="5000_leading_zeros"),
    pytest.param("bytes=0-18446744073709551616", [(0, 10)], id="last_beyond_64_bits"),
    pytest.param("bytes=0-4,99-", [(0, 5)], id="one_satisfiable_member_is_enough_starlette_fails_14_1_1"),
    pytest.param("bytes=99-,-0,-2", [(8, 10)], id="and_it_may_come_last_14_1_1"),
    pytest.param(f"bytes={HUGE}-,0-1", [(0, 2)], id="beside_a_start_of_5000_digits"),
    pytest.param("bytes=0-1,4-5,8-9", [(0, 2), (4, 6), (8, 10)], id="three_14_1_2"),
    pytest.param("bytes=8-9,0-1,4-5", [(8, 10), (0, 2), (4, 6)], id="in_the_order_asked_starlette_sorts_15_3_7_2"),
    pytest.param("bytes=0-4,3-7", [(0, 8)], id="overlapping_15_3_7_2"),
    pytest.param("bytes=0-4,5-7", [(0, 8)], id="adjacent_15_3_7_2"),
    pytest.param("bytes=0-3,5-7", [(0, 4), (5, 8)], id="one_byte_apart"),
    pytest.param("bytes=2-7,3-4", [(2, 8)], id="one_within_the_other_15_3_7_2"),
    pytest.param("bytes=0-1,0-1", [(0, 2)], id="the_same_twice_15_3_7_2"),
    pytest.param("bytes=-2,0-8", [(0, 10)], id="a_suffix_that_overlaps"),
    pytest.param("bytes=8-9,0-1,2-3", [(8, 10), (0, 4)], id="policy_joined_spans_stand_where_the_first_asked_stood"),
    pytest.param("bytes=6-7,0-1,4-5", [(4, 8), (0, 2)], id="policy_also_when_the_first_asked_is_the_later"),
]

UNSATISFIABLE = [
    pytest.param("bytes=10-", id="starts_at_the_end_14_1_2"),
    pytest.param("bytes=10-20", id="starts_at_the_end_with_a_last_14_1_2"),
    pytest.param("bytes=-0", id="suffix_of_nothing_caddy_and_aiohttp_send_206_14_1_2"),
    pytest.param("bytes=-000", id="suffix_of_several_zeros"),
    pytest.param("bytes=10-,99-100,-0", id="no_member_is_satisfiable_14_1_1"),
    pytest.param(f"bytes={HUGE}-", id="start_of_5000_digits"),
    pytest.param(f"bytes={HUGE}-{HUGE}", id="both_of_5000_digits"),
]

IGNORED = [
    pytest.param("items=0-4", id="unknown_unit_14_2"),
    pytest.param("none=0-4", id="the_unit_none_14_3"),
    pytest.param("bytes", id="no_set"),
    pytest.param("bytes=", id="empty_set_14_1_1"),
    pytest.param("bytes=, ,", id="nothing_but_empty_members_5_6_1"),
    pytest.param("", id="empty"),
    pytest.param("0-4", id="no_unit"),
    pytest.param("bytes 0-4", id="no_equals_sign"),
    pytest.param("bytes =0-4", id="space_before_the_equals_sign_14_1_1"),
    pytest.param("bytes:0-4", id="colon"),
    pytest.param("bytes==0-4", id="two_equals_signs"),
    pytest.param("bytes=5-2", id="last_before_first_14_1_1"),
    pytest.param(f"bytes={HUGE}1-{HUGE}0", id="last_before_first_of_5001_digits_14_1_1"),
    pytest.param("bytes=0-4,5-2", id="one_member_with_last_before_first_14_1_1"),
    pytest.param("bytes=99-98", id="last_before_first_beyond_the_end"),
    pytest.param("bytes=-", id="neither_first_nor_last"),
    pytest.param("bytes=4", id="no_dash"),
    pytest.param("bytes=0-4-6", id="two_dashes"),
    pytest.param("bytes=--4", id="negative_suffix"),
    pytest.param("bytes=0 -4", id="space_before_the_dash"),
    pytest.param("bytes=0- 4", id="space_after_the_dash"),
    pytest.param("bytes=+1-4", id="sign_starlette_takes_it"),
    pytest.param("bytes=1_0-2_0", id="underscore_starlette_takes_it"),
    pytest.param("bytes=0x0-0x4", id="hexadecimal"),
    pytest.param("bytes=0.0-4", id="decimal_point"),
    pytest.param("bytes=\u0660-\u0664", id="digits_of_another_script"),
    pytest.param("bytes=\xb2-\xb3", id="superscript_digits_of_latin_1"),
    pytest.param("bytes=0-4,abc", id="one_invalid_member_starlette_drops_it_14_1_1"),
    pytest.param("bytes=0-4;6-7", id="semicolon"),
    pytest.param("bytes=0-4\x0b", id="vertical_tab_is_no_whitespace"),
    pytest.param("bytes=0-4\n", id="line_feed"),
    pytest.param("bytes=0-1, bytes=2-3", id="two_fields_joined_5_3"),
]


def _spans(pairs: Pairs) -> tuple[Span, ...]:
    return tuple(Span(start, stop) for start, stop in pairs)


@pytest.mark.parametrize(("value", "expected"), SATISFIABLE)
def test_a_range_selects_spans_of_ten_bytes(value: str, expected: Pairs) -> None:
    assert select_spans(value, length=10) == _spans(expected)


@pytest.mark.parametrize("value", UNSATISFIABLE)
def test_a_valid_range_beyond_the_end_is_unsatisfiable(value: str) -> None:
    assert select_spans(value, length=10) == ()


@pytest.mark.parametrize("value", IGNORED)
def test_a_range_that_is_not_understood_is_ignored(value: str) -> None:
    assert select_spans(value, length=10) is None


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-2", "items=0-1"])
def test_policy_nothing_is_unsatisfiable_in_an_empty_representation(value: str) -> None:
    assert select_spans(value, length=0) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("bytes=4294967295-4294967296", [(4294967295, 4294967297)], id="around_4_gib"),
        pytest.param("bytes=-1", [(2**62 - 1, 2**62)], id="the_last_byte"),
        pytest.param(f"bytes={2**62 - 1}-{2**64}", [(2**62 - 1, 2**62)], id="from_the_last_byte"),
        pytest.param(f"bytes={2**62}-", [], id="from_the_end"),
    ],
)
def test_positions_are_exact_far_beyond_4_gib(value: str, expected: Pairs) -> None:
    assert select_spans(value, length=2**62) == _spans(expected)


@pytest.mark.parametrize(
    ("count", "kept"), [pytest.param(100, True, id="hundred"), pytest.param(101, False, id="hundred_and_one")]
)
@pytest.mark.parametrize("member", ["{0}-{0}", "0-0", "-1"])
def test_policy_a_set_has_at_most_100_ranges(member: str, count: int, kept: bool) -> None:
    """Also when they are all the same, and whatever stands between them: Range is for the honest, §14.2."""
    value = "bytes=" + ", ,".join(member.format(2 * place) for place in range(count))
    assert (select_spans(value, length=100_000) is not None) is kept


@pytest.mark.parametrize(
    ("count", "head", "length", "kept"),
    [
        pytest.param(51, 100, 1055, True, id="exactly_4_kib_more"),  # 51 spans of a byte, 51 heads: 5151 = 1055 + 4096
        pytest.param(51, 100, 1054, False, id="a_byte_more_than_that"),
        pytest.param(51, 101, 1055, False, id="heads_of_a_byte_more"),
        pytest.param(52, 100, 1055, False, id="a_range_more"),
        pytest.param(2, 5000, 100, False, id="two_ranges_have_heads"),
        pytest.param(1, 10**9, 100, True, id="a_single_range_has_none"),
    ],
)
def test_policy_a_set_costs_at_most_4_kib_more_than_the_whole(count: int, head: int, length: int, kept: bool) -> None:
    value = "bytes=" + ",".join(f"{2 * place}-{2 * place}" for place in range(count))
    assert (select_spans(value, length, part_head_length=head) is not None) is kept


def test_what_is_coalesced_costs_nothing() -> None:
    value = "bytes=" + ",".join(f"{place}-{place}" for place in range(100))
    assert select_spans(value, length=100, part_head_length=10**9) == (Span(0, 100),)


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        pytest.param("0-0", None, id="ranges_are_too_many"),
        pytest.param("", (Span(0, 1),), id="empty_members_are_skipped"),
        pytest.param(" ", (Span(0, 1),), id="blank_members_are_skipped"),
    ],
)
def test_ten_thousand_members_take_linear_work(member: str, expected: tuple[Span, ...] | None) -> None:
    """Work is the number of calls that the module makes: twice the members, at most twice the calls.

    Calls from elsewhere are not counted: a garbage collection may start at any moment, and calls what was registered.
    """

    def work(count: int) -> int:
        value = "bytes=0-0," + ",".join([member] * count)
        calls: Counter[str] = Counter()

        def record(frame: FrameType, event: str, argument: object) -> None:
            calls[event] += frame.f_globals.get("__name__") == select_spans.__module__

        sys.setprofile(record)
        try:
            spans = select_spans(value, length=10**6)
        finally:
            sys.setprofile(None)
        assert spans == expected
        return calls["call"] + calls["c_call"]

    assert 0 < work(10_000) <= work(20_000) <= 2 * work(10_000)


@pytest.mark.parametrize("filler", ["0", " ", "\t", "-", ",", "0-", "9"])
def test_long_values_do_not_backtrack(filler: str) -> None:
    """The test's time-out is the guard: a quadratic reading takes hours."""
    assert select_spans(f"bytes={filler * 200_000}x", length=10) is None


@pytest.mark.parametrize(
    ("span", "length", "expected"),
    [
        pytest.param(Span(0, 500), 1234, "bytes 0-499/1234", id="first_500_14_4"),
        pytest.param(Span(734, 1234), 1234, "bytes 734-1233/1234", id="last_500_14_4"),
        pytest.param(Span(0, 1), 1, "bytes 0-0/1", id="the_only_byte"),
        pytest.param(Span(2**40, 2**41), 2**42, "bytes 1099511627776-2199023255551/4398046511104", id="beyond_4_gib"),
    ],
)
def test_a_span_is_written_with_inclusive_positions(span: Span, length: int, expected: str) -> None:
    assert content_range(span, length) == expected


def test_an_unsatisfied_range_tells_the_complete_length() -> None:
    assert unsatisfied_content_range(1234) == "bytes */1234"


@given(st.text() | st.text("0123456789-, \t").map("bytes={}".format), st.integers(0, 200))
def test_any_text_selects_spans_that_lie_inside_and_apart(value: str, length: int) -> None:
    spans = select_spans(value, length) or ()
    assert all(0 <= span.start < span.stop <= length for span in spans)
    in_place = sorted(spans, key=lambda span: span.start)
    assert all(before.stop < after.start for before, after in pairwise(in_place))


@given(st.integers(0, 30), st.none() | st.integers(0, 30), st.integers(1, 20))
def test_werkzeug_selects_the_same_single_range(first: int, last: int | None, length: int) -> None:
    value = f"bytes={first}-{'' if last is None else last}"
    theirs = parse_range_header(value)
    assert select_spans(value, length) == (
        theirs and _spans([pair] if (pair := theirs.range_for_length(length)) else [])
    )


@given(st.integers(1, 20), st.integers(1, 20))
def test_werkzeug_selects_the_same_suffix(suffix_length: int, length: int) -> None:
    """Left out: suffixes longer than the representation, unsatisfiable to werkzeug, whole to §14.1.2.

    Nor does it agree on ``-0`` (invalid), empty members (invalid), spaces around the dash (taken), 5,000 digits
    (invalid), and sets that overlap or are not in ascending order (invalid): the tables above have them.
    """
    theirs = parse_range_header(f"bytes=-{suffix_length}")
    if suffix_length <= length:
        assert theirs is not None
        assert select_spans(f"bytes=-{suffix_length}", length) == _spans([theirs.range_for_length(length) or (0, 0)])
