import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.storage.errors import InvalidName, NameTooLong, NotFound, StorageError
from fileserve.storage.names import Name, check_name, display_name, is_shown, parse_name, quote_name
from tests.hostile import MALFORMED, STRANGE

components = st.binary(min_size=1, max_size=255).filter(
    lambda component: component not in (b".", b"..") and not set(component) & {0, ord("/")}
)
names = st.lists(components, max_size=15).map(tuple)


@pytest.mark.parametrize(
    ("encoded", "name", "directory"),
    [
        pytest.param(b"", (), True, id="the_root"),
        pytest.param(b"a", (b"a",), False, id="one_component"),
        pytest.param(b"a/b", (b"a", b"b"), False, id="two_components"),
        pytest.param(b"a/b/", (b"a", b"b"), True, id="slash_at_the_end_means_a_directory"),
        pytest.param(b"a%20b", (b"a b",), False, id="space_rfc3986_2_1"),
        pytest.param(b"%e4%BD%a0", ("\N{CJK UNIFIED IDEOGRAPH-4F60}".encode(),), False, id="either_case_rfc3986_2_1"),
        pytest.param(b"%ff", (b"\xff",), False, id="no_utf8"),
        pytest.param(b"\xff", (b"\xff",), False, id="raw_byte"),
        pytest.param(b"%252e%252e", (b"%2e%2e",), False, id="decoded_once_rfc3986_2_4"),
        pytest.param(b"a+b", (b"a+b",), False, id="plus_is_a_plus"),
        pytest.param(b"a%0Ab", (b"a\nb",), False, id="newline"),
        pytest.param(b"a\\b%5c", (b"a\\b\\",), False, id="backslash"),
        pytest.param(b"...", (b"...",), False, id="three_dots_are_a_name"),
        pytest.param(b".hidden/a", (b".hidden", b"a"), False, id="hidden_names_are_names"),
    ],
)
def test_an_encoded_path_is_split_and_then_decoded_once(encoded: bytes, name: Name, directory: bool) -> None:
    assert parse_name(encoded) == (name, directory)


@pytest.mark.parametrize(
    "encoded", [*MALFORMED.values(), b"a\0b", b"% 2a", b"%\n2"], ids=[*MALFORMED, "raw_nul", "space", "newline"]
)
def test_malformed_paths_name_nothing(encoded: bytes) -> None:
    with pytest.raises(InvalidName):
        parse_name(encoded)


@pytest.mark.parametrize("encoded", STRANGE.values(), ids=STRANGE.keys())
def test_strange_paths_name_only_what_they_spell(encoded: bytes) -> None:
    name, _directory = parse_name(encoded)
    assert parse_name(quote_name(name).encode()) == (name, False)
    assert not {b"..", b".", b""} & set(name)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param((b"",), InvalidName, id="empty_component"),
        pytest.param((b"a", b"", b"b"), InvalidName, id="empty_component_within"),
        pytest.param((b".",), InvalidName, id="dot"),
        pytest.param((b"a", b".."), InvalidName, id="dots"),
        pytest.param((b"a/b",), InvalidName, id="slash"),
        pytest.param((b"/",), InvalidName, id="only_a_slash"),
        pytest.param((b"a\0",), InvalidName, id="nul"),
        pytest.param((b"a" * 256,), NameTooLong, id="component_too_long"),
        pytest.param((b"a" * 255,) * 15 + (b"a" * 127, b"a" * 128), NameTooLong, id="4096_bytes"),
        pytest.param((b".hidden",), NotFound, id="hidden"),
        pytest.param((b"a", b".hidden", b"b"), NotFound, id="hidden_within"),
        pytest.param((b".hidden", b".."), InvalidName, id="malformed_comes_before_hidden"),
        pytest.param((b"." + b"a" * 255,), NameTooLong, id="too_long_comes_before_hidden"),
    ],
)
def test_a_name_that_no_file_may_have_is_refused(name: Name, error: type[StorageError]) -> None:
    with pytest.raises(error) as caught:
        check_name(name, hidden=False)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "name",
    [
        pytest.param((), id="the_root"),
        pytest.param((b".hidden", b"..."), id="hidden"),
        pytest.param((b"a" * 255,) * 16, id="4095_bytes"),
        pytest.param((b"a" * 255, b"\\", b"\n", b"\xff"), id="any_other_byte"),
    ],
)
def test_every_other_name_is_fine_where_hidden_ones_are_seen(name: Name) -> None:
    check_name(name, hidden=True)


@pytest.mark.parametrize("name", [(b".fileserve-put-1",), (b"a", b".fileserve-"), (b".fileserve-x", b"a")])
def test_the_name_of_a_file_that_is_being_written_is_nobodys(name: Name) -> None:
    with pytest.raises(NotFound):
        check_name(name, hidden=True)
    assert [is_shown(component, hidden=True) for component in name].count(False) == 1
    assert [is_shown(component.decode(), hidden=True) for component in name].count(False) == 1


def test_a_hidden_name_is_refused_in_the_words_of_a_missing_one() -> None:
    with pytest.raises(NotFound) as hidden:
        check_name((b".hidden",), hidden=False)
    assert str(hidden.value) == str(NotFound())


@given(names)
def test_a_quoted_name_parses_back(name: Name) -> None:
    assert parse_name(quote_name(name).encode("ascii"))[0] == name


@given(names)
def test_a_quoted_name_is_safe_in_markup_and_in_shell_quotes(name: Name) -> None:
    assert set(quote_name(name)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%/")


@given(st.binary(max_size=40) | st.text("%./2fF0eE\\a", max_size=20).map(str.encode))
def test_any_path_parses_to_a_name_beneath_the_root_or_is_refused(encoded: bytes) -> None:
    try:
        name, _directory = parse_name(encoded)
    except InvalidName:
        return
    check_name(name, hidden=True)
    assert not any(b"/" in component or component in (b"", b".", b"..") for component in name)


@pytest.mark.parametrize(
    ("component", "shown"),
    [
        pytest.param(b"plain name.txt", "plain name.txt", id="plain"),
        pytest.param("na\u00efve \u4f60".encode(), "na\u00efve \u4f60", id="utf8"),
        pytest.param(b"a\xffb", "a\ufffdb", id="no_utf8"),
        pytest.param(b"a\xe4\xbdb", "a\ufffdb", id="cut_utf8"),
        pytest.param(b"\xed\xa0\x80", "\ufffd" * 3, id="surrogate"),
        pytest.param(b"a\nb\tc\x1b[2J\x7f", "a\ufffdb\ufffdc\ufffd[2J\ufffd", id="control_characters"),
        pytest.param("a\x85b\x9bc".encode(), "a\ufffdb\ufffdc", id="c1_control_characters"),
        pytest.param("photo\u202egpj.exe".encode(), "photo\ufffdgpj.exe", id="bidi_override_uax9"),
        pytest.param("\u2066a\u2069\u200f\u061c".encode(), "\ufffda\ufffd\ufffd\ufffd", id="bidi_marks_uax9"),
        pytest.param("a\u2028b\u2029".encode(), "a\ufffdb\ufffd", id="line_and_paragraph_separators"),
        pytest.param("\U0001f469\u200d\U0001f680".encode(), "\U0001f469\u200d\U0001f680", id="joined_emoji_stay"),
        pytest.param(b"<b>&amp;", "<b>&amp;", id="markup_is_left_to_the_template"),
    ],
)
def test_a_component_is_shown_without_what_misleads(component: bytes, shown: str) -> None:
    assert display_name(component) == shown
