"""Entity tags and HTTP dates: RFC 9110 §8.8.3, §5.6.1, §5.6.7."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_date, parse_etags

from fileserve.semantics.validators import (
    EntityTag,
    format_http_date,
    parse_entity_tag,
    parse_entity_tags,
    parse_http_date,
)

NOW_S = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
EXAMPLE_S = 784_111_777  # the instant of all three examples in §5.6.7
A, B, WEAK_A = EntityTag("a"), EntityTag("b"), EntityTag("a", weak=True)

etagc = st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f')
entity_tags = st.builds(EntityTag, st.text(etagc, max_size=8), st.booleans())


@pytest.mark.parametrize(
    ("left", "right", "strongly", "weakly"),
    [
        pytest.param(EntityTag("1", weak=True), EntityTag("1", weak=True), False, True, id="both_weak"),
        pytest.param(EntityTag("1", weak=True), EntityTag("2", weak=True), False, False, id="weak_and_different"),
        pytest.param(EntityTag("1", weak=True), EntityTag("1"), False, True, id="left_weak"),
        pytest.param(EntityTag("1"), EntityTag("1", weak=True), False, True, id="right_weak"),
        pytest.param(EntityTag("1"), EntityTag("1"), True, True, id="both_strong"),
        pytest.param(EntityTag("1"), EntityTag("2"), False, False, id="strong_and_different"),
        pytest.param(EntityTag("a"), EntityTag("A"), False, False, id="case_counts"),
    ],
)
def test_entity_tags_compare_as_in_the_table_of_8_8_3_2(
    left: EntityTag, right: EntityTag, strongly: bool, weakly: bool
) -> None:
    assert (left.strongly_matches(right), left.weakly_matches(right)) == (strongly, weakly)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param('"xyzzy"', EntityTag("xyzzy"), id="strong_8_8_3"),
        pytest.param('W/"xyzzy"', EntityTag("xyzzy", weak=True), id="weak_8_8_3"),
        pytest.param('""', EntityTag(""), id="empty_8_8_3"),
        pytest.param('"a,b"', EntityTag("a,b"), id="comma_inside"),
        pytest.param('"a\\b"', EntityTag("a\\b"), id="a_backslash_escapes_nothing_8_8_3"),
        pytest.param('"\x80\xff"', EntityTag("\x80\xff"), id="obs_text"),
        pytest.param("xyzzy", None, id="no_quotes"),
        pytest.param('w/"xyzzy"', None, id="weakness_is_case_sensitive_8_8_3"),
        pytest.param('W "xyzzy"', None, id="weakness_needs_its_slash"),
        pytest.param('"xyzzy', None, id="no_closing_quote"),
        pytest.param('"a b"', None, id="space_inside"),
        pytest.param('"a\x7f"', None, id="control_character_inside"),
        pytest.param('"a"b"', None, id="quote_inside"),
        pytest.param('"a"\n', None, id="line_feed_after"),
        pytest.param('"a", "b"', None, id="a_list_is_not_one_tag"),
        pytest.param('"\u0100"', None, id="beyond_latin_1"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_an_entity_tag_is_read_whole_or_not_at_all(value: str, expected: EntityTag | None) -> None:
    assert parse_entity_tag(value) == expected
    assert expected is None or str(expected) == value


@pytest.mark.parametrize("opaque", ['"', " ", "a\r\n", "\x00", "\x7f", "\u0100", "\udcff"])
def test_a_tag_that_no_field_can_carry_is_not_made(opaque: str) -> None:
    with pytest.raises(ValueError, match="entity tag"):
        EntityTag(opaque)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("*", "*", id="any_13_1_1"),
        pytest.param('"a"', (A,), id="one"),
        pytest.param('"a", W/"a" ,"b"', (A, WEAK_A, B), id="several_13_1_2"),
        pytest.param('"a","b"', (A, B), id="no_whitespace"),
        pytest.param('"a"\t,\t"b"', (A, B), id="tabs_are_whitespace_5_6_3"),
        pytest.param('"a,b", "c"', (EntityTag("a,b"), EntityTag("c")), id="comma_inside"),
        pytest.param(',, "a" ,\t, "b",', (A, B), id="empty_members_5_6_1"),
        pytest.param("", (), id="empty_list_5_6_1"),
        pytest.param(" , ,", (), id="nothing_but_empty_members_5_6_1"),
        pytest.param('"a" "b"', None, id="no_comma_between"),
        pytest.param('"a"; "b"', None, id="a_semicolon_is_no_comma"),
        pytest.param('"a", b', None, id="one_member_without_quotes"),
        pytest.param('b, "a"', None, id="first_member_without_quotes"),
        pytest.param('"a", *', None, id="any_is_no_member_13_1_1"),
        pytest.param("*, *", None, id="any_twice"),
        pytest.param('"a", "b', None, id="no_closing_quote"),
        pytest.param('"a", W/', None, id="weakness_of_nothing"),
    ],
)
def test_a_list_of_entity_tags_is_read_whole_or_not_at_all(value: str, expected: object) -> None:
    assert parse_entity_tags(value) == expected


@given(st.lists(entity_tags), st.lists(st.sampled_from([",", " , ", ",\t", ",,", ", ,"]), min_size=1))
def test_lists_of_entity_tags_round_trip(tags: list[EntityTag], commas: list[str]) -> None:
    value = "".join(f"{tag}{commas[place % len(commas)]}" for place, tag in enumerate(tags))
    assert parse_entity_tags(value) == tuple(tags)


@given(st.text() | st.text('W/"a, *'))
def test_text_never_raises(value: str) -> None:
    one, several = parse_entity_tag(value), parse_entity_tags(value)
    assert one is None or several == (one,)
    parse_http_date(value, NOW_S)


@pytest.mark.parametrize(
    "hostile", ['"a",' * 20_000, " " * 100_000 + "x", '"' * 100_000, ", " * 50_000 + "x", 'W/"' * 30_000]
)
def test_long_lists_do_not_backtrack(hostile: str) -> None:
    """The test's time-out is the guard: a quadratic reading takes hours."""
    expected = (A,) * 20_000 if hostile.startswith('"a"') else None
    assert parse_entity_tags(hostile) == expected


