"""``GET`` and ``HEAD /archive/{dir}.tar`` and ``.zip``: a directory as one file, with a size, ranges and a strong tag.

What an archive is, byte for byte, follows from the names and the status of its members; so it is planned and sent as a
file is. ``/archive.tar`` and ``/archive.zip`` are those of the served root. ``?include=`` and ``?exclude=`` take glob
patterns and may be repeated; another selection is another archive, with another entity tag.
"""

from starlette.types import ASGIApp

from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag
from fileserve.storage.archives.archive import Archive, Format
from fileserve.storage.errors import NotFound
from fileserve.storage.names import Name
from fileserve.web.delivery import deliver
from fileserve.web.describe import NS_PER_MS, NS_PER_S, filename_of
from fileserve.web.digests.integrity import add_content_digest
from fileserve.web.presence import Attended, while_present
from fileserve.web.routes import Handler, NameRequest, site_path

ROOT_NAME = "files"  # what an archive of the served root is called: its real name is nobody's business
_MEDIA_TYPES = {Format.TAR: "application/x-tar", Format.ZIP: "application/zip"}


async def archive(request: NameRequest) -> ASGIApp:
    """Answer with the archive of the directory that is named before ``.tar`` or ``.zip``."""
    last = request.name[-1] if request.name and not request.trailing_slash else b""
    for form in Format:
        extension = f".{form.value}".encode()
        if last.endswith(extension) and last != extension:
            return await _answer(request, (*request.name[:-1], last.removesuffix(extension)), form)
    raise NotFound("an archive's address is /archive/{directory}.tar or .zip; that of all files is /archive.tar")


def archive_of_root(form: Format) -> Handler:
    """Return the handler for the archive of the served root."""

    async def answer(request: NameRequest) -> ASGIApp:
        if request.name or site_path(request.scope).endswith(b"/"):
            raise NotFound
        return await _answer(request, (), form)

    return answer


async def _answer(request: NameRequest, name: Name, form: Format) -> ASGIApp:
    patterns = request.parameters
    opening = request.site.digests.archives.open(
        name,
        form,
        include=tuple(value for key, value in patterns if key == "include"),
        exclude=tuple(value for key, value in patterns if key == "exclude"),
        client=request.client,
    )
    opened = await while_present(request.receive, opening)
    transfer = deliver(request, opened, _describe(request, opened, name, form), is_prompt=False, route="archive")
    if "want-content-digest" in request.fields:
        try:
            await while_present(request.receive, add_content_digest(request, transfer))  # it may hash whole members
        except BaseException:
            opened.close()
            raise
    return Attended(transfer)


def _describe(request: NameRequest, opened: Archive, name: Name, form: Format) -> Representation:
    """Return the representation that *opened* is.

    Policy: its date validates nothing: a file that is deleted can leave the newest date as it was. Its tag is weak, and
    has another text, while a member has only just changed, as a file's is.
    """
    is_settled = opened.ctime_ns < request.now_ns - request.site.settings.weak_etag_ms * NS_PER_MS
    directory = filename_of(name[-1]) if name else ROOT_NAME
    return Representation(
        length=opened.length,
        etag=EntityTag(opened.identity) if is_settled else EntityTag(opened.identity + "-new", weak=True),
        last_modified_s=opened.mtime_ns // NS_PER_S,
        media_type=_MEDIA_TYPES[form],
        filename=f"{directory}.{form.value}",
        date_validates=False,
    )
