"""Raw header fields become one value for each name: RFC 9110 §5.1, §5.3, §5.5."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.conditional import if_range_holds
from fileserve.semantics.fields import combine_fields
from fileserve.semantics.ranges import select_spans
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag, parse_entity_tags, parse_http_date


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param([], {}, id="no_fields"),
        pytest.param([(b"range", b"bytes=0-4")], {"range": "bytes=0-4"}, id="one_field"),
        pytest.param([(b"If-RANGE", b"x")], {"if-range": "x"}, id="names_are_case_insensitive_5_1"),
        pytest.param([(b"a", b"1"), (b"A", b"2")], {"a": "1, 2"}, id="repeated_fields_join_in_order_5_3"),
        pytest.param([(b"a", b"1"), (b"b", b"x"), (b"a", b"2")], {"a": "1, 2", "b": "x"}, id="others_between_5_3"),
        pytest.param([(b"a", b"1"), (b"a", b""), (b"a", b"3")], {"a": "1, , 3"}, id="an_empty_member_stays_5_6_1"),
        pytest.param([(b"a", b" \t x y\t ")], {"a": "x y"}, id="outer_whitespace_is_no_part_of_the_value_5_5"),
        pytest.param([(b"a", b"\x0bx\xa0")], {"a": "\x0bx\xa0"}, id="only_space_and_tab_are_whitespace_5_6_3"),
        pytest.param([(b"a", b"\x80\xff")], {"a": "\x80\xff"}, id="obs_text_is_kept_byte_for_byte_5_5"),
        pytest.param([(b"\xc9", b"x")], {"\xc9": "x"}, id="only_ascii_letters_have_a_case"),
    ],
)
def test_fields_are_combined(raw: list[tuple[bytes, bytes]], expected: dict[str, str]) -> None:
    assert combine_fields(raw) == expected


def test_a_repeated_singleton_is_invalid() -> None:
    """§5.3: only lists may be repeated. What is joined of two dates, tags or Range values is none."""
    date = b"Sun, 06 Nov 1994 08:49:37 GMT"
    fields = combine_fields(
        [
            (name, value)
            for name, value in ((b"range", b"bytes=0-1"), (b"if-range", b'"a"'), (b"date", date))
            for _ in "12"
        ]
    )
    representation = Representation(10, EntityTag("a"), 0, "text/plain", "a.txt")
    assert select_spans(fields["range"], length=10) is None
    assert not if_range_holds(fields["if-range"], representation, now_s=10)
    assert parse_http_date(fields["date"], now_s=0) is None


def test_a_repeated_list_is_one_list() -> None:
    fields = combine_fields([(b"if-none-match", b'"a"'), (b"if-none-match", b'W/"b", "c"')])
    assert parse_entity_tags(fields["if-none-match"]) == (EntityTag("a"), EntityTag("b", weak=True), EntityTag("c"))


def test_ten_thousand_repetitions_are_one_value() -> None:
    assert combine_fields((b"a", b"1") for _ in range(10_000)) == {"a": ", ".join(["1"] * 10_000)}


@given(st.lists(st.tuples(st.sampled_from([b"a", b"A", b"b"]), st.binary(max_size=5))))
def test_no_value_is_lost(raw: list[tuple[bytes, bytes]]) -> None:
    expected: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode().lower(), value.decode("latin-1").strip(" \t")
        expected[key] = f"{expected[key]}, {text}" if key in expected else text
    assert combine_fields(raw) == expected
