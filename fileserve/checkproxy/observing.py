"""What was seen when the site was asked: one function for each kind of question, one value for each kind of answer.

Nothing is judged here. What the site does not offer is ``NotChecked``, with the reason.
"""

import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fileserve.checkproxy.bounded import Late
from fileserve.checkproxy.client import Answer, fields_of
from fileserve.checkproxy.documents import File, arrived
from fileserve.checkproxy.reasons import LeftOut, NotChecked, Unlike, refused
from fileserve.checkproxy.site import LISTING, Site

NAMES = "a%2Fb//c%25d"
FORGED_ADDRESS = "192.0.2.77"  # RFC 5737: nobody's
EVENTS, INTERVAL_MS = 5, 250
LONGEST_LINE = 1024  # of an event, which tells a number
MIB = 1 << 20
BLOCK, STAMP_DIGITS, CONTENT = 64 * 1024, 8, 64 * MIB  # of /check-proxy/content
CONTENT_S = 120  # the site gives up later
PAUSE_S = 2.0
ENORMOUS = 1 << 40
IDLE_MARGIN_S = 15


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
    told = arrived(site.client.ask(path, fields), path)
    return Arrival(site.client.scheme, site.client.host, FORGED_ADDRESS, told)


def listing(site: Site) -> Answer:
    """Ask for the files at the top of the site."""
    if site.listing.status != 200:
        raise refused(site.listing.status, site.listing.fields, LISTING)
    return site.listing


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
        raise LeftOut("with --idle 0")
    return _take_events(site, 2, site.idle_s * 1000, site.idle_s + IDLE_MARGIN_S)


def _take_events(site: Site, count: int, interval_ms: int, timeout_s: float) -> Events:
    sent: list[int] = []
    came: list[float] = []
    is_whole = True
    asked = time.monotonic()
    path = f"/check-proxy/events?count={count}&interval_ms={interval_ms}"
    with site.client.asking(path, {"Accept-Encoding": "gzip"}, silence_s=timeout_s) as response:
        _expect_offered(response, path, "text/event-stream")
        try:
            while len(sent) < count and (line := response.readline(LONGEST_LINE)):
                if stamp := _stamp_of(line, path):
                    came.append(time.monotonic())
                    sent.append(int(stamp))
        except (OSError, http.client.HTTPException):
            is_whole = False
    if len(sent) == count and sent[-1] - sent[0] < (count - 1) * interval_ms / 2:
        raise Unlike(path, "its events are not as far apart as they were asked for")
    first = came[0] if came else asked
    return Events(
        tuple(stamp - sent[0] for stamp in sent),
        tuple(int((instant - first) * 1000) for instant in came),
        int((first - asked) * 1000),
        is_whole and len(sent) == count,
    )


def _stamp_of(line: bytes, path: str) -> bytes:
    """Return the digits that an event tells; empty for what is no event."""
    stamp = re.fullmatch(rb"data: ([0-9]{1,9})\r?\n", line)
    if not stamp and (line.startswith(b"data:") or len(line) == LONGEST_LINE):
        raise Unlike(path, "an event tells no time")
    return stamp[1] if stamp else b""


@dataclass(frozen=True)
class Paused:
    """A large content that was not read for a while: *ahead* bytes were sent meanwhile, *got* of *length* came."""

    ahead: int
    got: int
    length: int


def paused(site: Site) -> Paused:
    """Take the large content, but read nothing of it for two seconds."""
    path = "/check-proxy/content"
    within_s = max(CONTENT_S, site.client.timeout_s)
    with site.client.asking(path, within_s=within_s) as response:
        _expect_offered(response, path, "application/octet-stream")
        length, ahead, got = response.length or CONTENT, 0, 0
        time.sleep(PAUSE_S)
        try:
            while got <= CONTENT and (block := response.read(BLOCK)):
                got += len(block)
                if len(block) == BLOCK and _stamp_in(block, path) < PAUSE_S * 1000 / 2:
                    ahead = got
        except Late:
            raise NotChecked(f"{got // MIB} MiB came in {within_s:.0f} s; ask over a faster line") from None
        except (OSError, http.client.HTTPException):
            pass  # what came is what is told
    return Paused(ahead, got, length)


def _stamp_in(block: bytes, path: str) -> int:
    if not block[:STAMP_DIGITS].isdigit():
        raise Unlike(path, "a block tells no time")
    return int(block[:STAMP_DIGITS])


def _expect_offered(response: http.client.HTTPResponse, path: str, kind: str) -> None:
    fields = fields_of(response)
    if response.status != 200:
        raise refused(response.status, fields, path)
    if not fields.get("content-type", "").startswith(kind):
        raise Unlike(path, f"it is {fields.get('content-type') or 'of no type'}")


def refusal(site: Site) -> Answer | None:
    """Announce an enormous upload and send nothing of it; return the answer, ``None`` where none comes.

    No site can take it: the precondition holds for no file. So it is refused before its content is read.
    """
    fields = {"Content-Length": str(ENORMOUS), "Expect": "100-continue", "If-Match": '"check-proxy"'}
    try:
        return site.client.head_of("/upload/.check-proxy", fields, "PUT")
    except TimeoutError:
        return None


Download = tuple[File, Answer]


def downloading(*, method: str = "GET", as_text: bool = False, **fields: str) -> Callable[[Site], Download]:
    """Return the question what a download with *fields* is answered; in them, ``{etag}`` is the file's entity tag."""

    def ask(site: Site) -> Download:
        chosen = site.text_file if as_text else site.file
        sent = {name.replace("_", "-"): value.format(etag=chosen.etag) for name, value in fields.items()}
        return chosen, site.client.head_of(chosen.path, sent, method)

    return ask
