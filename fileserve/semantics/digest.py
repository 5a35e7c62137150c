"""Digests in fields and in lines: which ones a request asks for, and how they are written.

Implements RFC 9530 §2, §3 and §4 (Repr-Digest, Content-Digest and the fields that ask for them), with the dictionaries
of RFC 9651 §3.2; the older Digest and Want-Digest of RFC 3230 §4.3, by which aria2 verifies; and the lines that
``sha256sum --check`` reads.

Strategy: a field is taken whole or not at all. A regular expression with possessive quantifiers states one member
exactly and never backtracks; the first member that does not fit makes the field one that was never sent.

Leaves out: computing digests, and every algorithm that RFC 9530 §5 calls insecure (md5, sha, adler, …).
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import Enum

__all__ = ["Algorithm", "checksum_line", "format_digest", "legacy_digest", "legacy_wanted", "sent", "wanted"]


class Algorithm(Enum):
    """A hash algorithm, by its key in the registry of RFC 9530 §7.2."""

    SHA_256 = "sha-256"
    SHA_512 = "sha-512"

    @property
    def length(self) -> int:
        """Bytes of a digest."""
        return int(self.value.removeprefix("sha-")) // 8

    @property
    def hashlib_name(self) -> str:
        """What Python's hashlib calls it."""
        return self.value.replace("-", "")


# Only single characters are repeated possessively: before Python 3.11.5 a group that fails in the middle leaves the
# position there (gh-106052), and half a member would count as a whole one. The grammar leaves nothing to backtrack.
# RFC 9651 §3.3: a bare item is a number, string, token, byte sequence, boolean, date or display string.
_BARE_ITEM = (
    r"(?:-?+[0-9]{1,12}+\.[0-9]{1,3}+|-?+[0-9]{1,15}+"
    r'|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"
    r"|:[A-Za-z0-9+/]*+={0,2}+:"
    r"|\?[01]"
    r"|@-?+[0-9]{1,15}+"
    r'|%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*")'
)
_KEY = r"[a-z*][a-z0-9_\-.*]*+"
_PARAMETERS = rf"(?:; *+{_KEY}(?:={_BARE_ITEM})?)*"
_ITEM = _BARE_ITEM + _PARAMETERS
_INNER_LIST = rf"\( *+(?:{_ITEM}(?: ++{_ITEM})* *+)?\)"
_MEMBER = re.compile(rf"({_KEY})(?:=({_BARE_ITEM}|{_INNER_LIST}))?{_PARAMETERS}")
_COMMA = re.compile(r"[ \t]*+,[ \t]*+")
_INTEGER = re.compile(r"-?[0-9]{1,15}")

# RFC 3230 §4.3.1; RFC 9110 §5.6.1 (lists, with empty members), §12.4.2 (weights).
_LEGACY_MEMBER = re.compile(
    r"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?:[ \t]*+;[ \t]*+[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*+"
)

