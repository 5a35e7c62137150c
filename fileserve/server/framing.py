"""The head of a response as it stands on the wire. RFC 9112 §4 and §5, RFC 9110 §5.1 and §5.5.

uvicorn judges each name and each value by itself, which takes a quarter of the time of a small answer. Here the lines
are put together first and judged in one pass. What is unusual (a name in capitals, a transfer coding, a Connection
field of the application's own) and what is forbidden is left to uvicorn, so that there is one place which refuses.

Pure. Left out: what the fields mean, and the framing of the content.
"""

import re
from collections.abc import Mapping, Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

__all__ = ["Field", "format_head"]

Field = tuple[bytes, bytes]

_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9a-z-]++: [^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+")
_UNUSUAL = frozenset((b"connection", b"transfer-encoding"))


def format_head(status: int, fields: Sequence[Field], named: Mapping[bytes, bytes], ending: bytes) -> bytes | None:
    """Return the status line, the *fields* and *ending*; ``None`` where uvicorn has to look at them.

    *named* are the fields by their name. *ending* is what the protocol adds: whole lines, and then an empty one.
    """
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    if lines.count(b"\n") != len(fields) or _LINES.fullmatch(lines) is None or not _UNUSUAL.isdisjoint(named):
        return None
    return b"".join((STATUS_LINE[status], lines, ending))
