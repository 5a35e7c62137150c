"""A site that answers as no server should: each check ends, in bounded memory, and none takes it for right."""

import json
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from fileserve.checkproxy import observing
from fileserve.checkproxy.client import Client, NotAskable
from fileserve.checkproxy.running import Verdict, expect_fileserve, run_checks
from fileserve.checkproxy.site import Site
from tests.checkproxy.hostile_site import JSON, WAYS, answering, hostile_site

HANGS_S = 40  # fifteen observations of at most half a second each end long before
MOST_BYTES = 150 << 20
#: What comes to no end and to no bound of bytes: each observation takes all the time that it may.
ENDLESS = {
    "never",
    "a_byte_now_and_then",
    "a_comment_now_and_then",
    "a_byte_of_the_content_now_and_then",
    "an_interim_answer_now_and_then",
    "interim_answers",
}
BESIDES = {"upload-buffering", "upload-size"}  # any answer that is no 413 comes at once
ENTRY = {"kind": "file", "modified": "2020-01-01T00:00:00Z", "media_type": "text/plain", "href": "/download/a"}


@pytest.fixture(autouse=True)
def in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "PAUSE_S", 0.1)
    monkeypatch.setattr(observing, "CONTENT_S", 0.4)


@pytest.mark.parametrize("way", WAYS)
def test_checks_end_and_find_nothing_right(way: str) -> None:
    began = time.monotonic()
    tracemalloc.start()
    try:
        with hostile_site(WAYS[way]) as url:
            results = list(run_checks(Site(Client(url, timeout_s=0.1 if way in ENDLESS else 0.3), idle_s=0)))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < HANGS_S
    verdicts = {result.check.name: result.verdict for result in results}
    assert verdicts.pop("idle-streams") is Verdict.LEFT_OUT
    right = {name for name, verdict in verdicts.items() if verdict is Verdict.OK} - BESIDES
    assert not right
    assert all(result.reason.isprintable() for result in results)


@pytest.mark.parametrize(
    "way", ["never", "a_byte_now_and_then", "endless_head", "interim_answers", "garbage", "control_characters"]
)
def test_a_site_that_does_not_tell_that_it_is_alive_is_none(way: str) -> None:
    with hostile_site(WAYS[way], is_alive=False) as url, pytest.raises(NotAskable) as refused:
        expect_fileserve(Client(url, timeout_s=0.5))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("gzip_unasked", "is not what fileserve says: it comes with the content coding gzip"),
        ("no_json", "it is no JSON document"),
        ("deep", "it is no JSON document"),
        ("a_list", "a value is no object"),
        ("no_utf_8", "it is no JSON document"),
        ("wrong_types", "a date is none"),
    ],
)
def test_a_document_that_was_changed_is_a_fault(way: str, told: str) -> None:
    with hostile_site(WAYS[way]) as url:
        faults = [result for result in run_checks(Site(Client(url, timeout_s=1))) if result.verdict is Verdict.FAULT]
    assert {fault.check.name for fault in faults} == {"documents"}
    assert told in faults[0].reason


@pytest.mark.parametrize(
    ("status", "fields", "told"),
    [
        ("401 Unauthorized", "", "--token or --user"),
        ("403 Forbidden", "", "--token or --user of somebody who may"),
        ("404 Not Found", "", "name the site with its prefix"),
        ("503 Service Unavailable", "Retry-After: 7\r\n", "ask again in 7 s"),
        ("429 Too Many Requests", "Retry-After: 7\r\n", "ask again in 7 s"),
        ("301 Moved", "Location: https://example.org/\r\n", "it redirects to https://example.org/; ask there"),
        ("502 Bad Gateway", "", "its error log says why"),
    ],
)
def test_what_could_not_be_asked_says_what_to_do(status: str, fields: str, told: str) -> None:
    with hostile_site(answering(b"", f"HTTP/1.1 {status}\r\n{fields}".encode())) as url:
        results = {result.check.name: result for result in run_checks(Site(Client(url, timeout_s=1)))}
    assert all(told in results[name].reason for name in ("events", "spooling", "large-download", "ranges", "names"))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"size": 3}, "no text file of at least 256 bytes that was at rest"),
        ({"size": 300, "media_type": "image/png"}, "no text file of at least 256 bytes"),
        ({"size": 300, "modified": "2999-01-01T00:00:00Z"}, "at rest for 60 s"),
    ],
)
def test_the_file_that_is_missing_is_described(entry: Mapping[str, Any], told: str) -> None:
    content = json.dumps({"entries": [{**ENTRY, **entry}]}).encode()
    with hostile_site(answering(content, JSON)) as url:
        results = {result.check.name: result for result in run_checks(Site(Client(url, timeout_s=1)))}
    for name in ("length", "compression", "coded-etag"):
        assert told in results[name].reason
        assert "--path" in results[name].reason


@pytest.mark.parametrize(
    ("location", "told"),
    [("https://example.org/healthz", "it redirects; ask https://example.org"), ("/login", "it redirects; ask /login")],
)
def test_a_site_that_redirects_says_where(location: str, told: str) -> None:
    alive = f"HTTP/1.1 308 Permanent Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with hostile_site(answering(b""), alive) as url, pytest.raises(NotAskable, match=told):
        expect_fileserve(Client(url))
