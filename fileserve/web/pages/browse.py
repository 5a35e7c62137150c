"""``GET /`` and ``/browse/{path}/``: the page for people. Works without JavaScript.

What it offers to whoever may upload is told by ``offering``. Its policy allows scripts and requests there alone.
"""

from dataclasses import dataclass
from http import HTTPStatus

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp

import fileserve
from fileserve.storage.archives.archive import Format
from fileserve.storage.errors import NotDirectory, NotFound
from fileserve.storage.listing import Entry, Kind, Listing, SortKey
from fileserve.storage.names import display_name
from fileserve.web.describe import media_type, modified, readable_size
from fileserve.web.files import PageQuery, list_page, next_page, page_url
from fileserve.web.pages.assets import modules
from fileserve.web.pages.offering import Offer, offer, places, sign_in_href
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import archive_href, href

_READING = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
#: For a page that runs modules of its own.
ACTIVE = _READING + "script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
FIELDS = {
    "cache-control": "no-cache",
    "content-security-policy": _READING + "form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

templates = Environment(
    loader=PackageLoader("fileserve.web", "ui"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_VIEWABLE = ("text/", "image/", "audio/", "video/")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page."""

    name: str
    href: str
    is_directory: bool
    size: str
    size_exactly: str
    modified: str
    view: str | None
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Heading:
    """One column's head: a link that sorts by it, or turns the order round."""

    title: str
    href: str
    order: str | None


async def home(request: NameRequest) -> ASGIApp:
    """Answer with the page of the root."""
    if request.name:
        raise NotFound
    return await browse(request)


async def browse(request: NameRequest) -> ASGIApp:
    """Answer with a directory's page; without the trailing slash, redirect to it; for a file, link to it."""
    try:
        query, listing = await list_page(request)
    except NotDirectory:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "This is a file, not a directory.",
            links={"download": href(request.scope, "download", request.name)},
        ) from None
    if request.name and not request.trailing_slash:
        return RedirectResponse(page_url(request, "browse", query, query.offset), HTTPStatus.TEMPORARY_REDIRECT)
    offered = await offer(request)
    fields = FIELDS if offered is None else FIELDS | {"content-security-policy": ACTIVE}
    return HTMLResponse(_render(request, query, listing, offered), headers=fields)


def _render(request: NameRequest, query: PageQuery, listing: Listing, offered: Offer | None) -> str:
    limit = query.limit
    return templates.get_template("listing.html").render(
        version=fileserve.__version__,
        ui=f"{request.scope.get('root_path', '')}/ui",
        api=page_url(request, "api/files", query, query.offset),
        title=display_name(request.name[-1]) if request.name else "Files",
        crumbs=_crumbs(request),
        parent=href(request.scope, "browse", request.name[:-1], directory=True) if request.name else None,
        archives=[(form.value, archive_href(request.scope, request.name, form.value)) for form in Format],
        headings=[_heading(request, query, key, title) for key, title in _COLUMNS.items()],
        rows=[_row(request, entry) for entry in listing.entries],
        listing=listing,
        offer=offered,
        sign_in=sign_in_href(request) if offered is None else None,
        places=places(request),
        modules=modules("uploads/"),
        previous=page_url(request, "browse", query, max(0, listing.offset - limit)) if listing.offset else None,
        next=next_page(request, "browse", query, listing),
    )


_COLUMNS = {SortKey.NAME: "Name", SortKey.SIZE: "Size", SortKey.MODIFIED: "Modified (UTC)"}


def _crumbs(request: NameRequest) -> list[tuple[str, str]]:
    depths = range(len(request.name) + 1)
    names = ["Files", *(display_name(component) for component in request.name)]
    return [(names[depth], href(request.scope, "browse", request.name[:depth], directory=True)) for depth in depths]


def _heading(request: NameRequest, query: PageQuery, key: SortKey, title: str) -> Heading:
    is_current = query.sort is key
    order = "desc" if is_current and query.order == "asc" else "asc"
    sorted_by_it = query.model_copy(update={"sort": key, "order": order})
    return Heading(title, page_url(request, "browse", sorted_by_it, 0), query.order if is_current else None)


def _row(request: NameRequest, entry: Entry) -> Row:
    name, is_directory = (*request.name, entry.name), entry.kind is Kind.DIRECTORY
    target = href(request.scope, "browse" if is_directory else "download", name, directory=is_directory)
    viewable = not is_directory and media_type(entry.name).startswith(_VIEWABLE)
    return Row(
        name=display_name(entry.name),
        href=target,
        is_directory=is_directory,
        size="" if is_directory else readable_size(entry.size),
        size_exactly="" if is_directory else f"{entry.size:,} bytes",
        modified=f"{modified(entry.mtime_ns):%Y-%m-%d %H:%M}",
        view=f"{target}?disposition=inline" if viewable else None,
        checksum=None if is_directory else href(request.scope, "checksum", name),
    )
