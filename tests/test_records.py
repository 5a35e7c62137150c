"""What must not stand in a log: control characters, and what proves who somebody is."""

import pytest

from fileserve.records import escape, new_request_ids, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("films/é😀.mkv", "films/é😀.mkv", id="letters_stay"),
        pytest.param("a\nb\r\tc\0", r"a\x0ab\x0d\x09c\x00", id="c0"),
        pytest.param("\x1b[31mred\x7f", r"\x1b[31mred\x7f", id="escape_sequence"),
        pytest.param("\x9b31m", r"\x9b31m", id="c1"),
        pytest.param("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d", id="line_separators"),
        pytest.param("gpj.\u202eexe", r"gpj.\u202eexe", id="turned_around"),
        pytest.param("a\udcffb", r"a\udcffb", id="surrogate"),
    ],
)
def test_what_moves_a_cursor_or_ends_a_line_is_escaped(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param("GET /live?token=s3cr3t&a=b", "s3cr3t", id="query"),
        pytest.param("operator_token='s3cr3t'", "s3cr3t", id="setting"),
        pytest.param("Authorization: Bearer s3cr3t", "s3cr3t", id="bearer"),
        pytest.param("('authorization', 'Basic s3cr3t')", "s3cr3t", id="basic"),
        pytest.param("Bearer abcdefghijklmnop", "abcdefghijklmnop", id="bare"),
        pytest.param("cookie: fileserve_operator=s3cr3t; a=b", "s3cr3t", id="cookie"),
        pytest.param("cookie: a=b; fileserve_operator=s3cr3t", "s3cr3t", id="second_cookie"),
        pytest.param('{"password": "s3cr3t"}', "s3cr3t", id="json"),
        pytest.param("b'authorization', b'Bearer s3cr3t'", "s3cr3t", id="raw_fields_of_asgi"),
    ],
)
def test_what_proves_who_somebody_is_is_not_told(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize(
    "text", ["tokens: 5 files", "a.token stored, 5 bytes", "Basic instructions", "films/password.txt"]
)
def test_what_only_speaks_of_it_stays(text: str) -> None:
    assert redact(text) == text


def test_no_two_processes_give_the_same_id() -> None:
    one, other = new_request_ids(), new_request_ids()
    ids = [next(one), next(one), next(other)]
    assert len(set(ids)) == 3
