"""What is wrong with an observation: a table, without a site."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fileserve.checkproxy import judging
from fileserve.checkproxy.checks import CHECKS
from fileserve.checkproxy.client import Answer
from fileserve.checkproxy.documents import File
from fileserve.checkproxy.observing import Arrival, Events, Paused

FILE = File("/download/a", 100, '"tag"')
MIB = 1 << 20
WELL = {
    "http_version": "1.1",
    "path": "/files/check-proxy/request/a%2Fb//c%25d",
    "scheme": "https",
    "host": "example.org",
    "connection": None,
    "hops": 2,
    "client": "198.51.100.1",
    "is_forwarded_proto": True,
    "request_id": "1",
}


def _arrival(**changes: object) -> Arrival:
    return Arrival("https", "example.org", "192.0.2.77", WELL | changes)


def _download(status: int = 200, fields: Mapping[str, str] | None = None) -> tuple[File, Answer]:
    return FILE, Answer(status, fields or {})


ROWS = [
    (judging.each_event_alone, Events((0, 100, 200), (0, 101, 199), 5, True), None),
    (judging.each_event_alone, Events((0, 100, 200), (0, 50, 350), 5, True), None),  # late, but alone
    (judging.each_event_alone, Events((0, 100, 200), (0, 0, 1), 205, True), "events that were sent over 200 ms"),
    (judging.each_event_alone, Events((), (), 0, False), "no events came"),
    (judging.is_borne, Events((0,), (0,), 5, False), "the stream was ended"),
    (judging.is_read_as_it_is_taken, Paused(20 * MIB, 64 * MIB, 64 * MIB), None),
    (judging.is_read_as_it_is_taken, Paused(64 * MIB, 64 * MIB, 64 * MIB), "it took 64 MiB"),
    (judging.comes_whole, Paused(0, 5, 9), "5 of 9 bytes came"),
    (judging.is_refused_at_once, Answer(403, {}), None),
    (judging.is_refused_at_once, None, "an upload is answered only when"),
    (judging.is_refused_by_the_site, Answer(413, {"content-type": "text/html"}), "the proxy refuses"),
    (judging.is_refused_by_the_site, Answer(413, {"content-type": "application/problem+json"}), None),
    (judging.field_is("accept-ranges", "bytes"), _download(fields={"accept-ranges": "bytes"}), None),
    (judging.field_is("accept-ranges", "bytes"), _download(fields={"accept-ranges": "none"}), "accept-ranges is none"),
    (judging.field_is("accept-ranges", "bytes"), _download(), "accept-ranges is missing"),
    (judging.same_tag, _download(fields={"etag": '"tag"'}), None),
    (judging.same_tag, _download(fields={"etag": 'W/"tag"'}), 'the entity tag is W/"tag"'),
    (judging.same_tag, _download(), "the entity tag is missing"),
    (judging.not_coded, _download(fields={"content-encoding": "identity"}), None),
    (judging.not_coded, _download(fields={"content-encoding": "br"}), "it comes with the content coding br"),
    (judging.status_is(206, "bytes {fifth}-{last}/{size}"), _download(200), "the status is 200, and not 206"),
    (
        judging.status_is(206, "bytes {fifth}-{last}/{size}"),
        _download(206, {"content-range": "bytes 95-99/100"}),
        None,
    ),
    (judging.status_is(206, "bytes 0-9/{size}"), _download(206), "Content-Range is missing"),
    (judging.two_parts, _download(206, {"content-type": "multipart/byteranges; boundary=a"}), None),
    (judging.two_parts, _download(206, {"content-type": "text/plain"}), "two ranges are answered with 206 text"),
    (judging.names_are_kept, _arrival(), None),
    (judging.names_are_kept, _arrival(path="/check-proxy/request/a/b/c%25d"), "a%2Fb//c%25d arrives as a/b/c%25d"),
    (judging.http_11, _arrival(http_version="1.0"), "the proxy speaks HTTP/1.0"),
    (judging.is_kept_open, _arrival(connection="close"), "the proxy opens a connection"),
    (judging.host_is_kept, _arrival(host="fileserve"), "Host arrives as fileserve"),
    (judging.address_is_told, _arrival(), None),
    (judging.address_is_told, _arrival(hops=0, client=None), "the client's address does not arrive"),
    (judging.address_is_told, _arrival(hops=1, client="192.0.2.77"), "a client can claim any address"),
    (judging.address_is_told, _arrival(hops=1), None),  # the proxy writes it anew
    (judging.address_is_believed, _arrival(client=None), "X-Forwarded-For arrives and is not believed"),
    (judging.scheme_is_told, _arrival(), None),
    (judging.scheme_is_told, _arrival(is_forwarded_proto=False), "whether the client came by HTTPS"),
    (judging.scheme_is_told, _arrival(scheme="http"), "a client that came by https arrives as one"),
    (judging.id_is_given, _arrival(request_id=None), "requests arrive without an id"),
]


@pytest.mark.parametrize(("judge", "seen", "fault"), ROWS)
def test_a_fault_is_said_in_a_few_words(judge: Callable[[Any], str | None], seen: object, fault: str | None) -> None:
    said = judge(seen)
    assert said == fault if fault is None else (said or "").startswith(fault)


def test_each_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
