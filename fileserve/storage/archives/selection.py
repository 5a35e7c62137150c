"""Which files of a directory an archive takes: glob patterns to include and to exclude.

A pattern without a slash is compared with the last component of a path, at any depth. One with a slash is compared
with the whole path below the archived directory, component by component: ``*``, ``?`` and ``[…]`` stay within a
component, and ``**`` as a component stands for any number of them. A slash at the beginning only says "the whole
path"; one at the end says nothing. Names are compared as text, so that ``?`` is one character and not one byte.

The work is bounded: components are matched by expressions that never go back (``fnmatch`` makes them so since
Python 3.9), and components in a row by a set of positions, not by trying every way.
"""

import fnmatch
import os
import re
from collections.abc import Sequence

from fileserve.storage.errors import InvalidName
from fileserve.storage.names import Name

__all__ = ["Selection"]

MAX_PATTERNS = 32
MAX_PATTERN = 256  # characters of one
MAX_TOGETHER = 1024  # characters of all: reading them is work, and so is keeping them

_ANY_DEPTH = "**"
_WILDCARDS = frozenset("*?[")


class Selection:
    """The files that match one of *include* (all, when it is empty) and none of *exclude*.

    Policy: to include a directory by its name, without wildcards, is to include all that lies in it.

    Raises ``InvalidName`` for more than 32 patterns or 1,024 characters, or one that is empty or longer than 256.
    """

    __slots__ = ("_directories", "_exclude", "_include", "is_everything", "is_partial")

    def __init__(self, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> None:
        if len(include) + len(exclude) > MAX_PATTERNS:
            raise InvalidName(f"there are more than {MAX_PATTERNS} patterns")
        if sum(map(len, (*include, *exclude))) > MAX_TOGETHER:
            raise InvalidName(f"the patterns have more than {MAX_TOGETHER} characters together")
        self._include = tuple(map(_Pattern, include))
        self._exclude = tuple(map(_Pattern, exclude))
        self._directories = tuple(pattern for pattern in self._include if pattern.is_name)
        self.is_partial = bool(include)
        self.is_everything = not include and not exclude

    def excludes(self, path: Name) -> bool:
        """Tell whether *path* itself is excluded; what lies beneath an excluded directory is not looked at."""
        return _match(self._exclude, path)

    def takes(self, path: Name) -> bool:
        """Tell whether a file is taken, when no directory on its way is excluded."""
        if _match(self._exclude, path):
            return False
        if not self._include or _match(self._include, path):
            return True
        return any(_match(self._directories, path[:depth]) for depth in range(1, len(path)))

    def reaches(self, path: Name, *, is_directory: bool) -> bool:
        """Tell whether *path* is sure to be taken, with every directory on its way.

        Policy: with patterns to include, no directory is: nothing in it may match, and then it is left out.
        """
        if any(_match(self._exclude, path[:depth]) for depth in range(1, len(path))):
            return False
        return not (is_directory and self._include) and self.takes(path)


class _Pattern:
    """One pattern, read: whether it is for the whole path, and its components; ``None`` stands for ``**``."""

    __slots__ = ("_components", "_whole", "is_name")

    def __init__(self, text: str) -> None:
        stripped = text.strip("/")
        if not stripped or len(text) > MAX_PATTERN or "\0" in text:
            raise InvalidName(f"a pattern is empty or longer than {MAX_PATTERN} characters")
        self.is_name = _WILDCARDS.isdisjoint(text)
        self._whole = "/" in text.rstrip("/")
        self._components = [_compile(component) for component in stripped.split("/")]

    def matches(self, path: Sequence[str]) -> bool:
        if not self._whole:
            component = self._components[0]
            return component is None or component.match(path[-1]) is not None
        return len(self._components) in self._positions(path)

    def _positions(self, path: Sequence[str]) -> set[int]:
        """Return how many components of the pattern can stand for the whole of *path*."""
        positions = self._skip({0})
        for name in path:
            positions = self._skip({after for at in positions for after in self._after(at, name)})
        return positions

    def _after(self, at: int, name: str) -> tuple[int, ...]:
        if at == len(self._components):
            return ()
        component = self._components[at]
        if component is None:
            return (at,)
        return (at + 1,) if component.match(name) else ()

    def _skip(self, positions: set[int]) -> set[int]:
        """Add the positions behind each ``**``, which may stand for no component at all."""
        for at in sorted(positions):
            while at < len(self._components) and self._components[at] is None:
                at += 1
                positions.add(at)
        return positions


def _compile(component: str) -> re.Pattern[str] | None:
    if component == _ANY_DEPTH:
        return None
    try:
        return re.compile(fnmatch.translate(component))
    except re.error as error:
        raise InvalidName("a pattern cannot be read") from error


def _match(patterns: tuple[_Pattern, ...], path: Name) -> bool:
    if not patterns:
        return False
    text = [os.fsdecode(component) for component in path]
    return any(pattern.matches(text) for pattern in patterns)
