"""Which answers are left to a proxy that sends the file itself: those that it would give alike, and no others."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fileserve.semantics.offload import SETTLED_S, may_be_offloaded
from fileserve.semantics.plan import plan_download
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

MODIFIED_S = 1_700_000_000
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
NOW_S = MODIFIED_S + 1000
LARGE = 1 << 20
FILE = Representation(LARGE, EntityTag("now"), MODIFIED_S, "text/plain", "large.txt")


def may(fields: Mapping[str, str], method: str = "GET", file: Representation = FILE, now_s: int = NOW_S) -> bool:
    plan = plan_download(method, fields, file, boundary="BOUNDARY", now_s=now_s)
    return may_be_offloaded(method, fields, plan, now_s)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, True, id="whole"),
        pytest.param({"range": "bytes=0-"}, True, id="all_as_a_range"),
        pytest.param({"range": "bytes=5-999999"}, True, id="range"),
        pytest.param({"range": "bytes=5-9999999"}, True, id="range_past_the_end_both_clamp"),
        pytest.param({"range": "bytes=-999999"}, True, id="suffix"),
        pytest.param({"range": "bytes=-9999999"}, True, id="suffix_of_more_than_all"),
        pytest.param({"range": "bytes=5-", "if-range": '"now"'}, True, id="if_range_that_holds"),
        pytest.param({"range": "bytes=5-", "if-range": LAST_MODIFIED}, True, id="if_range_date_that_holds"),
        pytest.param({"if-range": '"old"'}, True, id="if_range_without_range"),
        pytest.param({"want-repr-digest": "sha-256=1", "accept-encoding": "gzip"}, True, id="fields_of_no_consequence"),
        pytest.param({"range": "bytes=5-", "if-range": '"old"'}, False, id="if_range_that_does_not_hold"),
        pytest.param({"range": "bytes=5-9"}, False, id="small_range"),
        pytest.param({"range": f"bytes={LARGE}-"}, False, id="unsatisfiable"),
        pytest.param({"range": "bytes=-0"}, False, id="empty_suffix_is_416"),
        pytest.param({"range": "bytes=9-5"}, False, id="malformed_nginx_416"),
        pytest.param({"range": "bytes=abc"}, False, id="no_range_nginx_416"),
        pytest.param({"range": "items=0-999999"}, False, id="unknown_unit"),
        pytest.param({"range": "BYTES=0-999999"}, False, id="unit_in_capitals"),
        pytest.param({"range": "bytes=0 -999999"}, False, id="space_nginx_206"),
        pytest.param({"range": "bytes= 0-999999"}, False, id="space_before"),
        pytest.param({"range": "bytes=0-999999,"}, False, id="empty_member_nginx_416"),
        pytest.param({"range": "bytes=0-600000,700000-800000"}, False, id="several"),
        pytest.param({"range": "bytes=0-999999,5000000-"}, False, id="several_of_which_one_counts"),
        pytest.param({"range": "bytes=0-" + "9" * 19}, False, id="more_digits_than_nginx_reads"),
        pytest.param({"range": "bytes=0-\N{ARABIC-INDIC DIGIT NINE}"}, False, id="other_digits"),
        pytest.param({"if-match": '"now"'}, False, id="if_match_nginx_412"),
        pytest.param({"if-match": "*"}, False, id="if_match_any"),
        pytest.param({"if-none-match": '"old"'}, False, id="if_none_match"),
        pytest.param({"if-none-match": '"now"'}, False, id="not_modified"),
        pytest.param({"if-modified-since": "Tue, 14 Nov 2000 22:13:20 GMT"}, False, id="if_modified_since"),
        pytest.param({"if-unmodified-since": LAST_MODIFIED}, False, id="if_unmodified_since"),
        pytest.param({"want-content-digest": "sha-256=1"}, False, id="content_digest_is_ours_to_add"),
    ],
)
def test_fields(fields: Mapping[str, str], expected: bool) -> None:
    assert may(fields) is expected
    assert not may(fields, "HEAD")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"length": 512 * 1024 + 1}, True, id="just_large_enough"),
        pytest.param({"length": 512 * 1024}, False, id="small"),
        pytest.param({"length": 0}, False, id="empty"),
        pytest.param({"last_modified_s": NOW_S - SETTLED_S}, True, id="settled"),
        pytest.param({"last_modified_s": NOW_S - SETTLED_S + 1}, False, id="written_to_lately"),
        pytest.param({"last_modified_s": NOW_S + 1000}, False, id="of_the_future_nginx_says_so"),
        pytest.param({"last_modified_s": -1}, False, id="before_1970_nginx_1970"),
        pytest.param({"etag": EntityTag("now-new", weak=True)}, False, id="weak_tag"),
    ],
)
def test_files(change: Mapping[str, object], expected: bool) -> None:
    assert may({}, file=replace(FILE, **change)) is expected  # type: ignore[arg-type]


def test_a_field_that_a_proxy_would_drop_keeps_the_answer_here() -> None:
    plan = plan_download("GET", {}, FILE, boundary="", now_s=NOW_S, also=((b"repr-digest", b"sha-256=:AA==:"),))
    assert may_be_offloaded("GET", {}, plan, NOW_S)
    assert not may_be_offloaded("GET", {}, replace(plan, fields=(*plan.fields, (b"x-new", b"1"))), NOW_S)


def test_what_is_no_file_is_not_left_to_anybody() -> None:
    plan = plan_download("GET", {}, FILE, boundary="", now_s=NOW_S)
    assert not may_be_offloaded("GET", {}, replace(plan, representation=None), NOW_S)
    assert not may_be_offloaded("GET", {}, replace(plan, segments=(b"tar", *plan.segments)), NOW_S)
