"""Method, fields and representation to status, fields, segments: RFC 9110 §14.2, §15.3.1, §15.3.7, §15.4.5, §15.5."""

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace

import pytest

from fileserve.semantics.plan import ResponsePlan, Segment, plan_download
from fileserve.semantics.ranges import Span
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

CONTENT = b"0123456789"
TEN_BYTES = Representation(10, EntityTag("now"), 1_700_000_000, "text/plain", "ten.txt")
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
NOW_S = 1_700_001_000
MIB = 1 << 20

WHOLE_FIELDS = {
    b"accept-ranges": b"bytes",
    b"content-length": b"10",
    b"content-type": b"text/plain",
    b"etag": b'"now"',
    b"last-modified": LAST_MODIFIED.encode(),
    b"content-disposition": b'attachment; filename="ten.txt"',
    b"cache-control": b"no-cache",
    b"x-content-type-options": b"nosniff",
}


def _plan(
    fields: Mapping[str, str], method: str = "GET", representation: Representation = TEN_BYTES, now_s: int = NOW_S
) -> ResponsePlan:
    return plan_download(method, fields, representation, boundary="BOUNDARY", now_s=now_s)


def _content(plan: ResponsePlan, content: bytes = CONTENT) -> bytes:
    def resolve(segment: Segment) -> bytes:
        return content[segment.start : segment.stop] if isinstance(segment, Span) else segment

    return b"".join(map(resolve, plan.segments))


def _value(plan: ResponsePlan, name: bytes) -> bytes | None:
    """Return the value of a field, ``None`` when it is absent; a field must not be there twice."""
    values = [value for key, value in plan.fields if key == name]
    assert len(values) < 2
    return values[0] if values else None


# One file of ten bytes; where other servers go wrong is in the name. Fields, then status and content for GET and HEAD.
ROWS = [
    pytest.param({"range": "bytes=0-4"}, (206, b"01234"), (200, b""), id="head_ignores_range_most_send_206_14_2"),
    pytest.param({"range": "items=0-4"}, (200, CONTENT), (200, b""), id="unknown_unit_starlette_400_aiohttp_416_14_2"),
    pytest.param({"range": "bytes=0-0"}, (206, b"0"), (200, b""), id="one_byte_whitenoise_416_14_1_2"),
    pytest.param({"range": "bytes=0-4,99-"}, (206, b"01234"), (200, b""), id="one_satisfiable_starlette_416_14_1_1"),
    pytest.param({"range": "bytes=0-4", "if-range": '"old"'}, (200, CONTENT), (200, b""), id="stale_if_range_13_1_5"),
    pytest.param({}, (200, CONTENT), (200, b""), id="whole_15_3_1"),
    pytest.param({"range": "bytes=-3"}, (206, b"789"), (200, b""), id="suffix_14_1_2"),
    pytest.param({"range": "bytes=0-"}, (206, CONTENT), (200, b""), id="all_as_a_range_is_206_15_3_7"),
    pytest.param({"range": "bytes=10-"}, (416, b""), (200, b""), id="unsatisfiable_15_5_17"),
    pytest.param({"range": "bytes=-0"}, (416, b""), (200, b""), id="suffix_of_nothing_caddy_206_14_1_2"),
    pytest.param({"range": "bytes=4-2"}, (200, CONTENT), (200, b""), id="invalid_range_14_1_1"),
    pytest.param({"range": "bytes=0-4,5-9"}, (206, CONTENT), (200, b""), id="two_that_join_are_one_15_3_7_2"),
    pytest.param({"if-range": '"old"'}, (200, CONTENT), (200, b""), id="if_range_without_range_13_1_5"),
    pytest.param({"range": "bytes=4-", "if-range": '"now"'}, (206, b"456789"), (200, b""), id="if_range_13_1_5"),
    pytest.param({"range": "bytes=4-", "if-range": 'W/"now"'}, (200, CONTENT), (200, b""), id="if_range_weak_13_1_5"),
    pytest.param({"range": "bytes=4-", "if-range": LAST_MODIFIED}, (206, b"456789"), (200, b""), id="if_range_date"),
    pytest.param({"range": "bytes=99-", "if-range": '"old"'}, (200, CONTENT), (200, b""), id="stale_and_unsatisfiable"),
    pytest.param({"range": "bytes=99-", "if-range": '"now"'}, (416, b""), (200, b""), id="current_and_unsatisfiable"),
    pytest.param({"if-none-match": '"now"'}, (304, b""), (304, b""), id="not_modified_15_4_5"),
    pytest.param({"if-none-match": '"now"', "range": "bytes=0-4"}, (304, b""), (304, b""), id="step_3_before_5_13_2_2"),
    pytest.param(
        {"if-none-match": '"old"', "range": "bytes=0-4"}, (206, b"01234"), (200, b""), id="range_after_step_3"
    ),
    pytest.param({"if-modified-since": LAST_MODIFIED}, (304, b""), (304, b""), id="not_modified_since_15_4_5"),
    pytest.param({"if-match": '"old"'}, (412, b""), (412, b""), id="precondition_failed_15_5_13"),
    pytest.param({"if-match": '"old"', "range": "bytes=99-"}, (412, b""), (412, b""), id="step_1_before_5_13_2_2"),
    pytest.param({"if-match": '"now"', "range": "bytes=0-4"}, (206, b"01234"), (200, b""), id="range_after_step_1"),
]


