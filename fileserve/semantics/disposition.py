"""Content-Disposition: the name that a download is saved under.

Implements RFC 6266 §4 and Appendix D, and RFC 8187 §3.2 (``filename*``).

Strategy: ``filename`` holds an ASCII fallback that every client reads alike, ``filename*`` the exact name, and comes
second (Appendix D: some clients take the first they know). It is left out when the fallback is the name to the letter.

Leaves out: Unicode normalisation. A name is sent as it is stored; two names that look alike stay two names.
"""

import re
from typing import Literal
from urllib.parse import quote

__all__ = ["DispositionType", "format_disposition"]

DispositionType = Literal["attachment", "inline"]

# Policy: in the fallback, "_" stands for whatever clients disagree on: characters that are not printable ASCII; a
# backslash, which is a path separator to some (curl and wget save `a\b` as `b`); "%" before two hexadecimal digits,
# which some decode (wget does). A quote is escaped; as some clients do not undo that, the exact name follows there too.
_AMBIGUOUS = re.compile(r"[^\x20-\x7e]|\\|%(?=[0-9A-Fa-f]{2})")
_UNDECODABLE = re.compile("[\ud800-\udfff]")
_ATTR_CHARS = "!#$&+-.^_`|~"  # RFC 8187 §3.2.1, beside letters and digits


def format_disposition(disposition_type: DispositionType, filename: str) -> str:
    """Return the Content-Disposition value for a file of this name: always ASCII without control characters.

    Of a name with slashes the last component counts (RFC 6266 §4.3: what a client is told must not name a folder);
    a name of nothing else gives the type alone. Surrogates, which stand for bytes that are no UTF-8, become U+FFFD.

    >>> print(format_disposition("attachment", "naïve.txt"))
    attachment; filename="na_ve.txt"; filename*=UTF-8''na%C3%AFve.txt
    """
    name = filename.rstrip("/").rpartition("/")[2]
    if not name:
        return disposition_type
    fallback = _AMBIGUOUS.sub("_", name).replace('"', r"\"")
    if fallback == name:
        return f'{disposition_type}; filename="{fallback}"'
    exact = quote(_UNDECODABLE.sub("\ufffd", name), safe=_ATTR_CHARS)
    return f"{disposition_type}; filename=\"{fallback}\"; filename*=UTF-8''{exact}"
