"""Which digests a request asks for, and how they are written: RFC 9530, RFC 9651 §3.2, RFC 3230 §4.3, sha256sum."""

import hashlib
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.digest import (
    Algorithm,
    checksum_line,
    format_digest,
    legacy_digest,
    legacy_wanted,
    sent,
    wanted,
)
from tests.tools import tool

SHA_256, SHA_512 = Algorithm.SHA_256, Algorithm.SHA_512
EMPTY = hashlib.sha256(b"").digest()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, (), id="no_field"),
        pytest.param("", (), id="an_empty_dictionary_9651_3_2"),
        pytest.param("sha-256=1", (SHA_256,), id="one_algorithm"),
        pytest.param("sha-512=3, sha-256=10, unixsum=0", (SHA_256, SHA_512), id="the_higher_preference_first_9530_4"),
        pytest.param("sha-512=9,sha-256=3", (SHA_512, SHA_256), id="no_space_is_needed"),
        pytest.param("sha-512=5, sha-256=5", (SHA_256, SHA_512), id="among_equals_sha_256_first"),
        pytest.param("sha-256=0, sha-512=1", (SHA_512,), id="0_is_not_acceptable_9530_4"),
        pytest.param("sha-256=0", (), id="nothing_is_acceptable"),
        pytest.param("md5=10", (), id="an_unknown_algorithm_is_ignored"),
        pytest.param('x="a,b\\"", y=?1, sha-256=2', (SHA_256,), id="members_of_other_types_9651_3_3"),
        pytest.param('x=(1 "a" b;c=1), sha-256=2', (SHA_256,), id="an_inner_list_9651_3_1_1"),
        pytest.param("x=(), y=( 1 ), sha-256=2", (SHA_256,), id="an_inner_list_with_spaces"),
        pytest.param("x=-1.5, y=:AQ==:, z=@0, *w=*, sha-256=2", (SHA_256,), id="numbers_bytes_dates_tokens"),
        pytest.param('x=%"f%c3%bc", sha-256=2', (SHA_256,), id="a_display_string_9651_3_3_8"),
        pytest.param("x;a, sha-256=2;b=1; c", (SHA_256,), id="parameters_are_ignored_9651_3_1_2"),
        pytest.param("sha-256=1, sha-512=5, sha-256=9", (SHA_256, SHA_512), id="the_last_of_a_key_counts_9651_3_2"),
        pytest.param("sha-256=007", (SHA_256,), id="leading_zeros_9651_3_3_1"),
        pytest.param("sha-256=2 \t,\t sha-512=1", (SHA_256, SHA_512), id="optional_white_space_9651_3_2"),
    ],
)
def test_algorithms_are_wanted(value: str | None, expected: tuple[Algorithm, ...]) -> None:
    assert wanted(value) == expected


RAW_256, RAW_512 = bytes(range(32)), bytes(range(64))
B64_256, B64_512 = b64encode(RAW_256).decode(), b64encode(RAW_512).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("", {}, id="an_empty_dictionary"),
        pytest.param(f"sha-256=:{B64_256}:", {SHA_256: RAW_256}, id="one_9530_2"),
        pytest.param(f"sha-512=:{B64_512}:,sha-256=:{B64_256}:", {SHA_256: RAW_256, SHA_512: RAW_512}, id="both"),
        pytest.param(f"sha-256=:{B64_256.rstrip('=')}:", {SHA_256: RAW_256}, id="padding_may_be_missing_9651_4_2_7"),
        pytest.param(f"sha-256=:{B64_256}:;a=1", {SHA_256: RAW_256}, id="parameters_are_ignored"),
        pytest.param(f"md5=:AAAA:, sha-256=:{B64_256}:", {SHA_256: RAW_256}, id="others_are_passed_over_9530_2"),
        pytest.param("md5=:AAAA:", {}, id="nothing_that_is_known"),
        pytest.param(f"sha-256=:AAAA:, sha-256=:{B64_256}:", {SHA_256: RAW_256}, id="the_last_of_a_key_counts"),
        pytest.param(f"sha-256={B64_256}", None, id="no_colons"),
        pytest.param("sha-256=:AAAA:", None, id="another_length"),
        pytest.param(f"sha-512=:{B64_256}:", None, id="length_of_another_algorithm"),
        pytest.param("sha-256", None, id="no_value"),
        pytest.param("sha-256=::", None, id="empty_value"),
        pytest.param('sha-256="a"', None, id="a_string"),
        pytest.param("sha-256=:A:", None, id="no_base64"),
        pytest.param(f"sha-256=:{B64_256}:,", None, id="a_comma_too_many_9651_4_2_2"),
        pytest.param(f"SHA-256=:{B64_256}:", None, id="keys_are_lower_case_9651_3_1_2"),
        pytest.param("?", None, id="malformed"),
    ],
)
def test_digests_are_sent(value: str, expected: dict[Algorithm, bytes] | None) -> None:
    assert sent(value) == expected