@pytest.mark.parametrize(("fields", "expected", "expected_of_head"), ROWS)
def test_a_get_is_answered(
    fields: dict[str, str], expected: tuple[int, bytes], expected_of_head: tuple[int, bytes]
) -> None:
    plan = _plan(fields)
    assert (plan.status, _content(plan)) == expected
    assert plan.content_length == len(_content(plan))
    assert _value(plan, b"content-length") == (None if plan.status == 304 else b"%d" % plan.content_length)


@pytest.mark.parametrize(("fields", "expected", "expected_of_head"), ROWS)
def test_a_head_is_answered(
    fields: dict[str, str], expected: tuple[int, bytes], expected_of_head: tuple[int, bytes]
) -> None:
    """§9.3.2: the fields of GET, as if there were no Range, and no content."""
    plan = _plan(fields, "HEAD")
    assert (plan.status, _content(plan)) == expected_of_head
    assert (plan.segments, plan.content_length) == ((), 0)
    without_range = {name: value for name, value in fields.items() if name != "range"}
    assert plan.fields == _plan(without_range, "GET").fields


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", ""])
def test_no_other_method_is_planned(method: str) -> None:
    with pytest.raises(ValueError, match="GET and HEAD"):
        _plan({}, method)


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        pytest.param({}, 200, WHOLE_FIELDS, id="whole_15_3_1"),
        pytest.param(
            {"range": "bytes=2-4"},
            206,
            WHOLE_FIELDS | {b"content-length": b"3", b"content-range": b"bytes 2-4/10"},
            id="single_part_repeats_the_fields_of_200_15_3_7_1",
        ),
        pytest.param(
            {"range": "bytes=0-1,7-"},
            206,
            WHOLE_FIELDS | {b"content-length": b"161", b"content-type": b"multipart/byteranges; boundary=BOUNDARY"},
            id="multiple_parts_have_no_content_range_15_3_7_2",
        ),
        pytest.param(
            {"if-none-match": '"now"'},
            304,
            {b"etag": b'"now"', b"last-modified": LAST_MODIFIED.encode(), b"cache-control": b"no-cache"},
            id="not_modified_describes_no_content_15_4_5",
        ),
        pytest.param(
            {"if-match": '"old"'},
            412,
            {b"content-length": b"0", b"etag": b'"now"', b"last-modified": LAST_MODIFIED.encode()},
            id="precondition_failed_tells_the_current_validators_15_5_13",
        ),
        pytest.param(
            {"range": "bytes=10-"},
            416,
            {
                b"accept-ranges": b"bytes",
                b"content-length": b"0",
                b"content-range": b"bytes */10",
                b"etag": b'"now"',
            },
            id="unsatisfiable_tells_the_complete_length_15_5_17",
        ),
    ],
)
def test_each_status_has_its_fields_and_no_other(
    fields: dict[str, str], status: int, expected: dict[bytes, bytes]
) -> None:
    plan = _plan(fields)
    assert (plan.status, sorted(plan.fields)) == (status, sorted(expected.items()))


def test_an_empty_representation_is_sent_whole_to_any_range() -> None:
    plan = _plan({"range": "bytes=0-4"}, representation=replace(TEN_BYTES, length=0))
    assert (plan.status, plan.segments, _value(plan, b"content-length")) == (200, (), b"0")


