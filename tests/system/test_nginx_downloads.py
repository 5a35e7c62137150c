"""The download table through each configuration of nginx: the answers are those of fileserve alone."""

import http.client
import os
import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.semantics.test_plan import LAST_MODIFIED, ROWS
from tests.system.clients import TIMEOUT_S, strong_etag
from tests.system.nginx import nginx
from tests.tools import serving

pytestmark = pytest.mark.system

MIB = 1 << 20
ID = "0" * 32  # as long as nginx's, which stands in its place, in problem documents too
LONG = 20 * MIB + 321  # three slices of a cache
MODIFIED_S = 1_700_000_000  # LAST_MODIFIED
EARLIER, LATER = "Mon, 13 Nov 2023 22:13:20 GMT", "Wed, 15 Nov 2023 22:13:20 GMT"
# Of the connection and not of the representation, or nginx's own.
LEFT_OUT = {"connection", "date", "keep-alive", "server", "x-accel-buffering", "x-request-id"}


@dataclass(frozen=True)
class Case:
    """A request; in its fields, "now" stands for the entity tag of the file."""

    path: str
    fields: Mapping[str, str]
    method: str = "GET"


def _cases() -> Iterator[object]:
    for row in ROWS:
        row_fields: Any = row.values[0]
        for method in ("GET", "HEAD"):
            yield pytest.param(Case("/download/ten.txt", row_fields, method), id=f"{row.id}-{method}")
    for name, fields in FURTHER.items():
        for method in ("GET", "HEAD"):
            yield pytest.param(Case("/download/long", fields, method), id=f"{name}-{method}")
    for name, path in PATHS.items():
        yield pytest.param(Case(path, {}), id=name)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        yield pytest.param(Case("/download/ten.txt", {}, method), id=f"no_such_method-{method}")


FURTHER: dict[str, dict[str, str]] = {
    "whole": {},
    "within_a_slice": {"range": f"bytes={MIB}-{2 * MIB}"},
    "over_two_slices": {"range": f"bytes={8 * MIB - 5}-{8 * MIB + 5}"},
    "over_all_slices": {"range": f"bytes=5-{LONG - 5}"},
    "last_slice": {"range": f"bytes={16 * MIB}-"},
    "clamped": {"range": f"bytes={16 * MIB}-{99 * MIB}"},
    "past_the_end": {"range": f"bytes={LONG}-"},
    "far_past_the_end": {"range": f"bytes={99 * MIB}-"},
    "far_past_the_end_of_another_version": {"range": f"bytes={99 * MIB}-", "if-range": '"old"'},
    "suffix": {"range": f"bytes=-{9 * MIB}"},
    "several": {"range": f"bytes=0-9,{8 * MIB}-{8 * MIB + 9},-10"},
    "spaces": {"range": "bytes= 0-9 , 20-29"},
    "resume": {"range": f"bytes={9 * MIB}-", "if-range": '"now"'},
    "resume_of_another_version": {"range": f"bytes={9 * MIB}-", "if-range": '"old"'},
    "resume_by_date": {"range": f"bytes={9 * MIB}-", "if-range": LAST_MODIFIED},
    "resume_of_a_later_date": {"range": f"bytes={9 * MIB}-", "if-range": LATER},
    "resume_with_if_match": {"range": f"bytes={9 * MIB}-", "if-match": '"now"'},
    "resume_with_a_wrong_if_match": {"range": f"bytes={9 * MIB}-", "if-match": '"old"'},
    "resume_if_unmodified": {"range": f"bytes={9 * MIB}-", "if-unmodified-since": LAST_MODIFIED},
    "resume_if_modified": {"range": f"bytes={9 * MIB}-", "if-unmodified-since": EARLIER},
    "no_date": {"if-unmodified-since": "yesterday"},
    "a_tag_before_a_date": {"if-match": '"now"', "if-unmodified-since": EARLIER},
    "modified_since_before": {"if-modified-since": EARLIER},
    "modified_since_after": {"if-modified-since": LATER},
    "tag_and_date": {"if-none-match": '"old"', "if-modified-since": LAST_MODIFIED},
    "one_of_several_tags": {"if-none-match": '"old", W/"now"'},
    "any_tag": {"if-none-match": "*"},
    "coding": {"accept-encoding": "gzip, br"},
    "digest": {"want-repr-digest": "sha-256=1"},
    "digest_of_the_content": {"range": "bytes=5-14", "want-content-digest": "sha-256=1"},
    "cookie": {"cookie": "a=b", "range": "bytes=5-14"},
}
PATHS = {
    "to_view": "/download/ten.txt?disposition=inline",
    "unknown_query": "/download/ten.txt?a=b",
    "empty": "/download/empty",
    "text_that_could_be_coded": "/download/page.html",
    "quoted_name": "/download/with%20space%20%22quote%22%20%25.txt",
    "no_utf8": "/download/not-utf8-%FF",
    "newline": "/download/new%0Aline",
    "needless_escape": "/download/%74en.txt",
    "escaped_slash": "/download/folder%2Finner",
    "two_slashes": "/download/folder//inner",
    "escaped_twice": "/download/%2574en.txt",
    "dots": "/download/folder/../ten.txt",
    "escaped_dots": "/download/folder/%2e%2e/ten.txt",
    "question_mark": "/download/what%3F",
    "absent": "/download/absent",
    "folder": "/download/folder",
    "broken_escape": "/download/%zz",
    "tar": "/archive/folder.tar",
    "zip": "/archive/folder.zip",
    "tar_of_the_root": "/archive.tar?include=folder/*",
    "digest_file": "/download/ten.txt.sha256",
    "long_name": "/download/" + "/".join(["%C3%A9" * 100] * 12),
}


