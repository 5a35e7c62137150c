"""Content-Disposition: RFC 6266 §4, Appendix D; RFC 8187 §3.2."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fileserve.semantics.disposition import DispositionType, format_disposition

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"'  # RFC 9110 §5.6.4, the ASCII part of it
EXT_VALUE = r"UTF-8''(?:%[0-9A-F]{2}|[!#$&+.^_`|~0-9A-Za-z-])*"  # RFC 8187 §3.2.1


def read(value: str) -> tuple[str, str | None, str | None]:
    """Return disposition type, ``filename`` and ``filename*`` of a value, read strictly by RFC 6266 §4.1."""
    matched = re.fullmatch(rf"({TOKEN})(?:; filename=({QUOTED}))?(?:; filename\*=({EXT_VALUE}))?", value)
    assert matched, value
    disposition_type, quoted, extended = matched.groups()
    filename = re.sub(r"\\(.)", r"\1", quoted[1:-1]) if quoted else None
    exact = unquote_to_bytes(extended.removeprefix("UTF-8''")).decode("utf-8") if extended else None
    return disposition_type, filename, exact


@pytest.mark.parametrize("disposition_type", ["attachment", "inline"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("example.html", '; filename="example.html"', id="ascii_5"),
        pytest.param("an example.txt", '; filename="an example.txt"', id="space_5"),
        pytest.param("a;b,c=d'e.txt", '; filename="a;b,c=d\'e.txt"', id="delimiters_need_no_escape_in_quotes"),
        pytest.param(
            "\u20ac rates.txt", "; filename=\"_ rates.txt\"; filename*=UTF-8''%E2%82%AC%20rates.txt", id="euro_rates_5"
        ),
        pytest.param(
            "naïve.txt", "; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt", id="latin_1_is_not_ascii_D"
        ),
        pytest.param("😀.zip", "; filename=\"_.zip\"; filename*=UTF-8''%F0%9F%98%80.zip", id="emoji"),
        pytest.param(
            'say "hi".txt',
            r"""; filename="say \"hi\".txt"; filename*=UTF-8''say%20%22hi%22.txt""",
            id="quotes_are_escaped_and_exact_for_who_does_not_undo_it_D",
        ),
        pytest.param("a\\b.txt", "; filename=\"a_b.txt\"; filename*=UTF-8''a%5Cb.txt", id="backslash_4_3_D"),
        pytest.param("100%25.txt", "; filename=\"100_25.txt\"; filename*=UTF-8''100%2525.txt", id="percent_hex_D"),
        pytest.param("100% sure.txt", '; filename="100% sure.txt"', id="percent_without_hex"),
        pytest.param("%%41", "; filename=\"%_41\"; filename*=UTF-8''%25%2541", id="percent_before_percent_hex_D"),
        pytest.param(
            "a\r\nX: y", "; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y", id="line_ends_split_nothing"
        ),
        pytest.param("\x00\x1f\x7f", "; filename=\"___\"; filename*=UTF-8''%00%1F%7F", id="control_characters"),
        pytest.param("\x85\u2028", "; filename=\"__\"; filename*=UTF-8''%C2%85%E2%80%A8", id="line_ends_of_unicode"),
        pytest.param(
            "a\udcff\udc80.txt",
            "; filename=\"a__.txt\"; filename*=UTF-8''a%EF%BF%BD%EF%BF%BD.txt",
            id="bytes_that_are_no_utf_8",
        ),
        pytest.param("dir/sub/a.txt", '; filename="a.txt"', id="the_last_component_counts_4_3"),
        pytest.param("dir/", '; filename="dir"', id="a_slash_at_the_end_4_3"),
        pytest.param("/", "", id="nothing_but_a_slash"),
        pytest.param("", "", id="no_name"),
        pytest.param("a.tar.gz", '; filename="a.tar.gz"', id="two_suffixes"),
        pytest.param("e\u0301", "; filename=\"e_\"; filename*=UTF-8''e%CC%81", id="no_normalisation"),
    ],
)
def test_a_name_becomes_a_fallback_and_the_exact_name(
    disposition_type: DispositionType, name: str, expected: str
) -> None:
    assert format_disposition(disposition_type, name) == disposition_type + expected


@given(st.sampled_from(["attachment", "inline"]), st.text(st.characters() | st.characters(categories=["Cs"])))
@example("attachment", '"; filename="evil')
@example("inline", "\r\nSet-Cookie: a=b")
@example("attachment", "\udce9%0a")
@example("attachment", "\U0001f600" * 63)  # 252 bytes, near the limit of most file systems
def test_any_name_reads_back(disposition_type: DispositionType, name: str) -> None:
    value = format_disposition(disposition_type, name)
    assert re.fullmatch(r"[\x20-\x7e]*", value)
    base = name.rstrip("/").split("/")[-1]
    decoded = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in base)
    read_type, fallback, exact = read(value)
    assert (read_type, (fallback or "") if exact is None else exact) == (disposition_type, decoded)
    assert fallback is None or len(fallback) == len(base)


@given(st.binary(min_size=1, max_size=255))
def test_any_file_name_of_the_disk_can_be_sent(name: bytes) -> None:
    value = format_disposition("attachment", name.decode("utf-8", "surrogateescape"))
    fallback = read(value)[1] or ""
    assert not re.search(r"%[0-9A-Fa-f]{2}|[\\/]|[^\x20-\x7e]", fallback)
