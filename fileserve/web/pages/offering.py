"""What a directory's page offers to whoever may upload, and ``GET /sign-in``, which makes a browser ask who that is.

The form works without JavaScript; the modules in ``ui/uploads`` put the same place to better use, and learn from it
where everything is. Nothing is offered that would be refused: whoever is not known yet, and could be, is offered to
sign in first, because a form of gigabytes is no way to find out.

Browsers send a name and password without being asked to the paths beside the one that asked for them, and below
(RFC 7617 §2.2). So one address at the top of the site asks, and all others have them from then on, the page too.

Left out: signing out, which HTTP Basic does not have.
"""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.storage.names import Name, display_name, parse_name, quote_name
from fileserve.web.access import Action, may
from fileserve.web.routes import NameRequest
from fileserve.web.site import href


@dataclass(frozen=True, slots=True)
class Offer:
    """What the form and the modules of a page are told.

    *folder* is the directory as tus's metadata name it; ``None`` where it has no name in text, and only the form is
    left.
    """

    form: str
    folder: str | None
    uploads: str
    files: str
    existing: str
    replace: bool
    hidden: bool


async def offer(request: NameRequest) -> Offer | None:
    """Return what the page offers for its directory; ``None`` where this client may not upload."""
    if not request.site.stores.changes.allows(request.name) or not await may(request.scope, Action.UPLOAD):
        return None
    scope, settings = request.scope, request.site.settings
    return Offer(
        form=href(scope, "upload", request.name, directory=True),
        folder=_as_text(request.name),
        uploads=f"{scope.get('root_path', '')}/uploads",
        files=href(scope, "api/files", ()),
        existing=settings.existing,
        replace=settings.replace,
        hidden=settings.hidden,
    )


def sign_in_href(request: NameRequest) -> str | None:
    """Return the address that asks who it is and leads back to the directory; ``None`` where nobody would be taken."""
    site = request.site
    if not (site.settings.upload and site.credentials.has_passwords and site.stores.changes.allows(request.name)):
        return None
    return f"{request.scope.get('root_path', '')}/sign-in?{quote_name(request.name)}"


def places(request: NameRequest) -> list[tuple[str, str]]:
    """Return the folders that take uploads, with the addresses of their pages, where this directory takes none."""
    settings, changes = request.site.settings, request.site.stores.changes
    if not settings.upload or changes.allows(request.name):
        return []
    shown = [name for name in changes.within if settings.hidden or not any(c[:1] == b"." for c in name)]
    return [("/".join(map(display_name, name)), href(request.scope, "browse", name, directory=True)) for name in shown]


async def sign_in(request: NameRequest) -> ASGIApp:
    """Lead whoever is known now to the page of the directory that the query names: 303."""
    name, _ = parse_name(request.scope["query_string"])
    page = href(request.scope, "browse", name, directory=True)
    fields = {"location": page, "cache-control": "no-store"}
    return Response(status_code=HTTPStatus.SEE_OTHER, headers=fields)


def _as_text(name: Name) -> str | None:
    try:
        return b"/".join(name).decode()
    except UnicodeDecodeError:
        return None
