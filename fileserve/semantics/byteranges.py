"""The multipart/byteranges framing: several spans of one representation in one content of known length.

Implements RFC 9110 §14.6 (the media type) and RFC 2046 §5.1.1 (delimiters).

Strategy: the framing is literal bytes between the spans, so the length of the content is a sum that is known before a
byte of the representation is read. Lines end with CRLF; there is no preamble and no epilogue.

Leaves out: which spans (``ranges``), and the choice of the boundary, which is the caller's, because it is random.
"""

from collections.abc import Sequence

from fileserve.semantics.ranges import Span, content_range

__all__ = ["build", "part_head_length"]


def build(spans: Sequence[Span], length: int, media_type: str, boundary: str) -> tuple[tuple[bytes | Span, ...], int]:
    """Return the segments of the content, literal bytes and spans in turn, and the length of the content in bytes.

    *length* is the complete length of the representation, *media_type* that of each part. *boundary* is a token of at
    most 70 characters that does not occur in the representation: long and random enough. RFC 9110 §14.6.
    """
    segments: list[bytes | Span] = []
    delimiter = f"--{boundary}\r\n"
    for span in spans:
        segments += (delimiter + _part_fields(span, length, media_type)).encode("latin-1"), span
        delimiter = f"\r\n--{boundary}\r\n"
    segments.append(f"\r\n--{boundary}--\r\n".encode("latin-1"))
    content_length = sum(len(segment) if isinstance(segment, bytes) else segment.length for segment in segments)
    return tuple(segments), content_length


def part_head_length(length: int, media_type: str, boundary: str) -> int:
    """Return the length in bytes of the longest part head that *length* bytes can need, its delimiter included."""
    return len(f"\r\n--{boundary}\r\n") + len(_part_fields(Span(length - 1, length), length, media_type))


def _part_fields(span: Span, length: int, media_type: str) -> str:
    return f"Content-Type: {media_type}\r\nContent-Range: {content_range(span, length)}\r\n\r\n"
