"""``GET /api/files/{path}``: a directory's listing in pages, or what is known of one file, as JSON."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.storage.errors import NotDirectory
from fileserve.storage.listing import Entry, Kind, Listing, SortKey
from fileserve.storage.names import display_name
from fileserve.web.describe import describe, media_type, modified
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

PAGE_SIZE = 1000  # names on one page of a listing


class FileInfo(BaseModel):
    """One file or directory: ``size`` in bytes and absent for a directory, ``modified`` in UTC."""

    name: str
    kind: Kind
    size: int | None = None
    modified: datetime
    href: str
    media_type: str | None = None
    etag: str | None = None


class DirectoryInfo(BaseModel):
    """One page of a directory. ``total`` counts all its entries; ``next`` is the URL of the following page."""

    path: str
    kind: Literal[Kind.DIRECTORY] = Kind.DIRECTORY
    total: int
    offset: int
    entries: list[FileInfo]
    next: str | None = None


class PageQuery(BaseModel):
    """Which page of a directory, in which order. Shared by the JSON listing and the page for people."""

    model_config = ConfigDict(frozen=True)

    sort: SortKey = SortKey.NAME
    order: Literal["asc", "desc"] = "asc"
    offset: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=PAGE_SIZE)] = PAGE_SIZE


async def files(request: NameRequest) -> ASGIApp:
    """Answer with a page of the directory's listing, or with what is known of the file."""
    try:
        query, listing = await list_page(request)
    except NotDirectory:
        return _json(await _file_info(request))
    return _json(_directory_info(request, query, listing))


async def list_page(request: NameRequest) -> tuple[PageQuery, Listing]:
    """Return the page of the named directory that the query asks for.

    Raises:
        Problem: 422, the query's parameters cannot be used.
        StorageError: the name is not a directory that may be listed.
    """
    try:
        query = PageQuery.model_validate(request.query)
    except ValidationError as error:
        reasons = "; ".join(f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors() if detail["loc"])
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, reasons) from None
    listing = await request.site.root.list(
        request.name, sort=query.sort, descending=query.order == "desc", offset=query.offset, limit=query.limit
    )
    return query, listing


def page_url(request: NameRequest, route: str, query: PageQuery, offset: int) -> str:
    """Return the URL under *route* of the same directory's page that begins at *offset*, in the order of *query*."""
    parameters = query.model_copy(update={"offset": offset}).model_dump(mode="json", exclude_defaults=True)
    return href(request.scope, route, request.name, directory=route == "browse") + (
        "?" + urlencode(parameters) if parameters else ""
    )


def next_page(request: NameRequest, route: str, query: PageQuery, listing: Listing) -> str | None:
    """Return the URL of the page after *listing*, ``None`` on the last one."""
    following = listing.offset + query.limit
    return page_url(request, route, query, following) if following < listing.total else None


def _directory_info(request: NameRequest, query: PageQuery, listing: Listing) -> DirectoryInfo:
    return DirectoryInfo(
        path="/".join(display_name(component) for component in request.name),
        total=listing.total,
        offset=listing.offset,
        entries=[_entry_info(request, entry) for entry in listing.entries],
        next=next_page(request, "api/files", query, listing),
    )


def _entry_info(request: NameRequest, entry: Entry) -> FileInfo:
    name, is_file = (*request.name, entry.name), entry.kind is Kind.FILE
    return FileInfo(
        name=display_name(entry.name),
        kind=entry.kind,
        size=entry.size if is_file else None,
        modified=modified(entry.mtime_ns),
        href=href(request.scope, "download", name) if is_file else href(request.scope, "api/files", name),
        media_type=media_type(entry.name) if is_file else None,
    )


async def _file_info(request: NameRequest) -> FileInfo:
    opened = await request.site.root.open(request.name)
    try:
        representation = describe(opened, request.name, request.site.settings, request.now_ns)
        return FileInfo(
            name=display_name(request.name[-1]),
            kind=Kind.FILE,
            size=representation.length,
            modified=modified(opened.status.mtime_ns),
            href=href(request.scope, "download", request.name),
            media_type=representation.media_type,
            etag=str(representation.etag),
        )
    finally:
        opened.close()


def _json(info: FileInfo | DirectoryInfo) -> Response:
    fields = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
    return Response(info.model_dump_json(exclude_none=True), media_type="application/json", headers=fields)
