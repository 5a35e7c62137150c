"""The table: what is asked of a proxy, how the answer is judged, and which directive of nginx mends it.

A check is a row of ``CHECKS``: its name, the question, what is observed for it, a pure function that says what is wrong
with what was observed (``None``: nothing), and the mend. Several rows may judge one observation; it is made once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fileserve.checkproxy.judging import (
    address_is_believed,
    address_is_told,
    comes_whole,
    each_event_alone,
    field_is,
    host_is_kept,
    http_11,
    id_is_given,
    is_as_told,
    is_borne,
    is_kept_open,
    is_read_as_it_is_taken,
    is_refused_at_once,
    is_refused_by_the_site,
    names_are_kept,
    not_coded,
    same_tag,
    scheme_is_told,
    status_is,
    two_parts,
)
from fileserve.checkproxy.observing import arrival, downloading, events, listing, paused, refusal, silence
from fileserve.checkproxy.site import Site

T = TypeVar("T")

whole = downloading(method="HEAD")
coded = downloading(as_text=True, Accept_Encoding="gzip, deflate, br")
first_bytes = downloading(Range="bytes=0-9")
last_bytes = downloading(Range="bytes=-5")
two_ranges = downloading(Range="bytes=0-0,-1")
beyond = downloading(Range="bytes=9999999999999999-")
resumed = downloading(Range="bytes=10-", If_Range="{etag}")
not_resumed = downloading(method="GET", Range="bytes=10-", If_Range='"of another version"')
not_modified = downloading(If_None_Match="{etag}")
not_matched = downloading(method="HEAD", If_Match='"of another version"')


@dataclass(frozen=True)
class Check(Generic[T]):
    """One question. *judge* says what is wrong with what *observe* has seen."""

    name: str
    question: str
    observe: Callable[[Site], T]
    judge: Callable[[T], str | None]
    mend: str


_FORWARDED = "include snippets/fileserve-fields.conf in the block that has a proxy_set_header of its own: "
_NOT_HIDDEN = "remove proxy_hide_header {0}; and add_header or headers_more that set it"
_RANGES = "remove proxy_set_header Range and proxy_force_ranges; max_ranges must not be 0"
_CONDITIONS = "remove proxy_set_header If-...; proxy_cache answers preconditions by itself: see fileserve-cache.conf"

CHECKS: tuple[Check[Any], ...] = (
    Check(
        "events",
        "does each event come alone",
        events,
        each_event_alone,
        "gzip off, or no text/event-stream in gzip_types; proxy_buffering off",
    ),
    Check(
        "spooling",
        "does a download wait for its client",
        paused,
        is_read_as_it_is_taken,
        "proxy_buffering off; proxy_max_temp_file_size 0",
    ),
    Check(
        "large-download",
        "does a large content come whole",
        paused,
        comes_whole,
        "proxy_max_temp_file_size 0; proxy_buffering off; send_timeout 300s",
    ),
    Check(
        "upload-buffering",
        "is an upload refused before it is sent",
        refusal,
        is_refused_at_once,
        "proxy_request_buffering off",
    ),
    Check(
        "upload-size",
        "does the site decide how large an upload may be",
        refusal,
        is_refused_by_the_site,
        "client_max_body_size 0",
    ),
    Check("ranges", "is a range answered", first_bytes, status_is(206, "bytes 0-9/{size}"), _RANGES),
    Check(
        "suffix-range",
        "are the last bytes answered",
        last_bytes,
        status_is(206, "bytes {fifth}-{last}/{size}"),
        _RANGES,
    ),
    Check(
        "multiple-ranges",
        "are two ranges answered",
        two_ranges,
        two_parts,
        _RANGES + "; max_ranges 1 and slice cut them",
    ),
    Check(
        "unsatisfiable-range", "is a range beyond the end refused", beyond, status_is(416, "bytes */{size}"), _RANGES
    ),
    Check(
        "accept-ranges",
        "are ranges offered",
        whole,
        field_is("accept-ranges", "bytes"),
        _NOT_HIDDEN.format("Accept-Ranges"),
    ),
    Check("if-range", "is a download resumed", resumed, status_is(206), _CONDITIONS),
    Check(
        "if-range-changed", "does a download of another version start over", not_resumed, status_is(200), _CONDITIONS
    ),
    Check("if-none-match", "is a current copy told so", not_modified, status_is(304), _CONDITIONS),
    Check("if-match", "does a precondition fail", not_matched, status_is(412), _CONDITIONS),
    Check("etag", "does the entity tag arrive", whole, same_tag, _NOT_HIDDEN.format("ETag")),
    Check(
        "last-modified",
        "does the modification date arrive",
        whole,
        field_is("last-modified", ".+ GMT"),
        _NOT_HIDDEN.format("Last-Modified"),
    ),
    Check(
        "disposition",
        "does the file's name arrive",
        whole,
        field_is("content-disposition", "attachment.*"),
        _NOT_HIDDEN.format("Content-Disposition"),
    ),
    Check("length", "does the length arrive", coded, field_is("content-length", "[0-9]+"), "gzip off"),
    Check("compression", "do downloads come as they are", coded, not_coded, "gzip off"),
    Check("coded-etag", "is the entity tag of text left alone", coded, same_tag, "gzip off"),
    Check(
        "documents",
        "do documents come as they are",
        listing,
        is_as_told,
        "remove sub_filter, add_before_body and gzip for application/json",
    ),
    Check(
        "names",
        "do names arrive as they were sent",
        arrival,
        names_are_kept,
        "proxy_pass http://fileserve; with no path, not even a slash, behind the name",
    ),
    Check("http-version", "does the proxy speak HTTP/1.1", arrival, http_11, "proxy_http_version 1.1"),
    Check(
        "connections", "are connections kept open", arrival, is_kept_open, _FORWARDED + 'proxy_set_header Connection ""'
    ),
    Check(
        "host",
        "does Host arrive as it was sent",
        arrival,
        host_is_kept,
        _FORWARDED + "proxy_set_header Host $http_host",
    ),
    Check(
        "address",
        "does the client's address arrive",
        arrival,
        address_is_told,
        _FORWARDED + "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for",
    ),
    Check(
        "trust",
        "is the proxy believed",
        arrival,
        address_is_believed,
        "no directive: fileserve serve --trusted-proxies ADDRESS-OF-THE-PROXY",
    ),
    Check(
        "scheme",
        "does the client's scheme arrive",
        arrival,
        scheme_is_told,
        _FORWARDED + "proxy_set_header X-Forwarded-Proto $scheme",
    ),
    Check(
        "request-id",
        "do requests have an id",
        arrival,
        id_is_given,
        _FORWARDED + "proxy_set_header X-Request-ID $request_id",
    ),
    Check("idle-streams", "is a silent stream borne", silence, is_borne, "proxy_read_timeout 300s; send_timeout 300s"),
)
