"""The fields of tus 1.0.0: what they hold, and what is none of them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics import tus

SHA_1 = base64.b64encode(bytes(20)).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("007", 7, id="leading_zeros"),
        pytest.param("9" * 18, 10**18 - 1, id="as_large_as_may_be"),
        pytest.param("1" + "0" * 18, None, id="larger_than_any_disk"),
        pytest.param("", None, id="nothing"),
        pytest.param("-1", None, id="sign"),
        pytest.param("1.0", None, id="fraction"),
        pytest.param("1, 1", None, id="repeated_field"),
        pytest.param("\u0661", None, id="other_digits"),
        pytest.param("1\n", None, id="line_feed_behind"),
    ],
)
def test_numbers(value: str, expected: int | None) -> None:
    assert tus.number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("filename d29ybGQ=", {"filename": b"world"}, id="one_pair"),
        pytest.param("a YQ==,b Yg==", {"a": b"a", "b": b"b"}, id="two_pairs"),
        pytest.param("a YQ==, b Yg==", {"a": b"a", "b": b"b"}, id="space_behind_the_comma"),
        pytest.param("is_confidential", {"is_confidential": b""}, id="no_value"),
        pytest.param("filetype ,a YQ==", {"filetype": b"", "a": b"a"}, id="empty_value"),
        pytest.param("filename /////w==", {"filename": b"\xff\xff\xff\xff"}, id="bytes_that_are_no_utf_8"),
        pytest.param("a YQ==,a Yg==", None, id="a_key_twice"),
        pytest.param("a YQ==,", None, id="empty_pair"),
        pytest.param("a YQ", None, id="no_padding"),
        pytest.param("a Y*==", None, id="no_base64"),
        pytest.param("a YQ== YQ==", None, id="two_values"),
        pytest.param("\xe4 YQ==", None, id="key_that_is_no_ascii"),
    ],
)
def test_metadata(value: str, expected: dict[str, bytes] | None) -> None:
    assert tus.metadata(value) == expected


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        pytest.param(f"sha1 {SHA_1}", True, id="sha1_that_everybody_must_take"),
        pytest.param("sha256 " + base64.b64encode(bytes(32)).decode(), True, id="sha256"),
        pytest.param("sha512 " + base64.b64encode(bytes(64)).decode(), True, id="sha512"),
        pytest.param(f"SHA1 {SHA_1}", False, id="names_have_a_case"),
        pytest.param(f"crc32 {SHA_1}", False, id="unknown_algorithm"),
        pytest.param("sha1 AAAA", False, id="digest_of_another_length"),
        pytest.param("sha1", False, id="no_digest"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_checksums(value: str, is_one: bool) -> None:
    assert (tus.checksum(value) is not None) == is_one


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("final;/uploads/a", ("/uploads/a",), id="one_part"),
        pytest.param("final;/uploads/b http://x/uploads/a", ("/uploads/b", "http://x/uploads/a"), id="in_their_order"),
        pytest.param("final;", None, id="no_part"),
        pytest.param("final", None, id="no_semicolon"),
        pytest.param("partial", None, id="a_part_itself"),
        pytest.param("Final;/uploads/a", None, id="words_have_a_case"),
    ],
)
def test_parts(value: str, expected: tuple[str, ...] | None) -> None:
    assert tus.final_parts(value) == expected


@given(st.dictionaries(st.text(st.characters(min_codepoint=0x2D, max_codepoint=0x7E), min_size=1), st.binary()))
def test_what_a_client_writes_is_read_so(told: dict[str, bytes]) -> None:
    value = ",".join(f"{key} {base64.b64encode(data).decode()}" for key, data in told.items())
    assert tus.metadata(value) == told


@given(st.text())
def test_nothing_that_is_sent_breaks_it(value: str) -> None:
    tus.number(value), tus.metadata(value), tus.checksum(value), tus.final_parts(value)