def test_what_is_written_is_what_is_read() -> None:
    digests = {SHA_256: RAW_256, SHA_512: RAW_512}
    assert sent(format_digest(digests)) == digests


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
def test_any_field_is_read_or_is_malformed(text: str) -> None:
    assert all(len(value) == algorithm.length for algorithm, value in (sent(text) or {}).items())


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("sha-512", id="without_a_preference"),
        pytest.param("sha-512=11", id="a_preference_above_10_9530_4"),
        pytest.param("sha-512=-1", id="a_negative_preference_9530_4"),
        pytest.param("sha-512=1.0", id="a_decimal_9530_4"),
        pytest.param("sha-512=?1", id="a_boolean"),
        pytest.param('sha-512="1"', id="a_string"),
        pytest.param("sha-512=(1)", id="a_list"),
        pytest.param("SHA-512=1", id="a_key_in_upper_case_9651_3_1_2"),
        pytest.param("sha-512 =1", id="a_space_before_the_sign"),
        pytest.param("sha-512= 1", id="a_space_behind_the_sign"),
        pytest.param("sha-512=", id="no_value"),
        pytest.param("sha-512=1;Q", id="a_parameter_in_upper_case"),
        pytest.param("x=1 y=1", id="no_comma"),
        pytest.param("x=(1", id="an_open_list"),
        pytest.param('x=(1"a")', id="a_list_without_spaces_9651_3_1_1"),
        pytest.param('x="a', id="an_open_string"),
        pytest.param('x="\N{SNOWMAN}"', id="a_string_beyond_ascii"),
        pytest.param("x=1234567890123456", id="sixteen_digits_9651_3_3_1"),
        pytest.param("x=1.2345", id="four_decimals_9651_3_3_2"),
        pytest.param("x=\N{ARABIC-INDIC DIGIT ONE}", id="a_digit_that_is_not_ascii"),
        pytest.param("", id="an_empty_member_9651_3_2"),
    ],
)
def test_a_malformed_field_is_ignored_whole(member: str) -> None:
    for value in (f"sha-256=1, {member}", f"{member}, sha-256=1"):
        assert wanted(value) == ()


@given(st.text(max_size=40) | st.from_regex(r"[sha0-9=, ;()\"\\.:?@%*-]{0,40}", fullmatch=True))
def test_no_text_raises(value: str) -> None:
    assert set(wanted(value)) <= set(Algorithm)
    assert set(legacy_wanted(value)) <= set(Algorithm)


@given(st.permutations([("sha-256", 3), ("sha-512", 7), ("md5", 10), ("x", 0)]))
def test_the_order_of_members_does_not_matter(members: list[tuple[str, int]]) -> None:
    assert wanted(", ".join(f"{key}={value}" for key, value in members)) == (SHA_512, SHA_256)