@given(st.lists(entity_tags.filter(lambda tag: tag.opaque != ""), min_size=1))
@example([EntityTag("a,b"), EntityTag("c", weak=True)])
def test_werkzeug_reads_the_same_entity_tags(tags: list[EntityTag]) -> None:
    """Left out: the empty tag, which it loses, and what it takes and our table refuses (no quotes, ``w/``, spaces)."""
    theirs = parse_etags(", ".join(map(str, tags)))
    assert set(theirs.as_set(include_weak=False)) == {tag.opaque for tag in tags if not tag.weak}
    assert all(theirs.contains_weak(tag.opaque) for tag in tags)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE_S, id="imf_fixdate_5_6_7"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE_S, id="rfc850_date_5_6_7"),
        pytest.param("Sun Nov  6 08:49:37 1994", EXAMPLE_S, id="asctime_date_5_6_7"),
        pytest.param("Sun Nov 06 08:49:37 1994", EXAMPLE_S, id="asctime_with_two_digits_5_6_7"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0, id="epoch"),
        pytest.param("Wed, 31 Dec 1969 23:59:59 GMT", -1, id="before_the_epoch"),
        pytest.param("Sun, 07 Feb 2106 06:28:16 GMT", 1 << 32, id="beyond_32_bits"),
        pytest.param("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400, id="leap_day_of_a_century"),
        pytest.param("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800, id="leap_second_5_6_7"),
        pytest.param("Mon, 06 Nov 1994 08:49:37 GMT", EXAMPLE_S, id="policy_the_day_name_need_not_fit"),
        pytest.param("Xxx, 06 Nov 1994 08:49:37 GMT", None, id="no_day_name"),
        pytest.param("Sunday, 06 Nov 1994 08:49:37 GMT", None, id="long_day_name_in_the_first_form"),
        pytest.param("Sun, 06-Nov-94 08:49:37 GMT", None, id="short_day_name_in_the_second_form"),
        pytest.param("sun, 06 nov 1994 08:49:37 gmt", None, id="case_sensitive_5_6_7"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 UTC", None, id="another_zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +0000", None, id="numeric_zone"),
        pytest.param("Sun, 06 Nov 1994 08:49:37", None, id="no_zone"),
        pytest.param("Sun, 06 Nov 1994", None, id="half_a_date_starlette_takes_it"),
        pytest.param("Sun, 6 Nov 1994 08:49:37 GMT", None, id="one_digit_day"),
        pytest.param("Sun Nov 6 08:49:37 1994", None, id="asctime_without_padding"),
        pytest.param("Sun,  06 Nov 1994 08:49:37 GMT", None, id="two_spaces"),
        pytest.param("Thu, 33 Jan 2030 00:00:00 GMT", None, id="33rd_of_january_starlette_takes_it"),
        pytest.param("Sun, 00 Nov 1994 08:49:37 GMT", None, id="day_zero"),
        pytest.param("Thu, 29 Feb 1900 00:00:00 GMT", None, id="no_leap_day_in_1900"),
        pytest.param("Sat, 01 Jan 0000 00:00:00 GMT", None, id="year_zero"),
        pytest.param("Sun, 06 Nov 1994 24:00:00 GMT", None, id="hour_24"),
        pytest.param("Sun, 06 Nov 1994 08:60:00 GMT", None, id="minute_60"),
        pytest.param("Sun, 06 Nov 1994 08:49:60 GMT", None, id="second_60_within_the_day"),
        pytest.param("Sun, 06 Nov 1994 23:59:61 GMT", None, id="second_61"),
        pytest.param(f"Sun, 06 Nov {'9' * 5000} 08:49:37 GMT", None, id="huge_year_aiohttp_breaks_off"),
        pytest.param(f"Sun, {'9' * 5000} Nov 1994 08:49:37 GMT", None, id="huge_day_aiohttp_breaks_off"),
        pytest.param("Sun, ٠٦ Nov 1994 08:49:37 GMT", None, id="digits_of_another_script"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT\n", None, id="line_feed_after"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None, id="two_dates_13_1_3"),
        pytest.param("784111777", None, id="a_number"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_dates_are_read_in_three_forms_and_no_other(value: str, expected: int | None) -> None:
    assert parse_http_date(value, NOW_S) == expected


@pytest.mark.parametrize(
    ("date", "now", "year"),
    [
        pytest.param("Tuesday, 14-Nov-73 22:13:20 GMT", "2023-11-14 22:13:20", 2073, id="50_years_ahead_is_the_future"),
        pytest.param("Tuesday, 14-Nov-73 22:13:21 GMT", "2023-11-14 22:13:20", 1973, id="one_second_more_is_the_past"),
        pytest.param("Friday, 01-Jan-99 00:00:00 GMT", "2023-11-14 22:13:20", 1999, id="the_last_century"),
        pytest.param("Monday, 01-Jan-01 00:00:00 GMT", "2099-06-01 00:00:00", 2101, id="the_next_century"),
        pytest.param("Friday, 01-Jan-00 00:00:00 GMT", "1999-12-31 23:59:59", 2000, id="the_next_second"),
        pytest.param("Tuesday, 29-Feb-00 00:00:00 GMT", "2060-01-01 00:00:00", None, id="no_leap_day_in_2100"),
        pytest.param("Friday, 01-Jan-10 00:00:00 GMT", "9999-12-31 23:59:59", None, id="no_year_beyond_9999"),
    ],
)
def test_two_digits_of_a_year_are_at_most_50_years_ahead_5_6_7(date: str, now: str, year: int | None) -> None:
    now_s = int(datetime.fromisoformat(f"{now}+00:00").timestamp())
    seconds = parse_http_date(date, now_s)
    assert (seconds if seconds is None else _datetime(seconds).year) == year


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(EXAMPLE_S, "Sun, 06 Nov 1994 08:49:37 GMT", id="the_example_of_5_6_7"),
        pytest.param(0, "Thu, 01 Jan 1970 00:00:00 GMT", id="epoch"),
        pytest.param(-1, "Wed, 31 Dec 1969 23:59:59 GMT", id="before_the_epoch"),
        pytest.param(1 << 32, "Sun, 07 Feb 2106 06:28:16 GMT", id="beyond_32_bits"),
        pytest.param(13_569_465_600, "Sat, 01 Jan 2400 00:00:00 GMT", id="year_2400"),
        pytest.param(253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT", id="the_last"),
        pytest.param(253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT", id="beyond_the_last"),
        pytest.param(10**30, "Fri, 31 Dec 9999 23:59:59 GMT", id="far_beyond"),
        pytest.param(-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 GMT", id="the_first"),
        pytest.param(-(10**30), "Mon, 01 Jan 0001 00:00:00 GMT", id="far_before"),
    ],
)
def test_any_instant_has_a_date(seconds: int, expected: str) -> None:
    assert format_http_date(seconds) == expected


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers())
def test_dates_round_trip(seconds: int, now_s: int) -> None:
    assert parse_http_date(format_http_date(seconds), now_s) == seconds


@given(st.datetimes(datetime(1974, 1, 1), datetime(2073, 11, 14)))
def test_the_obsolete_forms_name_the_same_instant(moment: datetime) -> None:
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    assert parse_http_date(f"{moment:%A, %d-%b-%y %H:%M:%S} GMT", NOW_S) == seconds
    assert parse_http_date(f"{moment:%a %b} {moment.day:2} {moment:%H:%M:%S %Y}", NOW_S) == seconds


@given(st.integers(0, 32), st.integers(0, 9999), st.integers(0, 25), st.integers(0, 61), st.integers(0, 59))
def test_werkzeug_reads_the_same_dates(day: int, year: int, hour: int, minute: int, second: int) -> None:
    """Left out: years below 100, which it takes for two digits, and second 60, which it refuses. It is laxer, too."""
    value = f"Sun, {day:02} Feb {year:04} {hour:02}:{minute:02}:{second:02} GMT"
    theirs = parse_date(value)
    if year >= 100:
        assert parse_http_date(value, NOW_S) == (theirs and int(theirs.timestamp()))


def _datetime(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
