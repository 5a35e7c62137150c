"""The multipart/byteranges framing: RFC 9110 §14.6, RFC 2046 §5.1.1."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.semantics.byteranges import build, part_head_length
from fileserve.semantics.ranges import Span

CONTENT = b"0123456789"


def _joined(segments: tuple[bytes | Span, ...], content: bytes) -> bytes:
    return b"".join(content[s.start : s.stop] if isinstance(s, Span) else s for s in segments)


def test_the_framing_is_exact_to_the_byte() -> None:
    segments, content_length = build((Span(0, 2), Span(7, 10)), 10, "text/plain", "THIS_STRING_SEPARATES")
    assert _joined(segments, CONTENT) == (
        b"--THIS_STRING_SEPARATES\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Range: bytes 0-1/10\r\n"
        b"\r\n"
        b"01"
        b"\r\n--THIS_STRING_SEPARATES\r\n"
        b"Content-Type: text/plain\r\n"
        b"Content-Range: bytes 7-9/10\r\n"
        b"\r\n"
        b"789"
        b"\r\n--THIS_STRING_SEPARATES--\r\n"
    )
    assert content_length == len(_joined(segments, CONTENT))


def test_the_content_stays_spans_between_literal_bytes() -> None:
    segments, _ = build((Span(7, 10), Span(0, 2)), 10, "text/plain", "b")
    assert [s for s in segments if isinstance(s, Span)] == [Span(7, 10), Span(0, 2)]
    assert [isinstance(s, bytes) for s in segments] == [True, False, True, False, True]


def test_the_content_length_of_tebibytes_is_known_without_them() -> None:
    segments, content_length = build((Span(0, 2**50), Span(2**51, 2**52)), 2**52, "text/plain", "b")
    assert content_length == 2**50 + 2**51 + sum(len(s) for s in segments if isinstance(s, bytes))


@pytest.mark.parametrize("length", [1, 9, 10, 11, 100, 2**40])
def test_no_part_head_is_longer_than_announced(length: int) -> None:
    spans = (Span(0, 1), Span(length - 1, length))
    segments, _ = build(spans, length, "text/plain", "b")
    heads = [len(s) for s in segments[:-1] if isinstance(s, bytes)]
    assert max(heads) == part_head_length(length, "text/plain", "b")


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=6),
    st.text("abcdefABCDEF0123456789", min_size=1, max_size=70),
)
def test_the_mail_parser_of_the_standard_library_reads_the_parts_back(
    pairs: list[tuple[int, int]], boundary: str
) -> None:
    content = bytes(48 + place % 10 for place in range(100)).replace(
        b"0", b"-"
    )  # no letter and no line end: no boundary
    spans = tuple(Span(start, start + length) for start, length in pairs)
    segments, content_length = build(spans, 100, "text/plain", f"x{boundary}"[:70])
    body = _joined(segments, content)
    assert len(body) == content_length
    head = f'Content-Type: multipart/byteranges; boundary="{f"x{boundary}"[:70]}"\r\n\r\n'.encode()
    message = message_from_bytes(head + body, policy=policy.HTTP)
    parts = [(part["Content-Range"], part.get_payload(decode=True)) for part in message.iter_parts()]
    assert parts == [(f"bytes {s.start}-{s.stop - 1}/100", content[s.start : s.stop]) for s in spans]
    assert not message.defects
