"""Which bytes of a representation a client has got, whatever responses they came in.

A response with parts of a representation (RFC 9110 §15.3.7) may be the first of many that make up one download, with
gaps, overlaps and ends in the middle. Strategy: ``taken_spans`` reads a plan's segments up to the byte of the content
that was taken; ``Coverage`` joins such spans into a sorted list that neither overlaps nor touches.

Bounded: more than ``most`` spans are not kept; the shortest is forgotten. So a coverage may tell less than the client
has, and never more.

Leaves out: how much of a content was taken, which the socket knows, and whose responses belong together.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from fileserve.semantics.plan import Segment
from fileserve.semantics.ranges import Span

__all__ = ["Coverage", "goes_on", "taken_spans"]

_GOES_ON = re.compile(r"bytes=0*[1-9][0-9]*-", re.ASCII | re.IGNORECASE)
_MOST = 1024  # a thousand connections at once, each somewhere else in the file


def taken_spans(segments: Sequence[Segment], taken: int) -> Iterator[Span]:
    """Yield the spans of the representation that are in the first *taken* bytes of the content of *segments*.

    >>> list(taken_spans((b"head", Span(0, 5), b"head", Span(7, 9)), 14))
    [Span(start=0, stop=5), Span(start=7, stop=8)]
    """
    for segment in segments:
        if taken <= 0:
            return
        if isinstance(segment, bytes):
            taken -= len(segment)
        else:
            yield Span(segment.start, min(segment.stop, segment.start + taken))
            taken -= segment.length


def goes_on(range_value: str | None) -> bool:
    """Tell whether a Range value asks for all from some byte on: how a client goes on with what it has begun.

    RFC 9110 §14.1.1. A range with an end is a part that is asked for by itself.

    >>> goes_on("bytes=500-"), goes_on("bytes=0-"), goes_on("bytes=500-999"), goes_on("bytes=-500")
    (True, False, False, False)
    """
    return range_value is not None and _GOES_ON.fullmatch(range_value) is not None


class Coverage:
    """A set of the bytes of one representation; *most* is how many separate spans are kept."""

    __slots__ = ("_most", "_starts", "_stops", "covered")

    def __init__(self, spans: Iterable[Span] = (), *, most: int = _MOST) -> None:
        self.covered = 0  # bytes
        self._most = most
        self._starts: list[int] = []
        self._stops: list[int] = []
        for span in spans:
            self.add(span)

    def add(self, span: Span) -> None:
        """Add the bytes of *span*."""
        if not span.length:
            return
        starts, stops = self._starts, self._stops
        first, last = bisect_left(stops, span.start), bisect_right(starts, span.stop)  # those that overlap or touch
        joined = Span(min([span.start, *starts[first:last]]), max([span.stop, *stops[first:last]]))
        self.covered += joined.length - sum(stops[first:last]) + sum(starts[first:last])
        starts[first:last] = [joined.start]
        stops[first:last] = [joined.stop]
        if len(starts) > self._most:
            self._forget_shortest()

    def covers(self, span: Span) -> bool:
        """Tell whether all bytes of *span* are in it."""
        at = bisect_right(self._starts, span.start) - 1
        return not span.length or (at >= 0 and span.stop <= self._stops[at])

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans in their order; they neither overlap nor touch."""
        return tuple(map(Span, self._starts, self._stops))

    def copy(self) -> "Coverage":
        """Return one with the same bytes that grows by itself."""
        other = Coverage(most=self._most)
        other.covered = self.covered
        other._starts, other._stops = self._starts.copy(), self._stops.copy()
        return other

    def _forget_shortest(self) -> None:
        at = min(range(len(self._starts)), key=lambda place: self._stops[place] - self._starts[place])
        self.covered -= self._stops.pop(at) - self._starts.pop(at)
