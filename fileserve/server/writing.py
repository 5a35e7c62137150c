"""Writes the usual response, in half the time that uvicorn's cycle takes: a head with Content-Length, and its content.

uvicorn judges each name and each value by itself, a quarter of the time of a small answer. Here the lines of a head
are put together first and judged in one pass (RFC 9112 §5, RFC 9110 §5.1 and §5.5), and fields that come as a tuple are
remembered with that, because an application that has them ready sends them again and again. What is unusual (a name in
capitals, a transfer coding, a Connection field of the application's own, a full socket) and what is forbidden is left
to uvicorn, so that there is one place which refuses.

It leans on uvicorn's `RequestResponseCycle` for ``send``, which does the same for every response, and for the
attributes that are read and set here. Left out: what the fields mean.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

__all__ = ["Judged", "judge", "write_body", "write_head"]

Field = tuple[bytes, bytes]

_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9a-z-]++: [^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*")
_UNUSUAL = frozenset((b"connection", b"transfer-encoding"))
_KEEP, _CLOSE = b"\r\n", b"connection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Judged:
    """The fields of a response: *named* by their names in lower case; as *lines*, unless they are unusual."""

    named: Mapping[bytes, bytes]
    lines: bytes | None


def judge(fields: Iterable[Field]) -> Judged:
    """Return the *fields* of a response, judged."""
    if type(fields) is tuple:
        try:
            return _remembered(fields)
        except TypeError:
            pass  # a field may be a list, which nobody can remember
    return _judge(tuple((name, value) for name, value in fields))


def write_head(cycle: RequestResponseCycle, status: int, fields: Judged) -> bool:
    """Write the head of a response with Content-Length; ``False``: this one is uvicorn's to write or to refuse."""
    if fields.lines is None or cycle.response_started or _is_held_up(cycle):
        return False
    first = _default_lines(tuple(cycle.default_headers))
    if first is None:
        return False
    cycle.response_started = True
    cycle.waiting_for_100_continue = False
    cycle.chunked_encoding = False
    cycle.expected_content_length = int(fields.named[b"content-length"])
    cycle.transport.write(b"".join((STATUS_LINE[status], first, fields.lines, _KEEP if cycle.keep_alive else _CLOSE)))
    return True


def write_body(cycle: RequestResponseCycle, message: Mapping[str, Any]) -> bool:
    """Write content of an announced length; ``False``: this message is uvicorn's to write or to refuse."""
    is_plain = cycle.response_started and cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD"
    if not is_plain or cycle.response_complete or _is_held_up(cycle):
        return False
    body, is_last = message.get("body", b""), not message.get("more_body", False)
    left = cycle.expected_content_length - len(body)
    if left < 0 or (is_last and left):
        return False
    cycle.expected_content_length = left
    cycle.transport.write(body)
    if is_last:
        _complete(cycle)
    return True


def _complete(cycle: RequestResponseCycle) -> None:
    """Do what uvicorn does behind the last byte."""
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()


def _is_held_up(cycle: RequestResponseCycle) -> bool:
    """Tell whether the client has left, or has to take more first, or uvicorn writes a log of requests."""
    return cycle.disconnected or cycle.flow.write_paused or cycle.access_log


def _judge(fields: tuple[Field, ...]) -> Judged:
    named = dict(fields)
    is_usual = named.get(b"content-length", b"").isdigit() and _UNUSUAL.isdisjoint(named) and len(named) == len(fields)
    return Judged(named, _format_lines(fields) if is_usual else None)


_remembered = lru_cache(maxsize=1024)(_judge)


def _format_lines(fields: tuple[Field, ...]) -> bytes | None:
    """Return the field lines; ``None``: a name or value is none. A value with a line break makes one line too many."""
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return lines if lines.count(b"\n") == len(fields) and _LINES.fullmatch(lines) else None


_default_lines = lru_cache(maxsize=16)(_format_lines)  # of Date and the configuration: anew each second
