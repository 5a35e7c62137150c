"""Preconditions and their order: RFC 9110 §13.1, §13.2.2; If-Range: §13.1.5."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.conditional import Verdict, evaluate, if_range_holds
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"
LAST_MODIFIED_S = 1_700_000_000
NOW_S = LAST_MODIFIED_S + 1000
STRONG = Representation(10, EntityTag("now"), LAST_MODIFIED_S, "text/plain", "a.txt")
WEAK = Representation(10, EntityTag("now", weak=True), LAST_MODIFIED_S, "text/plain", "a.txt")

GO, KEPT, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED


def _match(value: str) -> dict[str, str]:
    return {"if-match": value}


def _none_match(value: str) -> dict[str, str]:
    return {"if-none-match": value}


def _modified(value: str) -> dict[str, str]:
    return {"if-modified-since": value}


def _unmodified(value: str) -> dict[str, str]:
    return {"if-unmodified-since": value}


# fields, the representation, and the verdict for a method that reads and for one that changes something
ROWS = [
    pytest.param({}, STRONG, GO, GO, id="no_precondition"),
    pytest.param({}, None, GO, GO, id="no_precondition_and_no_representation"),
    pytest.param(_match('"now"'), STRONG, GO, GO, id="if_match_13_1_1"),
    pytest.param(_match('"old", "now"'), STRONG, GO, GO, id="if_match_second_of_a_list_13_1_1"),
    pytest.param(_match('"old"'), STRONG, FAILED, FAILED, id="if_match_stale_13_1_1"),
    pytest.param(_match('"old,now"'), STRONG, FAILED, FAILED, id="if_match_comma_inside_quotes"),
    pytest.param(_match('W/"now"'), STRONG, FAILED, FAILED, id="if_match_weak_never_matches_13_1_1"),
    pytest.param(_match('"now"'), WEAK, FAILED, FAILED, id="if_match_against_a_weak_tag_13_1_1"),
    pytest.param(_match("*"), STRONG, GO, GO, id="if_match_any_13_1_1"),
    pytest.param(_match("*"), WEAK, GO, GO, id="if_match_any_counts_a_weak_tag_13_1_1"),
    pytest.param(_match("*"), None, FAILED, FAILED, id="if_match_any_of_nothing_13_1_1"),
    pytest.param(_match('"now"'), None, FAILED, FAILED, id="if_match_of_nothing_13_1_1"),
    pytest.param(_match(""), STRONG, FAILED, FAILED, id="if_match_empty_list"),
    pytest.param(_match("now"), STRONG, FAILED, FAILED, id="policy_if_match_invalid"),
    pytest.param(_match('"now", old'), STRONG, FAILED, FAILED, id="policy_if_match_partly_invalid"),
    pytest.param(_unmodified(LAST_MODIFIED), STRONG, GO, GO, id="if_unmodified_since_equal_13_1_4"),
    pytest.param(_unmodified(AFTER), STRONG, GO, GO, id="if_unmodified_since_later_13_1_4"),
    pytest.param(_unmodified(BEFORE), STRONG, FAILED, FAILED, id="if_unmodified_since_earlier_13_1_4"),
    pytest.param(_unmodified("yesterday"), STRONG, GO, GO, id="if_unmodified_since_invalid_nginx_fails_13_1_4"),
    pytest.param(_unmodified(f"{BEFORE}, {BEFORE}"), STRONG, GO, GO, id="if_unmodified_since_twice_13_1_4"),
    pytest.param(_unmodified(BEFORE), None, GO, GO, id="if_unmodified_since_without_a_date_13_1_4"),
    pytest.param(
        _unmodified("Tuesday, 14-Nov-23 22:13:19 GMT"), STRONG, FAILED, FAILED, id="if_unmodified_since_rfc850"
    ),
    pytest.param(_none_match('"now"'), STRONG, KEPT, FAILED, id="if_none_match_13_1_2"),
    pytest.param(_none_match('W/"now"'), STRONG, KEPT, FAILED, id="if_none_match_compares_weakly_13_1_2"),
    pytest.param(_none_match('"now"'), WEAK, KEPT, FAILED, id="if_none_match_against_a_weak_tag_13_1_2"),
    pytest.param(_none_match('"old", "a,b",, "now"'), STRONG, KEPT, FAILED, id="if_none_match_list_13_1_2"),
    pytest.param(_none_match('"old"'), STRONG, GO, GO, id="if_none_match_stale_13_1_2"),
    pytest.param(_none_match("*"), STRONG, KEPT, FAILED, id="if_none_match_any_13_1_2"),
    pytest.param(_none_match("*"), None, GO, GO, id="if_none_match_any_of_nothing_13_1_2"),
    pytest.param(_none_match('"now"'), None, GO, GO, id="if_none_match_of_nothing_13_1_2"),
    pytest.param(_none_match("now"), STRONG, GO, FAILED, id="policy_if_none_match_invalid"),
    pytest.param(_none_match("*, *"), None, GO, FAILED, id="policy_if_none_match_any_twice"),
    pytest.param(_modified(LAST_MODIFIED), STRONG, KEPT, GO, id="if_modified_since_equal_13_1_3"),
    pytest.param(_modified(AFTER), STRONG, KEPT, GO, id="if_modified_since_later_nginx_wants_equal_13_1_3"),
    pytest.param(_modified(BEFORE), STRONG, GO, GO, id="if_modified_since_earlier_13_1_3"),
    pytest.param(_modified("Thu, 33 Jan 2030 00:00:00 GMT"), STRONG, GO, GO, id="if_modified_since_invalid_13_1_3"),
    pytest.param(_modified(f"{AFTER}, {AFTER}"), STRONG, GO, GO, id="if_modified_since_twice_13_1_3"),
    pytest.param(_modified(AFTER), None, GO, GO, id="if_modified_since_without_a_date_13_1_3"),
    pytest.param(_match('"now"') | _unmodified(BEFORE), STRONG, GO, GO, id="if_match_comes_instead_13_2_2_step_2"),
    pytest.param(_match("now") | _unmodified(AFTER), STRONG, FAILED, FAILED, id="an_invalid_if_match_too_step_2"),
    pytest.param(_match('"now"') | _none_match('"now"'), STRONG, KEPT, FAILED, id="step_3_follows_step_1"),
    pytest.param(_match('"old"') | _none_match('"now"'), STRONG, FAILED, FAILED, id="step_1_comes_before_step_3"),
    pytest.param(_unmodified(BEFORE) | _modified(AFTER), STRONG, FAILED, FAILED, id="step_2_comes_before_step_4"),
    pytest.param(_unmodified(AFTER) | _none_match('"now"'), STRONG, KEPT, FAILED, id="step_3_follows_step_2"),
    pytest.param(_match('"now"') | _modified(AFTER), STRONG, KEPT, GO, id="step_4_follows_step_1"),
    pytest.param(_none_match('"old"') | _modified(AFTER), STRONG, GO, GO, id="if_none_match_comes_instead_step_4"),
    pytest.param(
        _none_match('"now"') | _modified(BEFORE), STRONG, KEPT, FAILED, id="and_needs_no_date_nginx_does_step_4"
    ),
    pytest.param(_none_match("now") | _modified(AFTER), STRONG, GO, FAILED, id="an_invalid_if_none_match_too_step_4"),
    pytest.param({"if-range": '"old"'}, STRONG, GO, GO, id="if_range_is_no_precondition_of_the_method_13_1_5"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("fields", "representation", "reading", "writing"), ROWS)
def test_preconditions_of_a_method_that_reads(
    method: str, fields: dict[str, str], representation: Representation | None, reading: Verdict, writing: Verdict
) -> None:
    assert evaluate(method, fields, representation, NOW_S) is reading


@pytest.mark.parametrize("method", ["PUT", "DELETE", "get"])  # methods are case-sensitive: §9.1
@pytest.mark.parametrize(("fields", "representation", "reading", "writing"), ROWS)
def test_preconditions_of_any_other_method(
    method: str, fields: dict[str, str], representation: Representation | None, reading: Verdict, writing: Verdict
) -> None:
    assert evaluate(method, fields, representation, NOW_S) is writing


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(_modified(BEFORE), GO, id="if_modified_since_the_second_before"),
        pytest.param(_modified(LAST_MODIFIED), KEPT, id="if_modified_since_what_was_sent"),
        pytest.param(_unmodified(BEFORE), FAILED, id="if_unmodified_since_the_second_before"),
        pytest.param(_unmodified(LAST_MODIFIED), GO, id="if_unmodified_since_what_was_sent"),
    ],
)
def test_a_modification_date_in_the_future_counts_as_it_is_sent_8_8_2_1(
    fields: dict[str, str], expected: Verdict
) -> None:
    future = Representation(10, EntityTag("now"), LAST_MODIFIED_S + 86_400, "text/plain", "a.txt")
    assert evaluate("GET", fields, future, now_s=LAST_MODIFIED_S) is expected


@pytest.mark.parametrize(
    ("value", "representation", "age_s", "expected"),
    [
        pytest.param('"now"', STRONG, 1000, True, id="strong_tag_13_1_5"),
        pytest.param('"now"', STRONG, 0, True, id="a_strong_tag_has_no_age"),
        pytest.param('"old"', STRONG, 1000, False, id="stale_tag_13_1_5"),
        pytest.param('W/"now"', STRONG, 1000, False, id="weak_tag_hyper_staticfile_takes_it_13_1_5"),
        pytest.param('"now"', WEAK, 1000, False, id="our_tag_is_weak_13_1_5"),
        pytest.param('W/"now"', WEAK, 1000, False, id="both_weak_13_1_5"),
        pytest.param("*", STRONG, 1000, False, id="any_is_no_validator_13_1_5"),
        pytest.param('"now", "old"', STRONG, 1000, False, id="a_list_is_no_validator_13_1_5"),
        pytest.param("now", STRONG, 1000, False, id="a_tag_without_quotes"),
        pytest.param("", STRONG, 1000, False, id="nothing"),
        pytest.param(LAST_MODIFIED, STRONG, 1000, True, id="date_equal_13_1_5"),
        pytest.param("Tuesday, 14-Nov-23 22:13:20 GMT", STRONG, 1000, True, id="date_equal_in_another_form_5_6_7"),
        pytest.param(BEFORE, STRONG, 1000, False, id="date_earlier_13_1_5"),
        pytest.param(AFTER, STRONG, 1000, False, id="date_later_aiohttp_takes_it_13_1_5"),
        pytest.param("Tue, 14 Nov 2023", STRONG, 1000, False, id="half_a_date"),
        pytest.param(LAST_MODIFIED, STRONG, 2, True, id="date_two_seconds_old_8_8_2_2"),
        pytest.param(LAST_MODIFIED, STRONG, 1, False, id="date_one_second_old_is_weak_8_8_2_2"),
        pytest.param(LAST_MODIFIED, STRONG, 0, False, id="date_of_this_second_is_weak_8_8_2_2"),
        pytest.param(LAST_MODIFIED, STRONG, -5, False, id="date_in_the_future_is_not_what_is_sent_8_8_2_1"),
    ],
)
def test_if_range_holds_for_a_strong_and_equal_validator_only(
    value: str, representation: Representation, age_s: int, expected: bool
) -> None:
    assert if_range_holds(value, representation, LAST_MODIFIED_S + age_s) is expected


@given(
    st.sampled_from(["GET", "HEAD", "PUT"]),
    st.dictionaries(
        st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]),
        st.text() | st.sampled_from(["*", '"now"', BEFORE, AFTER]),
    ),
    st.sampled_from([STRONG, WEAK, None]),
    st.integers(),
)
def test_any_text_gets_a_verdict(
    method: str, fields: dict[str, str], representation: Representation | None, now_s: int
) -> None:
    verdict = evaluate(method, fields, representation, now_s)
    assert verdict is not KEPT or method in ("GET", "HEAD")


@given(st.text() | st.text('W/"now '), st.integers())
def test_if_range_holds_for_no_other_text(value: str, now_s: int) -> None:
    assert if_range_holds(value, STRONG, now_s) is (value == '"now"')