@dataclass(frozen=True)
class Configuration:
    """One of ours, and where nginx's answer is its own: docs/nginx.md says so, too."""

    name: str
    statuses: Mapping[str, int]
    """By case, where nginx answers before it asks."""
    left_out: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """By status, fields that nginx does not send; with "content", it sends a page of its own."""
    reads_files: bool = False
    """Whether nginx sends the files itself."""


CONFIGURATIONS = [
    Configuration("fileserve.conf", {"broken_escape": 400}),
    Configuration(
        "fileserve-cache.conf",
        {"broken_escape": 400, "invalid_range_14_1_1-GET": 416},
        {
            206: frozenset({"accept-ranges"}),
            416: frozenset({"content", "content-type", "content-length", "accept-ranges", "etag", "last-modified"})
            | {"content-disposition", "cache-control", "x-content-type-options", "repr-digest", "link"},
        },
    ),
    Configuration("fileserve-accel.conf", {"broken_escape": 400}, reads_files=True),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the table."""
    root = tmp_path_factory.mktemp("root")
    (root / "folder").mkdir()
    contents = {
        "ten.txt": b"0123456789",
        "long": os.urandom(LONG),
        "empty": b"",
        "page.html": b"<p>" * 10_000,
        'with space "quote" %.txt': b"quoted",
        "new\nline": b"newline",
        "what?": b"what",
        "folder/inner": b"inner",
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    Path(os.fsdecode(bytes(root) + b"/not-utf8-\xff")).write_bytes(b"bytes")
    for path in root.rglob("*"):
        os.utime(path, (MODIFIED_S, MODIFIED_S))
    return root


@pytest.fixture(scope="module")
def direct(root: Path) -> Iterator[str]:
    """The URL of a fileserve that is alone."""
    options = ("--trusted-proxies", "127.0.0.1", "--keep-alive", "300", "--accel-redirect", "/_files/")
    with serving(root, *options) as server:
        for name in ("ten.txt", "long"):
            strong_etag(f"{server.url}/download/{name}")
            urllib.request.urlopen(f"{server.url}/checksum/{name}").read()  # known digests stand in later answers
        yield server.url


@pytest.fixture(scope="module", params=CONFIGURATIONS, ids=lambda configuration: configuration.name)
def proxied(request: pytest.FixtureRequest, direct: str, root: Path) -> Iterator[tuple[Configuration, str]]:
    """A configuration, and the URL of an nginx that runs with it."""
    changes = {"/srv/files/": f"{root}/"} if request.param.reads_files else {}
    with nginx(request.param.name, direct, changes=changes) as proxy:
        yield request.param, proxy.url
        assert proxy.spooled() == []


@pytest.mark.parametrize("case", list(_cases()))
def test_the_answer_is_that_of_fileserve(
    direct: str, proxied: tuple[Configuration, str], case: Case, request: pytest.FixtureRequest
) -> None:
    configuration, url = proxied
    expected = _ask(direct, case)
    for _ in range(2):  # the second time perhaps from a cache
        answer = _ask(url, case)
        own = configuration.statuses.get(request.node.callspec.id.removeprefix(f"{configuration.name}-"))
        if own is not None:
            assert answer.status == own
            continue
        assert answer.status == expected.status
        left_out = configuration.left_out.get(answer.status, frozenset())
        assert _without(answer.fields, left_out) == _without(expected.fields, left_out)
        assert "content" in left_out or answer.content == expected.content


def _without(fields: Mapping[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name not in names}


@dataclass(frozen=True)
class Answer:
    """What came, without what differs between any two answers."""

    status: int
    fields: Mapping[str, str]
    content: bytes


def _ask(url: str, case: Case) -> Answer:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)
    try:
        etag = strong_etag(url + case.path) if '"now"' in "".join(case.fields.values()) else '"now"'
        fields = {name: value.replace('"now"', etag) for name, value in case.fields.items()}
        connection.request(case.method, case.path, headers={"accept-encoding": "identity", "x-request-id": ID} | fields)
        response = connection.getresponse()
        content = response.read()
        content = content.replace((response.getheader("x-request-id") or ID).encode(), ID.encode())
        kept = {name.lower(): value for name, value in response.getheaders() if name.lower() not in LEFT_OUT}
    finally:
        connection.close()
    boundary = re.search(r"boundary=(\S+)", kept.get("content-type", ""))
    if boundary:
        kept["content-type"] = kept["content-type"].replace(boundary[1], "BOUNDARY")
        content = content.replace(boundary[1].encode(), b"BOUNDARY")
    return Answer(response.status, kept, content)
