"""The pure half of the wire rules: Host and target. RFC 9110 §4.2, §7.2, RFC 9112 §3.2, RFC 3986 §3.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.server import head
from fileserve.server.head import is_authority, resolve_target, size_of


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        pytest.param(b"example.org", True, id="name"),
        pytest.param(b"example.org:80", True, id="name_and_port"),
        pytest.param(b"example.org:", True, id="empty_port_3986_3.2.3"),
        pytest.param(b"a_b~c!$&'()*+,;=", True, id="every_character_of_a_name_3986_3.2.2"),
        pytest.param(b"%41.org", True, id="escape"),
        pytest.param(b"127.0.0.1:8000", True, id="ipv4"),
        pytest.param(b"[2001:db8::1]", True, id="ipv6"),
        pytest.param(b"[::ffff:1.2.3.4]:80", True, id="ipv6_with_ipv4"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b":80", False, id="port_alone"),
        pytest.param(b"a b", False, id="space"),
        pytest.param(b"a\tb", False, id="tab"),
        pytest.param(b"a/b", False, id="slash"),
        pytest.param(b"a?b", False, id="question_mark"),
        pytest.param(b"a#b", False, id="number_sign"),
        pytest.param(b"u@a", False, id="user_information"),
        pytest.param(b"a:b", False, id="port_of_letters"),
        pytest.param(b"a:80:80", False, id="two_ports"),
        pytest.param(b"a%4", False, id="broken_escape"),
        pytest.param(b"a\\b", False, id="backslash"),
        pytest.param(b'a"b', False, id="quote"),
        pytest.param(b"a<b", False, id="less_than"),
        pytest.param(b"\xc3\xa4.org", False, id="not_ascii"),
        pytest.param(b"::1", False, id="ipv6_without_brackets"),
        pytest.param(b"[::1", False, id="open_bracket"),
        pytest.param(b"[:::1]", False, id="bad_ipv6"),
        pytest.param(b"[1.2.3.4]", False, id="ipv4_in_brackets"),
        pytest.param(b"[fe80::1%25eth0]", False, id="ipv6_with_zone"),
        pytest.param(b"a\n", False, id="line_feed"),
        pytest.param(b"a" * 255, True, id="longest_name_3986_3.2.2"),
        pytest.param(b"a" * 256, False, id="longer_than_any_name_3986_3.2.2"),
    ],
)
def test_a_host_is_valid_by_the_grammar(value: bytes, valid: bool) -> None:
    assert is_authority(value) is valid


def test_a_long_host_is_not_kept() -> None:
    kept = head._matches_authority.cache_info().currsize
    assert not is_authority(b"b" * 60_000)
    assert head._matches_authority.cache_info().currsize == kept


@given(st.binary(max_size=40))
def test_no_host_that_is_valid_can_end_a_line_or_a_url_component(value: bytes) -> None:
    if is_authority(value):
        assert not set(value) & set(b' \t\r\n\0/?#@\\"<>')


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_resolved_target_is_in_origin_form(authority: bytes, path: bytes) -> None:
    fields = [(b"a", b"b"), (b"host", b"old"), (b"c", b"d")]
    target = resolve_target(b"GET", b"http://" + authority + b"/" + path, fields)
    if target is not None:
        assert target.startswith(b"/")
        (host,) = [value for name, value in fields if name == b"host"]
        assert is_authority(host)
        assert [field for field in fields if field[0] != b"host"] == [(b"a", b"b"), (b"c", b"d")]


def test_the_size_of_a_head_is_that_of_its_lines() -> None:
    lines = b" /target HTTP/1.1\r\nhost: a\r\nb: cd\r\n"
    assert size_of(b"/target", [(b"host", b"a"), (b"b", b"cd")]) == len(lines)
