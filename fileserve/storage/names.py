"""Names beneath a root: tuples of bytes components, as the file system keeps them.

A name is bytes, not text: a backslash, a newline or a byte that is no UTF-8 is part of it, and nothing is
normalised. The root itself is the empty tuple. ``parse_name`` reads the percent-encoded form (RFC 3986 §2.1, §3.3):
it splits on ``/`` first and decodes each component once, so that an encoded slash never becomes a separator and
nothing is decoded twice. ``quote_name`` writes that form, ``display_name`` writes a component for people to read.

``check_name`` is a filter in front of the kernel, not the guard: what a name may reach is decided in ``root``, on
descriptors. It refuses what no file can be called, so that each refusal is the same on every file system.
"""

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fileserve.storage.errors import InvalidName, NameTooLong, NotFound, NotPermitted

__all__ = ["STAGED", "Name", "check_name", "display_name", "is_shown", "parse_name", "parse_new_name", "quote_name"]

Name = tuple[bytes, ...]

#: How the names of files begin that are still being written. They are nobody's, even where hidden names are shown.
STAGED = ".fileserve-"
MAX_COMPONENT = 255  # NAME_MAX of every usual file system, in bytes
SUFFIX_ROOM = 8  # what a URL may have behind the name of a file or directory: .sha256, .tar
MAX_NAME = 4095  # PATH_MAX without the closing NUL: what one system call takes

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_STAGED_BYTES = STAGED.encode()
_NO_COMPONENT = frozenset((b"", b".", b".."))

# Control characters, line and paragraph separators, and what reorders bidirectional text (Unicode UAX #9): a
# name must not be able to look like another one, or like two. Zero-width joiners stay: emoji are made with them.
_UNSHOWN = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)),
    "\N{REPLACEMENT CHARACTER}",
)


@lru_cache(maxsize=1024)  # what is refused is not remembered, so a flood of bad names fills nothing
def check_name(name: Name, hidden: bool, *, room: int = 0) -> None:
    """Raise unless *name* can name something that may be seen.

    ``InvalidName``: a component is empty, ``.`` or ``..``, or contains a slash or NUL. ``NameTooLong``: a component
    has more than 255 bytes, or the whole more than 4,095, and *room*. ``NotFound``: a component begins with a dot and
    *hidden* is false, or is that of a file that is still being written.

    Policy: hidden is a matter of the name asked for, not of where a link leads: who puts a link beside
    the public files means its target to be seen.
    """
    if not name:
        return
    joined = b"/".join(name)
    if not _NO_COMPONENT.isdisjoint(name) or joined.count(b"/") >= len(name) or b"\0" in joined:
        raise InvalidName
    if len(joined) > MAX_NAME + room or max(map(len, name)) > MAX_COMPONENT + room:
        raise NameTooLong
    if (joined.startswith(b".") or b"/." in joined) and not all(is_shown(component, hidden) for component in name):
        raise NotFound  # the same words as for a file that does not exist


def is_shown(component: bytes | str, hidden: bool) -> bool:
    """Return whether a component may be seen; *hidden* says whether those that begin with a dot may."""
    if isinstance(component, str):
        return not component.startswith("." if not hidden else STAGED)
    return not component.startswith(b"." if not hidden else _STAGED_BYTES)


@lru_cache(maxsize=256)  # a page's style, a file's ranges: the same few paths are asked for over and over
def parse_name(encoded: bytes) -> tuple[Name, bool]:
    """Return the name that a percent-encoded path stands for, and whether it is written as a directory's.

    *encoded* is relative to the root: ``a%20b/c``. It is written as a directory's when it ends in a slash or is empty
    (the root). Raises ``InvalidName`` for a broken escape, and whatever ``check_name`` refuses, hidden names excepted.

    The suffix of an archive or a digest counts for nothing here: a name that is too long with it may be none without.

    Policy: a leading or doubled slash is an error rather than skipped; one file has one URL.
    """
    if not encoded:
        return (), True
    if b"%" in encoded and _BROKEN_ESCAPE.search(encoded):
        raise InvalidName("a percent escape is broken")
    directory = encoded.endswith(b"/")
    components = (encoded[:-1] if directory else encoded).split(b"/")
    name = tuple(map(unquote_to_bytes, components)) if b"%" in encoded else tuple(components)
    check_name(name, hidden=True, room=SUFFIX_ROOM)
    return name, directory


def parse_new_name(encoded: bytes) -> tuple[Name, bool]:
    """Return what ``parse_name`` does, of a name that something is to be given.

    Raises ``NotPermitted`` for one that is never given, as for any other that begins with a dot.
    """
    try:
        return parse_name(encoded)
    except NotFound:
        raise NotPermitted("names that begin with a dot are not taken") from None


def quote_name(name: Name) -> str:
    """Return the percent-encoded form of *name*, without slashes at its ends.

    Only letters, digits, ``-._~`` and the slashes between components stay as they are, so the result is safe in
    a URL, an HTML attribute and a quoted shell word alike.
    """
    return "/".join([quote_from_bytes(component, safe="") for component in name])


def display_name(component: bytes) -> str:
    """Return a component as text for people: what cannot be shown, or would mislead, is U+FFFD.

    Not reversible, and not escaped for HTML.
    """
    return component.decode("utf-8", "replace").translate(_UNSHOWN)