@pytest.mark.parametrize(
    "filler", ["x=(" + "1 " * 30_000, "x=" + '"\\\\' * 30_000, "a;" * 30_000, "a," * 30_000, "1" * 60_000]
)
def test_a_long_field_takes_linear_time(filler: str) -> None:
    """The suite's own time limit tells: a backtracking match would take hours."""
    assert wanted(filler) == ()
    assert legacy_wanted(filler + "\x00") == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, (), id="no_field"),
        pytest.param("", (), id="nothing"),
        pytest.param("sha-256", (SHA_256,), id="no_weight_is_1_3230_4_3_1"),
        pytest.param("SHA-512;q=1, SHA-256;q=1, SHA;q=0.1", (SHA_256, SHA_512), id="what_aria2_sends"),
        pytest.param("sha-512;q=0.3, SHA-256;q=0.5, md5;q=0", (SHA_256, SHA_512), id="names_have_no_case_3230_4_1_1"),
        pytest.param("sha-512, sha-256;q=0.999", (SHA_512, SHA_256), id="three_decimals"),
        pytest.param("sha-256;q=0", (), id="0_is_not_acceptable"),
        pytest.param("sha-256;q=0.000, sha-512", (SHA_512,), id="0_with_decimals_is_not_acceptable"),
        pytest.param("sha-256 ; q=1.", (SHA_256,), id="white_space_and_a_bare_point_9110_12_4_2"),
        pytest.param("sha-256;Q=1", (SHA_256,), id="the_weight_has_no_case"),
        pytest.param(", sha-256,,", (SHA_256,), id="empty_members_9110_5_6_1"),
        pytest.param("md5, UNIXsum", (), id="unknown_algorithms"),
        pytest.param("sha-256;q=2", (), id="a_weight_above_1"),
        pytest.param("sha-256;q=0.0001", (), id="four_decimals"),
        pytest.param("sha-256;q=", (), id="no_weight_behind_the_sign"),
        pytest.param("sha-256;x=1", (), id="another_parameter"),
        pytest.param("sha-256, s h a", (), id="no_token"),
    ],
)
def test_legacy_algorithms_are_wanted(value: str | None, expected: tuple[Algorithm, ...]) -> None:
    assert legacy_wanted(value) == expected


def test_a_digest_is_written_as_a_byte_sequence() -> None:
    """RFC 9530 appendix D has the digest of the content `{"hello": "world"}` and a line feed."""
    content = b'{"hello": "world"}\n'
    digests = {SHA_256: hashlib.sha256(content).digest(), SHA_512: hashlib.sha512(content).digest()}
    sha256, sha512 = format_digest(digests).split(", ")
    assert sha256 == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert sha512.startswith("sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4y")


@given(st.binary(min_size=32, max_size=64))
def test_what_is_written_reads_back(digest: bytes) -> None:
    assert b64decode(format_digest({SHA_512: digest}).removeprefix("sha-512=:").removesuffix(":")) == digest
    assert b64decode(legacy_digest(SHA_512, digest).removeprefix("SHA-512=")) == digest


NAMES = {
    "plain": b"plain.txt",
    "spaces": b"  two  spaces ",
    "star": b"*star",
    "line_feed": b"a\nb",
    "carriage_return": b"a\rb",
    "carriage_return_at_the_end": b"a\r",
    "backslash": b"a\\b",
    "backslash_n": b"a\\nb",
    "backslash_first": b"\\a",
    "no_utf8": b"\xff\xfe",
    "utf8": "naïve \N{GRINNING FACE}".encode(),
    "hexadecimal": EMPTY.hex().encode(),
    "hash_sign": b"# comment",
    "control_characters": b"\x01\x1b[31m\x7f",
    "255_bytes": b"x" * 255,
    "in_a_folder": b"folder/file",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.system
@pytest.mark.parametrize("name", [pytest.param(name, id=key) for key, name in NAMES.items()])
def test_sha256sum_prints_and_checks_the_same_line(folder: Path, name: bytes) -> None:
    (folder / name.decode("utf-8", "surrogateescape")).write_bytes(name)
    line = checksum_line(hashlib.sha256(name).digest(), name)
    printed = subprocess.run([tool("sha256sum"), "--", name], cwd=folder, capture_output=True, check=True)
    assert line == printed.stdout
    subprocess.run([tool("sha256sum"), "--check", "--strict"], input=line, cwd=folder, capture_output=True, check=True)


@pytest.mark.system
def test_sha256sum_refuses_the_line_of_another_content(folder: Path) -> None:
    (folder / "name").write_bytes(b"other")
    line = checksum_line(EMPTY, b"name")
    checked = subprocess.run([tool("sha256sum"), "--check"], input=line, cwd=folder, capture_output=True, check=False)
    assert checked.returncode == 1
    assert b"FAILED" in checked.stdout
