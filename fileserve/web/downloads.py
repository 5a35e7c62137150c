"""``GET`` and ``HEAD /download/{path}``: the bytes of one file, whole or in ranges, with validators and digests."""

from http import HTTPStatus

from starlette.types import ASGIApp

from fileserve.storage.errors import IsDirectory, NameTooLong, NotDirectory, NotFound
from fileserve.storage.listing import Kind
from fileserve.storage.reader import OpenFile
from fileserve.web.delivery import deliver, disposition_of
from fileserve.web.describe import describe
from fileserve.web.digests.integrity import add_content_digest, integrity_fields
from fileserve.web.digests.sidecars import sidecar
from fileserve.web.offload import offloaded
from fileserve.web.plain import plain_download
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import archive_href, href


async def download(request: NameRequest) -> ASGIApp:
    """Answer with the file's bytes as the fields ask for them; for a directory, 404 with links to its page."""
    disposition = disposition_of(request)
    try:
        opened = await (_open_as_directory(request) if request.trailing_slash else request.site.root.open(request.name))
    except IsDirectory:
        raise _is_directory(request) from None
    except (NotFound, NameTooLong):
        beside = await sidecar(request)
        if beside is None:
            raise
        return beside
    try:
        plain = plain_download(request, opened)
        if plain is not None:
            return offloaded(request, opened, plain)
        also = await integrity_fields(request, opened)
        representation = describe(opened, request.name, request.site.settings, request.now_ns)
    except BaseException:
        opened.close()
        raise
    transfer = deliver(request, opened, representation, disposition=disposition, also=also)
    if "want-content-digest" in request.fields:
        await add_content_digest(request, transfer)
    return offloaded(request, opened, transfer)


async def _open_as_directory(request: NameRequest) -> OpenFile:
    """Raise what is to be said of a name that is written as a directory's: ``file/`` is not a file's URL."""
    entry = await request.site.root.stat(request.name)
    raise IsDirectory if entry.kind is Kind.DIRECTORY else NotDirectory


def _is_directory(request: NameRequest) -> Problem:
    links = {
        "page": href(request.scope, "browse", request.name, directory=True),
        "listing": href(request.scope, "api/files", request.name),
        "archive": archive_href(request.scope, request.name, "tar"),
    }
    return Problem(HTTPStatus.NOT_FOUND, "This is a directory, not a file.", links=links)
