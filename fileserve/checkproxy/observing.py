"""What was seen when the site was asked: one function for each kind of question, one value for each kind of answer.

Nothing is judged here. What the site does not offer is ``NotChecked``, with the reason.
"""

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from fileserve.checkproxy.client import Answer, Client

NAMES = "a%2Fb//c%25d"
FORGED_ADDRESS = "192.0.2.77"  # RFC 5737: nobody's
ARRIVED = {"path", "scheme", "host", "http_version", "connection", "hops", "client", "is_forwarded_proto", "request_id"}
EVENTS, INTERVAL_MS = 5, 250
BLOCK, STAMP_DIGITS = 64 * 1024, 8  # of /check-proxy/content
PAUSE_S = 2.0
ENORMOUS = 1 << 40
IDLE_MARGIN_S = 15
SMALLEST, SMALLEST_TEXT = 16, 256  # two ranges have room; compression begins at some length
AT_REST_S = 60  # a file that changes meanwhile would change its validators


class NotChecked(Exception):
    """A question that cannot be asked here. The text says why."""


@dataclass(frozen=True)
class File:
    """A file of the site, as its own description says: the document is content, which no proxy changes."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class Site:
    """The site that is asked, and how.

    *path* is that of a file to ask for, below ``/download/``, percent-encoded; ``None``: one at the top of the site.
    """

    client: Client
    path: str | None = None
    idle_s: int = 0
    """How long a stream is silent for the question whether that is borne; 0: it is not asked."""

    @cached_property
    def file(self) -> File:
        """The file that was named, or the largest."""
        return self._describe(self.path or self._list(lambda entry: int(entry["size"]) >= SMALLEST))

    @cached_property
    def text_file(self) -> File:
        """The file that was named, or the largest of a kind that proxies like to compress."""
        return self._describe(self.path or self._list(_is_text))

    def _list(self, is_fit: Callable[[dict[str, Any]], bool]) -> str:
        before = datetime.now(UTC) - timedelta(seconds=AT_REST_S)
        for entry in self._document("/api/files/?sort=size&order=desc")["entries"]:
            if entry["kind"] == "file" and is_fit(entry) and datetime.fromisoformat(entry["modified"]) < before:
                return str(entry["href"]).partition("/download/")[2]
        raise NotChecked(
            "there is no fit file at the top of the site that was at rest for a minute; name one with --path"
        )

    def _describe(self, path: str) -> File:
        document = self._document(f"/api/files/{path}")
        if "etag" not in document:
            raise NotChecked(f"{path} is no file")
        return File(f"/download/{path}", document["size"], document["etag"])

    def _document(self, path: str) -> Any:
        answer = self.client.ask(path)
        if not is_document(answer):
            raise NotChecked(f"the site answers {answer.status} to {path}")
        return json.loads(answer.content)


def is_document(answer: Answer) -> bool:
    """Tell whether fileserve has answered, and not a proxy with a page of its own."""
    return answer.status == 200 and (answer["content-type"] or "").startswith("application/json")


def _is_text(entry: dict[str, Any]) -> bool:
    kind = entry.get("media_type") or ""
    return entry["size"] >= SMALLEST_TEXT and bool(re.match(r"text/|application/(json|javascript|xml)", kind))


@dataclass(frozen=True)
class Arrival:
    """How a request was sent, and how the site says that it has arrived (``/check-proxy/request``)."""

    scheme: str
    host: str
    forged: str
    arrived: dict[str, Any]


def arrival(site: Site) -> Arrival:
    """Ask how a request with forged fields arrives."""
    other = "http" if site.client.scheme == "https" else "https"
    fields = {"X-Forwarded-For": FORGED_ADDRESS, "X-Forwarded-Proto": other}
    path = f"/check-proxy/request/{NAMES}"
    answer = site.client.ask(path, fields)
    if not is_document(answer):
        raise NotChecked(f"the site answers {answer.status} to /check-proxy/request")
    arrived = json.loads(answer.content)
    if not arrived.keys() >= ARRIVED:
        raise NotChecked("the site is of another version, and tells other things")
    return Arrival(site.client.scheme, site.client.host, FORGED_ADDRESS, arrived)


@dataclass(frozen=True)
class Events:
    """When each event of a stream was sent, and when it came, in milliseconds from the first of each.

    *first_ms* is how long the first took.
    """

    sent: tuple[int, ...]
    came: tuple[int, ...]
    first_ms: int
    is_whole: bool


def events(site: Site) -> Events:
    """Take a stream of a few events, as a browser would."""
    return _take_events(site, EVENTS, INTERVAL_MS, site.client.timeout_s)


def silence(site: Site) -> Events:
    """Take a stream that is silent for a long time."""
    if not site.idle_s:
        raise NotChecked("left out with --idle 0")
    return _take_events(site, 2, site.idle_s * 1000, site.idle_s + IDLE_MARGIN_S)


def _take_events(site: Site, count: int, interval_ms: int, timeout_s: float) -> Events:
    sent: list[int] = []
    came: list[float] = []
    is_whole = True
    asked = time.monotonic()
    path = f"/check-proxy/events?count={count}&interval_ms={interval_ms}"
    with site.client.asking(path, {"Accept-Encoding": "gzip"}, timeout_s=timeout_s) as response:
        _expect_offered(response)
        try:
            while line := response.readline():
                if line.startswith(b"data: "):
                    came.append(time.monotonic())
                    sent.append(int(line[6:]))
        except (OSError, http.client.HTTPException):
            is_whole = False
    first = came[0] if came else asked
    return Events(
        tuple(stamp - sent[0] for stamp in sent),
        tuple(int((instant - first) * 1000) for instant in came),
        int((first - asked) * 1000),
        is_whole and len(sent) == count,
    )


@dataclass(frozen=True)
class Paused:
    """A large content that was not read for a while: *ahead* bytes were sent meanwhile, *got* of *length* came."""

    ahead: int
    got: int
    length: int


def paused(site: Site) -> Paused:
    """Take the large content, but read nothing of it for two seconds."""
    with site.client.asking("/check-proxy/content") as response:
        _expect_offered(response)
        length, ahead, got = int(response.getheader("content-length") or 0), 0, 0
        time.sleep(PAUSE_S)
        try:
            while block := response.read(BLOCK):
                got += len(block)
                if len(block) == BLOCK and int(block[:STAMP_DIGITS]) < PAUSE_S * 1000 / 2:
                    ahead = got
        except (OSError, http.client.HTTPException):
            pass  # what came is what is told
    return Paused(ahead, got, length)


def _expect_offered(response: http.client.HTTPResponse) -> None:
    if response.status != 200:
        raise NotChecked(f"the site answers {response.status} to /check-proxy")


def refusal(site: Site) -> Answer | None:
    """Announce an enormous upload and send nothing of it; return the answer, ``None`` where none comes.

    No site can take it: the precondition holds for no file. So it is refused before its content is read.
    """
    fields = {"Content-Length": str(ENORMOUS), "Expect": "100-continue", "If-Match": '"check-proxy"'}
    try:
        return site.client.ask("/upload/.check-proxy", fields, "PUT")
    except TimeoutError:
        return None


Download = tuple[File, Answer]


def downloading(*, method: str = "GET", as_text: bool = False, **fields: str) -> Callable[[Site], Download]:
    """Return the question what a download with *fields* is answered; in them, ``{etag}`` is the file's entity tag."""

    def ask(site: Site) -> Download:
        chosen = site.text_file if as_text else site.file
        sent = {name.replace("_", "-"): value.format(etag=chosen.etag) for name, value in fields.items()}
        return chosen, site.client.ask(chosen.path, sent, method)

    return ask
