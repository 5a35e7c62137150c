"""``DELETE``, ``MKCOL`` and ``MOVE /api/files/{path}``: what else is changed, in WebDAV's words.

RFC 4918 §9.3, §9.6 and §9.9. Each is judged by its preconditions while its directory is locked, and is on the disk
when it is answered. A directory is deleted only when it is empty.

Left out: the rest of WebDAV; COPY, because the bytes would have to be written again.
"""

from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.storage.changes.draft import Judge
from fileserve.storage.errors import AlreadyExists, IsDirectory
from fileserve.storage.names import Name, parse_new_name
from fileserve.storage.reader import OpenFile
from fileserve.web.access import Action, authorize
from fileserve.web.changes.noting import as_text, note
from fileserve.web.changes.preconditions import check_of_directory, check_preconditions, is_asked, precondition_failed
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest, site_path
from fileserve.web.site import href

_FILES = b"/api/files/"


async def delete(request: NameRequest) -> ASGIApp:
    """Delete the file, the link or the empty directory: 204."""
    await request.site.stores.changes.delete(request.name, _judge_of(request))
    note(request, request.name, "deleted")
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def make_directory(request: NameRequest) -> ASGIApp:
    """Make the directory, with ``?parents`` those on the way, too: 201. RFC 4918 §9.3."""
    if request.fields.get("content-length", "0") != "0" or "transfer-encoding" in request.fields:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A directory is made without content.")
    await request.site.stores.changes.make_directory(request.name, parents=is_asked(request, "parents"))
    note(request, request.name, "made, a directory")
    location = href(request.scope, "api/files", request.name)
    return Response(status_code=HTTPStatus.CREATED, headers={"location": location})


async def move(request: NameRequest) -> ASGIApp:
    """Move the file or directory to where Destination says: 201, or 204 where it takes the place of a file.

    Overwrite: F forbids that (RFC 4918 §10.6).
    """
    new, overwrites = _destination(request), request.fields.get("overwrite", "T").upper() != "F"
    if overwrites:
        await _ask_to_replace(request, new)
    may_replace = overwrites and request.site.settings.replace
    try:
        replaced = await request.site.stores.changes.move(
            request.name, new, _judge_of(request), replace=may_replace, following=request.site.stores.uploads.following
        )
    except AlreadyExists:
        if not overwrites:
            raise precondition_failed(None) from None
        raise
    except IsDirectory:
        raise Problem(HTTPStatus.CONFLICT, "The destination is a directory.") from None
    note(request, request.name, f"moved to {as_text(new)}{', which is replaced' if replaced else ''}")
    if replaced:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return Response(status_code=HTTPStatus.CREATED, headers={"location": href(request.scope, "api/files", new)})


def _judge_of(request: NameRequest) -> Judge:
    """Return what judges the file that is deleted or moved; of a directory, ``None``, it is told that there is one."""

    def judge(current: OpenFile | None) -> None:
        if current is None:
            check_of_directory(request)
        else:
            check_preconditions(request, current)

    return judge


async def _ask_to_replace(request: NameRequest, new: Name) -> None:
    try:
        current = await request.site.stores.changes.look(new)
    except IsDirectory:
        return  # refused when it comes to that, unless it is gone by then
    if current is not None:
        current.close()
        await authorize(request.scope, Action.REPLACE)


def _destination(request: NameRequest) -> Name:
    """Return the name that Destination tells, as a path or a whole URL of this server. RFC 4918 §10.3.

    Policy: scheme and host of a URL are not compared with ours, which a proxy may write in another way; they must be
    the ones of Host.
    """
    value = request.fields.get("destination", "")
    if not value.startswith("/"):
        authority, _, path = value.partition("://")[2].partition("/")
        if not value.lower().startswith(("http://", "https://")) or authority != request.fields.get("host"):
            raise Problem(HTTPStatus.BAD_REQUEST, "Destination is the path of a name under /api/files/ here.")
        value = f"/{path}"
    if not {"?", "#"}.isdisjoint(value):
        raise Problem(HTTPStatus.BAD_REQUEST, "Destination has no query; in a name, ? is %3F and # is %23.")
    raw_path = site_path({**request.scope, "raw_path": value.encode("latin-1")})
    if not raw_path.startswith(_FILES):
        raise Problem(HTTPStatus.BAD_REQUEST, "Destination is the path of a name under /api/files/ here.")
    name, _ = parse_new_name(raw_path.removeprefix(_FILES))
    return name
