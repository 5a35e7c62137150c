"""Is this request head one that a server may act on? RFC 9112 §2.3, §3.2.

Pure: looks at what the parser (llhttp) has found and answers with a `Refusal` or ``None``. llhttp itself refuses what
breaks the framing: repeated Content-Length, Content-Length beside Transfer-Encoding, spaces before the colon, folded
lines, bare line feeds. It accepts any Host, HTTP/0.9 and HTTP/2.0 request lines, and heads of any size; those are
judged here.

Left out: what the target names. That is for the application.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal

Fields = list[tuple[bytes, bytes]]

_REG_NAME = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_AUTHORITY = re.compile(rb"(?:\[(?P<literal>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(?::[0-9]*)?")
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY_BYTES = 255
_SPACE = ord(" ")
_WHITESPACE = b" \t"
_EXPECTATIONS = (b"", b"100-continue")
_LINE_OVERHEAD = 4  # colon, space, CR and LF of a field line; the request line has two spaces, CR, LF and the version
_VERSION_BYTES = len(b"HTTP/1.1")


def too_large(target: bytes, limits: Limits) -> Refusal:
    """Return the refusal for a head of too many bytes: 414 where the target alone has them, else 431."""
    return Refusal.LONG_TARGET if len(target) > limits.header_bytes else Refusal.LARGE_HEAD


def examine(version: str, fields: Fields) -> Refusal | None:
    """Return why a request with this version and these fields is refused, or ``None`` where it is not.

    *fields* have lower-case names; whitespace that llhttp leaves at the end of values is taken off (RFC 9112 §5.1). A
    request of HTTP/1.0 may come without Host, but not with two or a malformed one (§3.2). An expectation that nobody
    here meets is refused (RFC 9110 §10.1.1), so that no client waits for what it asks for.
    """
    if version not in ("1.1", "1.0"):
        return Refusal.BAD_VERSION
    host, hosts, untrimmed, expected = b"", 0, False, b""
    for name, value in fields:
        if value and value[-1] <= _SPACE:
            untrimmed = True
        if name == b"host":
            host, hosts = value, hosts + 1
        elif name == b"expect":
            expected += b"," + value
    if untrimmed:
        host = host.rstrip(_WHITESPACE)
        fields[:] = [(name, value.rstrip(_WHITESPACE)) for name, value in fields]
    valid = is_authority(host) if hosts == 1 else not hosts and version == "1.0"
    if valid and expected and any(one.strip(_WHITESPACE).lower() not in _EXPECTATIONS for one in expected.split(b",")):
        return Refusal.EXPECTATION
    return None if valid else Refusal.BAD_HOST


def examine_old(fields: Fields) -> Refusal | None:
    """Return why nobody can be sure where the content of a request of HTTP/1.0 ends, or ``None``. RFC 9112 §6.1.

    Whoever passed it on may not have understood its Transfer-Encoding.
    """
    return Refusal.OLD_FRAMING if any(name == b"transfer-encoding" for name, _ in fields) else None


def is_authority(value: bytes) -> bool:
    """Tell whether *value* is a host with an optional port, without user information. RFC 9110 §7.2, RFC 3986 §3.2.

    Policy: an empty host is malformed, as it is in an http URI (RFC 9110 §4.2.1), and one of more than 255 bytes is no
    name that anyone can look up (RFC 3986 §3.2.2); a long one would also stay in the cache.
    """
    return len(value) <= _AUTHORITY_BYTES and _matches_authority(value)


@lru_cache(maxsize=256)
def _matches_authority(value: bytes) -> bool:
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        return False
    if match["literal"] is None:
        return _REG_NAME.fullmatch(match["name"]) is not None
    try:
        ipaddress.IPv6Address(match["literal"].decode("ascii"))
    except ValueError:
        return False
    return b"%" not in match["literal"]


def resolve_target(method: bytes, target: bytes, fields: Fields) -> bytes | None:
    """Return the origin-form of *target*; ``None`` where *method* cannot have it. RFC 9112 §3.2.

    The authority of an absolute-form replaces Host in *fields* (§3.2.2). Its scheme is http or https.
    """
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None or not is_authority(match[1]):
        return None
    fields[:] = [(b"host", match[1]), *(field for field in fields if field[0] != b"host")]
    return match[2] if match[2].startswith(b"/") else b"/" + match[2]


def content_length(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Return what Content-Length says, which the parser has checked; 0 where there is none."""
    return next((int(value) for name, value in fields if name == b"content-length"), 0)


def size_of(target: bytes, fields: Fields) -> int:
    """Return the bytes of a head with this target and these fields, but for the method and optional whitespace."""
    lines = sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in fields)
    return len(target) + _VERSION_BYTES + _LINE_OVERHEAD + lines


def without_upgrade(method: bytes, target: bytes, version: str, fields: Fields) -> bytes:
    """Return the head without its Upgrade, for the parser."""
    lines = [b"%s: %s\r\n" % field for field in fields if field[0] != b"upgrade"]
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, target, version.encode(), b"".join(lines))