@pytest.mark.parametrize("fields", [{}, {"range": "bytes=0-1"}, {"if-none-match": '"now"'}, {"if-match": '"old"'}])
@pytest.mark.parametrize(
    ("mtime_s", "now_s", "expected"),
    [
        pytest.param(1_700_000_000, 1_700_000_000, LAST_MODIFIED, id="now"),
        pytest.param(1_700_000_001, 1_700_000_000, LAST_MODIFIED, id="all_peers_send_a_future_date_8_8_2_1"),
        pytest.param(10**18, 1_700_000_000, LAST_MODIFIED, id="far_in_the_future_8_8_2_1"),
        pytest.param(-1, 1_700_000_000, "Wed, 31 Dec 1969 23:59:59 GMT", id="before_1970"),
        pytest.param(-(10**18), 1_700_000_000, "Mon, 01 Jan 0001 00:00:00 GMT", id="before_the_calendar"),
    ],
)
def test_last_modified_is_never_later_than_the_message(
    fields: dict[str, str], mtime_s: int, now_s: int, expected: str
) -> None:
    plan = _plan(fields, representation=replace(TEN_BYTES, last_modified_s=mtime_s), now_s=now_s)
    assert _value(plan, b"last-modified") == expected.encode()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("length", "fields", "expected"),
    [
        pytest.param(MIB, {}, None, id="one_mib"),
        pytest.param(MIB + 1, {}, b"no", id="one_byte_more"),
        pytest.param(2 * MIB, {"range": f"bytes=0-{MIB}"}, b"no", id="a_long_range"),
    ],
)
def test_proxies_do_not_spool_more_than_a_mib(
    method: str, length: int, fields: dict[str, str], expected: bytes | None
) -> None:
    plan = _plan(fields, method, replace(TEN_BYTES, length=length))
    assert _value(plan, b"x-accel-buffering") == expected


def test_a_short_range_of_a_long_representation_may_be_spooled() -> None:
    plan = _plan({"range": "bytes=0-9"}, representation=replace(TEN_BYTES, length=2 * MIB))
    assert _value(plan, b"x-accel-buffering") is None


@pytest.mark.parametrize("fields", [{}, {"range": "bytes=0-1"}, {"range": "bytes=0-1,4-5"}])
def test_what_is_shown_inline_is_sandboxed(fields: dict[str, str]) -> None:
    plan = plan_download("GET", fields, TEN_BYTES, boundary="b", now_s=NOW_S, disposition="inline")
    assert _value(plan, b"content-security-policy") == b"sandbox"
    assert _value(plan, b"content-disposition") == b'inline; filename="ten.txt"'


@pytest.mark.parametrize("fields", [{}, {"range": "bytes=0-1"}, {"if-none-match": '"now"'}])
def test_cache_control_is_the_callers(fields: dict[str, str]) -> None:
    plan = plan_download("GET", fields, TEN_BYTES, boundary="b", now_s=NOW_S, cache_control="max-age=60")
    assert _value(plan, b"cache-control") == b"max-age=60"


def test_a_weak_entity_tag_is_sent_as_weak() -> None:
    plan = _plan({}, representation=replace(TEN_BYTES, etag=EntityTag("now", weak=True)))
    assert _value(plan, b"etag") == b'W/"now"'


def test_no_name_splits_the_fields() -> None:
    plan = _plan({}, representation=replace(TEN_BYTES, filename='\r\nx: y"\udcff\x00'))
    assert not any(byte < 0x20 or byte > 0x7E for _, value in plan.fields for byte in value)


def test_a_long_media_type_counts_as_waste() -> None:
    """The part heads are measured as they are sent: 20 heads of over 200 bytes are more than 4 KiB."""
    fields = {"range": "bytes=" + ",".join(f"{2 * place}-{2 * place}" for place in range(20))}
    short = _plan(fields, representation=replace(TEN_BYTES, length=40))
    long = _plan(fields, representation=replace(TEN_BYTES, length=40, media_type=f"text/{'x' * 200}"))
    assert (short.status, long.status) == (206, 200)


@pytest.mark.parametrize(
    "value", [TEN_BYTES, TEN_BYTES.etag, Span(0, 1), _plan({})], ids=lambda value: type(value).__name__
)
def test_values_do_not_change(value: object) -> None:
    """They are shared between requests and kept in caches, by the thousand: frozen, and without a dictionary each."""
    name = next(iter(value.__dataclass_fields__))  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__")
