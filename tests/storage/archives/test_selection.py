"""Glob patterns: what they match, and that their cost is bounded."""

import pytest

from fileserve.storage.archives.selection import Selection
from fileserve.storage.errors import InvalidName


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("*.jpg", b"a.jpg", True, id="last_component"),
        pytest.param("*.jpg", b"deep/er/a.jpg", True, id="last_component_at_any_depth"),
        pytest.param("deep", b"deep/a", False, id="not_a_component_on_the_way"),
        pytest.param("deep/*", b"deep/a", True, id="whole_path"),
        pytest.param("deep/*", b"deep/er/a", False, id="star_stays_within_a_component"),
        pytest.param("deep/*", b"x/deep/a", False, id="whole_path_from_the_beginning"),
        pytest.param("d?ep/a", b"d/ep/a", False, id="question_mark_is_no_slash"),
        pytest.param("/a", b"a", True, id="slash_at_the_beginning"),
        pytest.param("/a", b"deep/a", False, id="slash_at_the_beginning_means_the_whole_path"),
        pytest.param("a/", b"deep/a", True, id="slash_at_the_end_says_nothing"),
        pytest.param("**/a", b"a", True, id="two_stars_are_no_component"),
        pytest.param("**/a", b"x/y/a", True, id="two_stars_are_many_components"),
        pytest.param("x/**/a", b"x/y/z/a", True, id="two_stars_within"),
        pytest.param("x/**/a/**/b", b"x/a/a/c/b", True, id="two_stars_twice"),
        pytest.param("x/**", b"x/y/z", True, id="two_stars_at_the_end"),
        pytest.param("x/**/a", b"y/a", False, id="two_stars_do_not_replace_the_beginning"),
        pytest.param("a**b/c", b"a/b/c", False, id="two_stars_in_a_component_are_one"),
        pytest.param("[ab].txt", b"b.txt", True, id="one_of_a_set"),
        pytest.param("[!ab].txt", b"b.txt", False, id="none_of_a_set"),
        pytest.param("?.txt", "\N{GRINNING FACE}.txt".encode(), True, id="a_character_is_not_a_byte"),
        pytest.param("*.txt", b"\xff.txt", True, id="no_utf8"),
        pytest.param("a.b", b"axb", False, id="a_dot_is_a_dot"),
        pytest.param("A", b"a", False, id="case_counts"),
        pytest.param("a*", b"a\nb", True, id="newline"),
    ],
)
def test_patterns(pattern: str, path: bytes, matches: bool) -> None:
    name = tuple(path.split(b"/"))
    assert Selection((pattern,)).takes(name) is (matches or pattern == "deep")  # a directory's name takes all in it
    assert Selection((), (pattern,)).excludes(name) is matches
    assert Selection((), (pattern,)).takes(name) is not matches


@pytest.mark.parametrize(
    ("pattern", "path", "takes"),
    [
        pytest.param("deep", b"deep/er/a", True, id="a_name_at_any_depth_of_what_is_in_it"),
        pytest.param("deep/", b"x/deep/a", True, id="a_slash_at_the_end_says_nothing"),
        pytest.param("x/deep", b"x/deep/er/a", True, id="a_whole_path"),
        pytest.param("x/deep", b"y/x/deep/a", False, id="a_whole_path_from_the_beginning"),
        pytest.param("d*p", b"deep/a", False, id="not_with_wildcards"),
    ],
)
def test_a_directory_that_is_included_by_name_is_included_whole(pattern: str, path: bytes, takes: bool) -> None:
    assert Selection((pattern,)).takes(tuple(path.split(b"/"))) is takes


def test_exclusion_wins_over_inclusion() -> None:
    assert not Selection(("*.txt",), ("a.*",)).takes((b"a.txt",))


def test_what_lies_in_an_excluded_directory_is_not_reached() -> None:
    selection = Selection((), ("deep",))
    assert selection.reaches((b"a",), is_directory=False)
    assert not selection.reaches((b"deep", b"a"), is_directory=False)
    assert not Selection(("a",)).reaches((b"x",), is_directory=True)


@pytest.mark.parametrize(
    ("include", "exclude"),
    [
        pytest.param(("a",) * 20, ("b",) * 13, id="too_many"),
        pytest.param(("a" * 257,), (), id="too_long"),
        pytest.param(("",), (), id="empty"),
        pytest.param((), ("//",), id="only_slashes"),
        pytest.param((), ("a\0",), id="nul"),
    ],
)
def test_patterns_are_limited(include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
    with pytest.raises(InvalidName, match="pattern"):
        Selection(include, exclude)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        pytest.param("*a" * 127 + "b", b"a" * 255, id="many_stars"),
        pytest.param("**/a/" * 50 + "b", b"/".join([b"a"] * 2000), id="many_depths"),
    ],
)
def test_no_pattern_takes_long(pattern: str, path: bytes) -> None:
    """The way back through 127 stars would take longer than anybody waits."""
    assert not Selection((pattern,)).takes(tuple(path.split(b"/")))
