"""For any Range value the bytes of the plan are the slices asked for: RFC 9110 §14.1.2, §14.2, §15.3.7.

The oracle reads the ranges that hypothesis made, not their wire form, and works on sets of single positions.
"""

from typing import TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from fileserve.semantics.plan import ResponsePlan, plan_download
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

BOUNDARY = "a-boundary"
# first_pos and last_pos; without last_pos an open end; without first_pos a suffix
RangeSpec: TypeAlias = tuple[int | None, int | None]

positions = st.integers(0, 320)
range_specs = st.one_of(
    st.tuples(positions, st.none()),
    st.tuples(st.none(), positions),
    st.tuples(positions, positions).map(lambda pair: (min(pair), max(pair))),
)
range_sets = st.lists(range_specs, min_size=1, max_size=8) | st.lists(range_specs, min_size=20, max_size=110)
lengths = st.integers(0, 300)


def _wire(specs: list[RangeSpec], separator: str, zeros: str) -> str:
    def position(number: int | None) -> str:
        return "" if number is None else f"{zeros}{number}"

    return "bytes=" + separator.join(f"{position(first)}-{position(last)}" for first, last in specs)


def _asked(spec: RangeSpec, length: int) -> range:
    """Return the positions that a range names, by counting."""
    first, last = spec
    if first is None:
        suffix_length = last or 0
        return range(max(0, length - suffix_length), length)
    return range(min(first, length), length if last is None else min(last + 1, length))


def _runs(asked: list[range]) -> list[list[int]]:
    """Return the runs of positions that are asked for, each where the first member that touches it was asked."""
    wanted = {position for positions in asked for position in positions}
    runs: list[list[int]] = []
    for positions in asked:
        if not positions or any(positions[0] in run for run in runs):
            continue
        start, stop = positions[0], positions[0]
        while start - 1 in wanted:
            start -= 1
        while stop in wanted:
            stop += 1
        runs.append(list(range(start, stop)))
    return runs


def _sent(plan: ResponsePlan, content: bytes) -> bytes:
    return b"".join(content[s.start : s.stop] if isinstance(s, Span) else s for s in plan.segments)


def _parts(sent: bytes) -> list[tuple[bytes, bytes]]:
    """Return the Content-Range and the content of each part of a multipart/byteranges content."""
    opening, *parts, closing = (b"\r\n" + sent).split(f"\r\n--{BOUNDARY}".encode())
    assert (opening, closing) == (b"", b"--\r\n")
    heads_and_contents = [part.partition(b"\r\n\r\n")[::2] for part in parts]
    return [(dict(_lines(head))[b"content-range"], content) for head, content in heads_and_contents]


def _lines(head: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [line.partition(b": ")[::2] for line in head.removeprefix(b"\r\n").split(b"\r\n")]
    return [(name.lower(), value) for name, value in pairs]


def _plan(value: str, length: int, method: str = "GET") -> ResponsePlan:
    representation = Representation(length, EntityTag("t"), 0, "application/octet-stream", "name")
    return plan_download(method, {"range": value}, representation, boundary=BOUNDARY, now_s=10)


@given(range_sets, lengths, st.sampled_from([",", ", ", " ,\t", ",,", ",  ,"]), st.sampled_from(["", "0", "0" * 5000]))
@example([(0, 299)], 300, ",", "")
@example([(8, 9), (0, 1), (2, 3)], 10, ",", "")
@example([(2 * place, 2 * place) for place in range(100)], 300, ",", "")
def test_what_is_sent_are_the_slices_asked_for(specs: list[RangeSpec], length: int, separator: str, zeros: str) -> None:
    content = bytes(position % 251 for position in range(length))
    plan = _plan(_wire(specs, separator, zeros), length)
    sent = _sent(plan, content)
    fields = dict(plan.fields)
    assert plan.content_length == len(sent) == int(fields[b"content-length"])
    expected = [
        (b"bytes %d-%d/%d" % (run[0], run[-1], length), bytes(content[position] for position in run))
        for run in _runs([_asked(spec, length) for spec in specs])
    ]
    if plan.status == 416:
        assert (expected, length > 0, fields[b"content-range"]) == ([], True, b"bytes */%d" % length)
    elif plan.status == 200:
        assert sent == content
        assert length == 0 or len(specs) > 100 or _multipart_length(expected) > length + 4096
    elif len(expected) == 1:
        assert [(fields[b"content-range"], sent)] == expected
    else:
        assert _parts(sent) == expected
        assert len(sent) <= length + 4096 + len(f"\r\n--{BOUNDARY}--\r\n")


def _multipart_length(parts: list[tuple[bytes, bytes]]) -> int:
    """Return the length of the parts with their heads, each rounded up to the longest position."""
    head = f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 299-299/300\r\n\r\n"
    return sum(len(head) + len(content) for _, content in parts)


@given(st.text() | st.text("0123456789-,= \tbytes").map("bytes={}".format), lengths, st.sampled_from(["GET", "HEAD"]))
def test_any_range_text_gets_an_answer_that_adds_up(value: str, length: int, method: str) -> None:
    plan = _plan(value, length, method)
    assert plan.content_length == len(_sent(plan, bytes(length)))
    assert plan.status in ((200, 206, 416) if method == "GET" else (200,))
