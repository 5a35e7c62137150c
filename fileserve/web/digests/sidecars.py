"""``<file>.sha256`` and ``<file>.meta4`` beside every file: its digest for ``sha256sum -c``, and a Metalink (RFC 5854).

Only where no file bears the name itself. While the digest is not known yet they are answered 503 with Retry-After, and
the work begins behind the request's back; HEAD begins nothing.
"""

from http import HTTPStatus

from starlette.types import ASGIApp

from fileserve.semantics.digest import checksum_line
from fileserve.semantics.metalink import METALINK, metalink
from fileserve.storage.errors import IsDirectory, NotFound
from fileserve.storage.names import Name
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.web.content import Text
from fileserve.web.delivery import deliver_text
from fileserve.web.describe import NS_PER_S, filename_of
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import href, origin

PLAIN = "text/plain; charset=utf-8"
_HASHED_PER_S = 256 * 1024 * 1024  # bytes, about: what Retry-After is reckoned from
_LONGEST_WAIT_S = 60


async def sidecar(request: NameRequest) -> ASGIApp | None:
    """Answer for the file beside which the asked name would lie; ``None`` where there is none, or no such sidecar."""
    last = request.name[-1] if request.name and not request.trailing_slash else b""
    for suffix, answer in ((b".sha256", _sha256), (b".meta4", _metalink)):
        if last.endswith(suffix) and last != suffix:
            name = (*request.name[:-1], last.removesuffix(suffix))
            try:
                opened = await request.site.root.open(name)
            except (NotFound, IsDirectory):
                return None
            try:
                return await answer(request, name, opened)
            finally:
                opened.close()
    return None


async def _sha256(request: NameRequest, name: Name, opened: OpenFile) -> ASGIApp:
    digests = await request.site.digests.checksums.find(opened.status)
    if digests is None:
        raise _not_known_yet(request, name, opened)
    text = Text(checksum_line(digests.sha256, name[-1]))
    return deliver_text(request, text, PLAIN, filename_of(request.name[-1]), opened.status.mtime_ns // NS_PER_S)


async def _metalink(request: NameRequest, name: Name, opened: OpenFile) -> ASGIApp:
    checksums, status = request.site.digests.checksums, opened.status
    digests, pieces = await checksums.find(status), await checksums.find_pieces(status)
    if digests is None or pieces is None:
        raise _not_known_yet(request, name, opened, pieces=True)
    text = metalink(
        filename_of(name[-1]), status.size, digests.sha256, pieces.length, pieces.sha256, _url(request, name)
    )
    return deliver_text(request, Text(text), METALINK, filename_of(request.name[-1]), status.mtime_ns // NS_PER_S)


def _not_known_yet(request: NameRequest, name: Name, opened: OpenFile, *, pieces: bool = False) -> Problem:
    """Return 503 for a digest that is not known, and have it computed unless the request is a HEAD."""
    if request.scope["method"] == "GET":
        request.site.digests.checksums.request(opened, pieces=pieces)
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The digest is being computed; ask again in a moment, or watch it at the link.",
        fields={"retry-after": str(_wait_s(opened.status))},
        links={"checksum": href(request.scope, "checksum", name)},
    )


def _wait_s(status: FileStatus) -> int:
    return min(1 + status.size // _HASHED_PER_S, _LONGEST_WAIT_S)


def _url(request: NameRequest, name: Name) -> str:
    """Return the absolute URL of *name*, which a Metalink needs. RFC 5854 §4.2.16."""
    return origin(request.scope) + href(request.scope, "download", name)
