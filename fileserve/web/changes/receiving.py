"""What uploads of every kind have in common: how long their content is, how it arrives, and what is said in the end."""

from http import HTTPStatus

from fileserve.storage.changes.draft import Committed
from fileserve.storage.changes.writer import StagedFile
from fileserve.storage.index import Digests
from fileserve.web.describe import entity_tag
from fileserve.web.presence import ClientLeft
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = ["content_length", "next_chunk", "settle", "too_large"]

MOST_DIGITS = 18  # of a length; more is larger than any disk
SETTLES_MS = 100  # what an answer may wait; where times are coarser, it carries no entity tag


def content_length(request: NameRequest) -> int | None:
    """Return the length of the content; ``None`` where only its end will tell. RFC 9112 §6.3.

    HTTP/1.0 knows no content without its length (RFC 1945 §7.2.2); what came until its end would be cut off unseen.
    A transfer coding under the chunks would be stored as it is; who does not understand it says 501 (§6.1).
    """
    coding = request.fields.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise Problem(HTTPStatus.NOT_IMPLEMENTED, "Of transfer codings, chunked alone is understood.")
    if coding is not None:
        return None
    value = request.fields.get("content-length")
    if value is None and request.scope.get("http_version") == "1.0":
        raise Problem(HTTPStatus.LENGTH_REQUIRED, "A request of HTTP/1.0 tells the length of its content.")
    value = value or "0"
    if not value.isdecimal():
        raise Problem(HTTPStatus.BAD_REQUEST, "Content-Length is not a number.")
    if len(value.lstrip("0")) > MOST_DIGITS:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "No disk has room for that.")
    return int(value)


async def next_chunk(request: NameRequest) -> tuple[bytes, bool]:
    """Return what has arrived of a request's content, and whether more is to come. Raises ``ClientLeft``."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body = message.get("body", b"")
    request.site.measuring.counts.received += len(body)
    return body, message.get("more_body", False)


async def settle(request: NameRequest, staged: StagedFile, committed: Committed, digests: Digests | None) -> str | None:
    """Count a file that was stored, keep its digests, and return its entity tag; ``None`` where it has no sure one.

    Policy: the answer waits the few milliseconds that it takes until a further change would show in the file's times.
    Its entity tag is then a strong one that the next request can lean on, and the digests can be kept.
    """
    settings = request.site.settings
    request.site.measuring.counts.stored += 1
    if settings.weak_etag_ms > SETTLES_MS or not await staged.settle(committed, settings.weak_etag_ms):
        return None
    if digests is not None:
        await request.site.digests.checksums.keep(committed.status, digests)
    return str(entity_tag(committed.status, settings.etag, committed.status.ctime_ns + 1))


def too_large(what: str, limit: int) -> Problem:
    """Return 413 for *what* of more than *limit* bytes."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A {what} has {limit} bytes at the most.")
