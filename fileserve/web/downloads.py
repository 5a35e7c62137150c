"""``GET`` and ``HEAD /download/{path}``: the bytes of one file, whole or in ranges, with validators."""

import secrets
from http import HTTPStatus
from typing import Literal

from starlette.types import ASGIApp

from fileserve.semantics.plan import plan_download
from fileserve.storage.errors import IsDirectory, NotDirectory
from fileserve.storage.listing import Kind
from fileserve.storage.reader import OpenFile
from fileserve.web.describe import describe
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import href
from fileserve.web.transfer import Transfer


async def download(request: NameRequest) -> ASGIApp:
    """Answer with the file's bytes as the fields ask for them; for a directory, 404 with links to its page."""
    disposition = _disposition(request)
    opened = await _open(request)
    try:
        plan = plan_download(
            request.scope["method"],
            request.fields,
            describe(opened, request.name, request.site.settings, request.now_ns),
            boundary=secrets.token_hex(16) if "," in request.fields.get("range", "") else "",
            now_s=request.now_s,
            disposition=disposition,
            cache_control=request.site.settings.cache_control,
        )
    except BaseException:
        opened.close()
        raise
    return Transfer(plan, opened, request.site.settings.chunk_size)


async def _open(request: NameRequest) -> OpenFile:
    if request.trailing_slash:
        entry = await request.site.root.stat(request.name)
        raise _is_directory(request) if entry.kind is Kind.DIRECTORY else NotDirectory  # "file/" is not a file's URL
    try:
        return await request.site.root.open(request.name)
    except IsDirectory:
        raise _is_directory(request) from None


def _disposition(request: NameRequest) -> Literal["attachment", "inline"]:
    if not request.scope["query_string"]:
        return "attachment"
    match request.query.get("disposition", "attachment"):
        case "attachment":
            return "attachment"
        case "inline":
            return "inline"
        case _:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "disposition is either attachment or inline.")


def _is_directory(request: NameRequest) -> Problem:
    links = {
        "page": href(request.scope, "browse", request.name, directory=True),
        "listing": href(request.scope, "api/files", request.name),
    }
    return Problem(HTTPStatus.NOT_FOUND, "This is a directory, not a file.", links=links)