_ESCAPES = {ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r"}


def wanted(value: str | None) -> tuple[Algorithm, ...]:
    """Return the acceptable algorithms of a Want-Repr-Digest or Want-Content-Digest value, the most wanted first.

    Empty without a field, for one that is malformed, and where it names nothing that is known. A preference is an
    integer from 0 ("not acceptable") to 10. RFC 9530 §4.

    >>> wanted("sha-256=3, sha-512=10, unixsum=0")
    (<Algorithm.SHA_512: 'sha-512'>, <Algorithm.SHA_256: 'sha-256'>)
    """
    members = _dictionary((value or "").strip(" \t")) or {}
    preferences: dict[Algorithm, float] = {}
    for algorithm in Algorithm:
        if algorithm.value in members:
            text = members[algorithm.value]
            # Policy: a preference of another type or size makes the field malformed. RFC 9530 §4 gives it no meaning.
            if text is None or not _INTEGER.fullmatch(text) or int(text) not in range(11):
                return ()
            preferences[algorithm] = int(text)
    return _best_first(preferences)


def legacy_wanted(value: str | None) -> tuple[Algorithm, ...]:
    """Return the acceptable algorithms of a Want-Digest value, the most wanted first. RFC 3230 §4.3.1.

    Names have no case; without a weight it is 1. Empty without a field, and for one that is malformed.

    >>> legacy_wanted("SHA-512;q=0.5, sha-256, SHA;q=0.1")
    (<Algorithm.SHA_256: 'sha-256'>, <Algorithm.SHA_512: 'sha-512'>)
    """
    weights: dict[str, float] = {}
    for text in (value or "").split(","):
        member = text.strip(" \t")
        matched = _LEGACY_MEMBER.fullmatch(member)
        if matched:
            weights[matched[1].lower()] = float(matched[2] or 1)
        elif member:
            return ()
    return _best_first({algorithm: weights[algorithm.value] for algorithm in Algorithm if algorithm.value in weights})


def format_digest(digests: Mapping[Algorithm, bytes]) -> str:
    """Return the Repr-Digest or Content-Digest value for raw digests. RFC 9530 §2, §3.

    >>> format_digest({Algorithm.SHA_256: bytes(32)})
    'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    """
    return ", ".join(f"{algorithm.value}=:{b64encode(digest).decode()}:" for algorithm, digest in digests.items())


def sent(value: str) -> dict[Algorithm, bytes] | None:
    """Return the raw digests that a Repr-Digest or Content-Digest value holds, or ``None`` when it is malformed.

    Other algorithms are passed over (RFC 9530 §2). Policy: a known one whose value is no digest makes the field
    malformed; whoever sends one wants it looked at.

    >>> sent("md5=:AAAA:, sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:") == {Algorithm.SHA_256: bytes(32)}
    True
    """
    members = _dictionary(value.strip(" \t"))
    if members is None:
        return None
    digests: dict[Algorithm, bytes] = {}
    for algorithm in Algorithm:
        if algorithm.value in members:
            digest = _bytes(members[algorithm.value] or "")
            if digest is None or len(digest) != algorithm.length:
                return None
            digests[algorithm] = digest
    return digests


def legacy_digest(algorithm: Algorithm, digest: bytes) -> str:
    """Return the Digest value for one raw digest. RFC 3230 §4.3.2.

    >>> legacy_digest(Algorithm.SHA_256, bytes(32))
    'SHA-256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='
    """
    return f"{algorithm.value.upper()}={b64encode(digest).decode()}"


def checksum_line(digest: bytes, name: bytes) -> bytes:
    r"""Return the line that GNU sha256sum prints for a file of this raw digest, so that ``sha256sum --check`` takes it.

    A backslash, a line feed or a carriage return in *name* is escaped, and a backslash before the line says so.

    >>> checksum_line(bytes(2), b"a\nb")
    b'\\0000  a\\nb\n'
    """
    plain = name.decode("latin-1")
    escaped = plain.translate(_ESCAPES)
    mark = "" if escaped == plain else "\\"
    return f"{mark}{digest.hex()}  {escaped}\n".encode("latin-1")


def _best_first(preferences: Mapping[Algorithm, float]) -> tuple[Algorithm, ...]:
    """Order by preference; among equals SHA-256 goes first, because that is the digest that is known soonest."""
    acceptable = [algorithm for algorithm in Algorithm if preferences.get(algorithm)]
    return tuple(sorted(acceptable, key=lambda algorithm: -preferences[algorithm]))


def _bytes(text: str) -> bytes | None:
    """Return a byte sequence, RFC 9651 §4.2.7, whose padding may be missing."""
    if len(text) < 2 or text[0] != ":":
        return None
    encoded = text[1:-1].rstrip("=")
    try:
        return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None


def _dictionary(text: str) -> dict[str, str | None] | None:
    """Return the members of an RFC 9651 §3.2 dictionary as they are written (the last of a key counts), or ``None``."""
    members: dict[str, str | None] = {}
    position = 0
    while position < len(text) or members:
        matched = _MEMBER.match(text, position)
        if matched is None:
            return None
        members[matched[1]] = matched[2]
        if matched.end() == len(text):
            break
        comma = _COMMA.match(text, matched.end())
        if comma is None:
            return None
        position = comma.end()
    return members
