"""The answer to a download, as a value: status, fields and segments.

Implements RFC 9110 §9.3.1 and §9.3.2 (GET, HEAD), §14.2 (when Range applies), §15.3.1 (200), §15.3.7 (206), §15.4.5
(304), §15.5.13 (412) and §15.5.17 (416).

Strategy: preconditions, then If-Range, then Range; one function for each status. Content is a list of segments, so one
sender serves them all: 200 is one span, 206 one span or spans between literal bytes, the others are empty, and HEAD is
the plan of GET without Range and without segments.

Leaves out: Date, Connection and the framing of the message, which belong to the protocol; problem documents, with which
``web`` may fill an error; Vary, because nothing here depends on request fields that select a representation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from fileserve.semantics import byteranges
from fileserve.semantics.conditional import Verdict, evaluate, if_range_holds
from fileserve.semantics.disposition import DispositionType, format_disposition
from fileserve.semantics.ranges import Span, content_range, select_spans, unsatisfied_content_range
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import format_http_date

__all__ = ["ResponsePlan", "Segment", "plan_download"]

Segment: TypeAlias = bytes | Span
_Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]

_ACCEPT_RANGES = (b"accept-ranges", b"bytes")
_NO_CONTENT_LENGTH = (b"content-length", b"0")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_SANDBOX = (b"content-security-policy", b"sandbox")
_UNBUFFERED = (b"x-accel-buffering", b"no")
_BUFFERED_UP_TO = (
    1 << 20
)  # 1 MiB: a proxy may hold that much; nginx spools what is longer to disk, and cuts it at 1 GiB


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """A response before it is sent.

    *fields* are as ASGI takes them, names in lower case. *content_length* is the sum of *segments* in bytes; the
    content-length field differs from it for HEAD alone, where it announces what GET would send.
    """

    status: int
    fields: _Fields
    segments: tuple[Segment, ...]
    content_length: int
    representation: Representation | None = None  # what the content is of; an answer without content has none


def plan_download(
    method: str,
    fields: Mapping[str, str],
    representation: Representation,
    *,
    boundary: str,
    now_s: int,
    disposition: DispositionType = "attachment",
    cache_control: str = "no-cache",
    also: _Fields = (),
) -> ResponsePlan:
    """Return the answer to a GET or HEAD of *representation*.

    *boundary* separates the parts of several ranges; *now_s* is the instant of the message in seconds since 1970, the
    one that Date shows. *also* are further fields of the representation, for a 200 or 206. Raises ``ValueError`` for
    another method, which the caller answers with 405. RFC 9110 §13.2.2.
    """
    if method not in ("GET", "HEAD"):
        raise ValueError(f"a download is planned for GET and HEAD only, not for {method!r}")
    validators = _validator_fields(representation, now_s)
    verdict = evaluate(method, fields, representation, now_s)
    if verdict is Verdict.NOT_MODIFIED:
        return _not_modified(validators, cache_control)
    if verdict is Verdict.PRECONDITION_FAILED:
        return _precondition_failed(validators)
    # Policy: HEAD ignores Range, which §14.2 defines for GET alone: it tells the length of the whole.
    spans = _select_spans(fields, representation, boundary, now_s) if method == "GET" else None
    if spans == ():
        return _range_not_satisfiable(representation)
    metadata = (*validators, *_metadata_fields(representation.filename, disposition, cache_control), *also)
    if spans is None:
        whole = _whole(representation, metadata)
        return whole if method == "GET" else ResponsePlan(whole.status, whole.fields, (), 0)
    if len(spans) == 1:
        return _single_part(spans[0], representation, metadata)
    return _multiple_parts(spans, representation, boundary, metadata)


def _select_spans(
    fields: Mapping[str, str], representation: Representation, boundary: str, now_s: int
) -> tuple[Span, ...] | None:
    """Return what `select_spans` does; ``None`` also without Range, or when If-Range does not hold. §13.2.2, step 5."""
    value = fields.get("range")
    if value is None:
        return None
    if_range = fields.get("if-range")
    if if_range is not None and not if_range_holds(if_range, representation, now_s):
        return None
    head = byteranges.part_head_length(representation.length, representation.media_type, boundary)
    return select_spans(value, representation.length, part_head_length=head)


def _whole(representation: Representation, metadata: _Fields) -> ResponsePlan:
    segments = (Span(0, representation.length),) if representation.length else ()
    content_type = (b"content-type", representation.media_type.encode("latin-1"))
    return _success(200, (content_type, *metadata), segments, representation.length, representation)


def _single_part(span: Span, representation: Representation, metadata: _Fields) -> ResponsePlan:
    content_type = (b"content-type", representation.media_type.encode("latin-1"))
    position = (b"content-range", content_range(span, representation.length).encode("latin-1"))
    return _success(206, (position, content_type, *metadata), (span,), span.length, representation)


def _multiple_parts(
    spans: tuple[Span, ...], representation: Representation, boundary: str, metadata: _Fields
) -> ResponsePlan:
    # No content-range here: §15.3.7.2 forbids it, each part has its own.
    segments, length = byteranges.build(spans, representation.length, representation.media_type, boundary)
    content_type = (b"content-type", f"multipart/byteranges; boundary={boundary}".encode("latin-1"))
    return _success(206, (content_type, *metadata), segments, length, representation)


def _success(
    status: int, described: _Fields, segments: tuple[Segment, ...], length: int, representation: Representation
) -> ResponsePlan:
    content_length = (b"content-length", b"%d" % length)
    fields = (_ACCEPT_RANGES, content_length, *described)
    fields = (*fields, _UNBUFFERED) if length > _BUFFERED_UP_TO else fields
    return ResponsePlan(status, fields, segments, length, representation)


def _not_modified(validators: _Fields, cache_control: str) -> ResponsePlan:
    """§15.4.5 asks for ETag and Cache-Control as in a 200, and for nothing that describes content that is not sent.

    Policy: Last-Modified is sent too, although §15.4.5 needs none beside an ETag: a client that asked with a date has
    no other validator to refresh.
    """
    return ResponsePlan(304, (*validators, (b"cache-control", cache_control.encode("latin-1"))), (), 0)


def _precondition_failed(validators: _Fields) -> ResponsePlan:
    """Policy: the current validators are sent along: the client learns what it has missed without asking again."""
    return ResponsePlan(412, (_NO_CONTENT_LENGTH, *validators), (), 0)


def _range_not_satisfiable(representation: Representation) -> ResponsePlan:
    """Policy: the complete length is always told (§15.5.17 has it as a SHOULD): a client that has all of it is done."""
    position = (b"content-range", unsatisfied_content_range(representation.length).encode("latin-1"))
    etag = (b"etag", str(representation.etag).encode("latin-1"))
    return ResponsePlan(416, (_ACCEPT_RANGES, _NO_CONTENT_LENGTH, position, etag), (), 0)


def _validator_fields(representation: Representation, now_s: int) -> _Fields:
    etag = (b"etag", str(representation.etag).encode("latin-1"))
    return (etag, _last_modified_field(representation.last_modified_as_sent(now_s)))


def _metadata_fields(filename: str, disposition: DispositionType, cache_control: str) -> _Fields:
    """Return what a 200 and a 206 carry alike, beside the validators. §15.3.7."""
    fields = (
        _disposition_field(disposition, filename),
        (b"cache-control", cache_control.encode("latin-1")),
        _NO_SNIFFING,
    )
    return (*fields, _SANDBOX) if disposition == "inline" else fields


# The two fields that cost most to write repeat from request to request: a popular file, the ranges of one download.
@lru_cache(maxsize=4096)
def _last_modified_field(seconds: int) -> tuple[bytes, bytes]:
    return b"last-modified", format_http_date(seconds).encode("latin-1")


@lru_cache(maxsize=1024)
def _disposition_field(disposition: DispositionType, filename: str) -> tuple[bytes, bytes]:
    return b"content-disposition", format_disposition(disposition, filename).encode("latin-1")
