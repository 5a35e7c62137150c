"""Range requests: a Range value becomes half-open spans, and a span becomes a Content-Range value.

Implements RFC 9110 §14.1.1 and §14.1.2 (byte ranges), §14.2 (Range) and §14.4 (Content-Range).

Strategy: one pass over the members of the set, then one sort. Inclusive positions exist only where the wire form is
read and written; everywhere else a span is ``[start, stop)``. Positions stay text until they are known to fit: a number
of five thousand digits is compared and clamped as text, because ``int()`` refuses it.

Leaves out: whether Range applies at all (GET only, and If-Range: ``plan``, ``conditional``), and the framing of several
spans (``byteranges``): the length of a part head is an argument.
"""

import re
from dataclasses import dataclass
from operator import itemgetter

__all__ = ["Span", "content_range", "select_spans", "unsatisfied_content_range"]

# Policy: at most 100 ranges, and at most 4 KiB more than the representation itself. Beyond that the whole is cheaper
# for both sides; §14.2 takes many small or overlapping ranges for a sign of a broken client or of an attack.
_MAX_RANGES = 100
_MAX_EXCESS = 4096
_TYPICAL_PART_HEAD_LENGTH = 128

_UNIT = "bytes="
# Policy: a digit is an ASCII digit, as in the grammar, although `int()` takes others, a sign and "_".
_RANGE_SPEC = re.compile(r"([0-9]*+)-([0-9]*+)")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes ``[start, stop)`` of a representation, counted from zero."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def select_spans(
    value: str, length: int, *, part_head_length: int = _TYPICAL_PART_HEAD_LENGTH
) -> tuple[Span, ...] | None:
    """Return the spans that *value*, of a Range field, asks for, in the order asked; they neither overlap nor touch.

    *length* is the complete length and *part_head_length* what the framing adds to each of several spans, in bytes.
    ``None`` means "ignore the field": an unknown unit, invalid syntax, too many or too wasteful ranges. An empty tuple
    means "valid but unsatisfiable", which is answered with 416. RFC 9110 §14.1.1, §14.1.2, §14.2.

    >>> select_spans("bytes=0-4, -2", length=10)
    (Span(start=0, stop=5), Span(start=8, stop=10))
    >>> select_spans("bytes=10-", length=10)
    ()
    """
    # Policy: nothing is unsatisfiable in an empty representation; it is sent whole. Clients that add a Range to every
    # request should not see an error for an empty file.
    if length == 0 or value[: len(_UNIT)].lower() != _UNIT:
        return None
    asked = _satisfiable_spans(value[len(_UNIT) :], length)
    if asked is None:
        return None
    spans = _coalesce(asked)
    return None if _is_wasteful(spans, length, part_head_length) else spans


def content_range(span: Span, length: int) -> str:
    """Return the Content-Range value of *span*, which is not empty, in *length* bytes. RFC 9110 §14.4.

    >>> content_range(Span(0, 5), length=10)
    'bytes 0-4/10'
    """
    return f"bytes {span.start}-{span.stop - 1}/{length}"


def unsatisfied_content_range(length: int) -> str:
    """Return the Content-Range value of a 416, which tells the complete length in bytes. RFC 9110 §14.4, §15.5.17.

    >>> unsatisfied_content_range(10)
    'bytes */10'
    """
    return f"bytes */{length}"


def _satisfiable_spans(range_set: str, length: int) -> list[Span] | None:
    """Return the satisfiable members in the order asked, or ``None`` when a member is invalid or there are too many.

    Policy: a set with one satisfiable member is satisfiable, the others are dropped; one invalid member makes the set
    invalid; empty members and whitespace around members are fine (§5.6.1.2), also before the first.
    """
    spans: list[Span] = []
    count = 0
    for member in range_set.split(","):
        range_spec = member.strip(" \t")
        if not range_spec:
            continue
        span = _parse_range_spec(range_spec, length)
        count += 1
        if span is None or count > _MAX_RANGES:
            return None
        if span.length:
            spans.append(span)
    return spans if count else None


def _parse_range_spec(range_spec: str, length: int) -> Span | None:
    """Return the span of an int-range or suffix-range: empty when unsatisfiable, ``None`` when invalid. §14.1.1."""
    matched = _RANGE_SPEC.fullmatch(range_spec)
    if matched is None:
        return None
    first_pos, last_pos = matched.groups()
    if not first_pos:
        return Span(length - _clamp(last_pos, length), length) if last_pos else None
    if not last_pos:
        return Span(_clamp(first_pos, length), length)
    if _is_less(last_pos, first_pos):
        return None
    return Span(_clamp(first_pos, length), _clamp(last_pos, length - 1) + 1)


def _clamp(digits: str, ceiling: int) -> int:
    significant = digits.lstrip("0")
    if len(significant) > len(str(ceiling)):
        return ceiling
    return min(int(significant or "0"), ceiling)


def _is_less(digits: str, others: str) -> bool:
    left, right = digits.lstrip("0"), others.lstrip("0")
    return (len(left), left) < (len(right), right)


def _coalesce(spans: list[Span]) -> tuple[Span, ...]:
    """Join the spans that overlap or touch.

    Policy: the order asked is kept (§15.3.7.2 has it as a SHOULD), and a joined span stands where the first asked of
    its members stood: a client that reads the parts as they come gets first what it named first.
    """
    joined: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda placed: placed[1].start):
        if joined and span.start <= joined[-1][1].stop:
            first_place, before = joined[-1]
            joined[-1] = min(first_place, place), Span(before.start, max(before.stop, span.stop))
        else:
            joined.append((place, span))
    return tuple(span for _, span in sorted(joined, key=itemgetter(0)))


def _is_wasteful(spans: tuple[Span, ...], length: int, part_head_length: int) -> bool:
    if len(spans) < 2:  # no framing
        return False
    return sum(span.length + part_head_length for span in spans) > length + _MAX_EXCESS
