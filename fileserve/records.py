"""Log records: what they are told with, and what must not stand in them. A leaf for server and web.

A record's message can hold what a client has sent: a name, a field value. Written out as it is, a line break in it
would begin a record of the client's own making, and an escape sequence would do what it likes with a terminal. And what
proves who somebody is has no place in a log at all.

Left out: where records go. ``server.logs`` writes them to standard error, ``web.streams.recording`` to the operator.
"""

import itertools
import logging
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["escape", "new_request_ids", "redact", "request_id", "values_of"]

CHARACTERS = 16 * 1024  # of a message with its traceback; the end of one tells most

#: The id of the request that is being answered in this context; empty outside of any.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# C0, DEL and C1; the separators that some readers take for line breaks; what turns the direction of text around.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_SECRETS = re.compile(
    r"""(?ix) ( \b \w* (?:token|password|secret|api_key) ["']? \s* [=:] \s* ["']? ) [^\s"'&;,]+
            | ( \b (?:authorization|cookie) ["']? \s* [=:,] \s* b? ["']? ) [^"'\r\n]+
            | ( \b (?:basic|bearer) \s+ ) [^\s"']{16,}"""
)


def new_request_ids() -> Iterator[str]:
    """Return ids that no other process gives, in no time: one prefix at random, and a number."""
    return map(f"{secrets.token_hex(6)}-{{:x}}".format, itertools.count(1))


def escape(text: str) -> str:
    r"""Return *text* without what moves a cursor or ends a line: such characters as ``\x1b`` or ``\u2028``."""
    return _CONTROLS.sub(_escaped, text)


def redact(text: str) -> str:
    """Return *text* without what looks like a token, a password or a cookie.

    A second line of defence: nothing here logs such a thing, but what libraries and tracebacks say is not ours.
    """
    return _SECRETS.sub(lambda found: f"{found[1] or found[2] or found[3]}[redacted]", text)


def values_of(record: logging.LogRecord, message: str) -> dict[str, Any]:
    """Return what is told of *record*, whose *message* may have a traceback behind it, as values that JSON has.

    The structured fields are those of ``extra={"fields": {…}}``. ``time`` is missing: readers differ in its form.
    """
    message = redact(message)
    told: dict[str, Any] = {
        "level": record.levelname,
        "logger": record.name,
        "pid": record.process,
        "message": message if len(message) <= CHARACTERS else "… " + message[-CHARACTERS:],
    }
    if id := getattr(record, "request_id", "") or request_id.get():
        told["request_id"] = id
    if fields := getattr(record, "fields", None):
        told["fields"] = fields
    return told


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
