"""Content-Disposition: the name that a download is saved under, and the one that a form gives a file.

Implements RFC 6266 §4 and Appendix D, and RFC 8187 §3.2 (``filename*``); RFC 7578 §4.2 for the parts of a form.

Strategy: ``filename`` holds an ASCII fallback that every client reads alike, ``filename*`` the exact name, and comes
second (Appendix D: some clients take the first they know). It is left out when the fallback is the name to the letter.

Leaves out: Unicode normalisation. A name is sent as it is stored; two names that look alike stay two names.
"""

import re
from typing import Literal
from urllib.parse import quote

__all__ = ["DispositionType", "base_name", "format_disposition", "parse_form_data", "parse_parameters"]

DispositionType = Literal["attachment", "inline"]

# Policy: in the fallback, "_" stands for whatever clients disagree on: characters that are not printable ASCII; a
# backslash, which is a path separator to some (curl and wget save `a\b` as `b`); "%" before two hexadecimal digits,
# which some decode (wget does). A quote is escaped; as some clients do not undo that, the exact name follows there too.
_AMBIGUOUS = re.compile(r"[^\x20-\x7e]|\\|%(?=[0-9A-Fa-f]{2})")
_UNDECODABLE = re.compile("[\ud800-\udfff]")
_PARAMETER = re.compile(
    r"""[ \t]*+;[ \t]*+([!#$%&'*+\-.^_`|~0-9A-Za-z]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"|([^;" \t]*+))""", re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])|%(22|0D|0A)')
_UNESCAPED = {"22": '"', "0D": "\r", "0A": "\n"}
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


def parse_form_data(value: str) -> dict[str, str] | None:
    """Return the parameters of a form part's Content-Disposition, or ``None`` when it is another or malformed.

    *value* and the result are Latin-1 text: one character for each byte. RFC 7578 §4.2.

    Policy: of what stands in quotes, both ways to write a quote are undone: the backslash of RFC 9110 §5.6.4, and the
    ``%22`` (and ``%0D``, ``%0A``) of browsers (WHATWG HTML, multipart/form-data encoding). A backslash before anything
    else is itself: browsers leave it alone. ``filename*`` has no meaning in a form.

    >>> parse_form_data('form-data; name="a"; filename="say %22hi%22.txt"')
    {'name': 'a', 'filename': 'say "hi".txt'}
    """
    kind, separator, rest = value.strip(" \t").partition(";")
    if kind.strip(" \t").lower() != "form-data":
        return None
    return parse_parameters(separator + rest)


def parse_parameters(text: str) -> dict[str, str] | None:
    """Return what follows a field's first word, each parameter behind its semicolon, or ``None`` when it is malformed.

    Names have no case; of a repeated one the first counts. RFC 9110 §5.6.6.

    >>> parse_parameters('; boundary="a b"; Charset=utf-8')
    {'boundary': 'a b', 'charset': 'utf-8'}
    """
    parameters: dict[str, str] = {}
    position = 0
    while position < len(text):
        matched = _PARAMETER.match(text, position)
        if matched is None:
            return None
        quoted = matched[2]
        parameters.setdefault(matched[1].lower(), matched[3] if quoted is None else _ESCAPED.sub(_unescape, quoted))
        position = matched.end()
    return parameters


def base_name(filename: str) -> str:
    r"""Return the last component of a name that a client sent: what it says of folders is not for us. RFC 7578 §4.2.

    Policy: a backslash separates only where the name begins as a path of Windows does, with a drive or with one.

    >>> print(base_name("../../etc/passwd"), base_name(r"C:\folder\a.txt"), base_name(r"a\b"))
    passwd a.txt a\b
    """
    if filename[1:3] == ":\\" or filename.startswith("\\"):
        filename = filename.rpartition("\\")[2]
    return filename.rpartition("/")[2]


def _unescape(matched: re.Match[str]) -> str:
    return matched[1] or _UNESCAPED[matched[2]]
