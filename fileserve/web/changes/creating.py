"""``POST /uploads``: begins an upload that may take several requests.

tus 1.0.0: creation, creation-with-upload, creation-defer-length; the parts of concatenation.

The name is the metadata's ``filename``, one component as it is, in the directory ``dir`` of the metadata, whose
components have slashes between them; both are bytes, and go the way of every other name. ``filetype`` and whatever else
a client writes there is kept and told, and means nothing. ``?parents`` is that of PUT. A part, which gets no name,
needs no ``filename``; without a ``dir``, it is kept in the first folder that may be written to.

Left out: what puts the parts of an upload together (``concatenating``).
"""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus

from starlette.responses import Response

from fileserve.semantics import tus
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.sessions import TooManySessions
from fileserve.storage.errors import NotFound, StorageError
from fileserve.storage.names import Name
from fileserve.web.changes.appending import CONTENT_TYPE, append, check_claims, checked_length, is_of_upload
from fileserve.web.changes.preconditions import is_asked
from fileserve.web.changes.receiving import content_length, too_large
from fileserve.web.changes.sessions import PRECONDITIONS, ask, need_of, owner_of, state_fields
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = ["begin", "create", "created", "details_of", "name_of"]

_MOST_METADATA = 8 * 1024
# Policy: a row stays for a day. The metadata fit, or the URLs of 64 parts, or as many entity tags.
_MOST_KEPT = 10 * 1024
_PART = b"part"  # what a part is called, which never gets this name


async def create(request: NameRequest) -> Response:
    """Begin an upload: 201, and where its bytes are to go."""
    if request.name:
        raise NotFound("uploads begin at /uploads")
    brings_content = is_of_upload(request)
    if not brings_content and content_length(request) != 0:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The first bytes of an upload come as {CONTENT_TYPE}.")
    length = _length(request)
    check_claims(request)
    session = await begin(request, length)
    try:
        fields = await append(request, session, 0) if brings_content or length == 0 else None
    except BaseException:  # nobody knows of it yet
        with suppress(StorageError):  # what the table does not say now, the next sweep finds
            await request.site.stores.uploads.give_up(session)
        raise
    return created(request, session, fields or state_fields(request, session, 0))


async def begin(request: NameRequest, length: int | None, id: str | None = None) -> Session:
    """Begin the session of an upload of *length* bytes, under an *id* of the caller's or a new one.

    Raises the ``Problem`` that says why not, and what ``Uploads.begin`` raises.
    """
    details = details_of(request)
    name = name_of(request, details)
    if sum(map(len, details.values())) > _MOST_KEPT:
        detail = f"What is kept of metadata, preconditions and parts has {_MOST_KEPT} bytes at the most."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if details.get("concat") != "partial":
        await ask(request, name, details)
    settings = request.site.settings
    most = settings.upload_sessions
    limits = (most, settings.upload_sessions_per_client if request.client else most)
    need = need_of(request, length)
    try:
        return await request.site.stores.uploads.begin(name, need, details, request.client or "", limits, id)
    except TooManySessions as error:
        fields = {"retry-after": str(settings.retry_after)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, f"{str(error).capitalize()}.", fields=fields) from None


def created(request: NameRequest, session: Session, fields: dict[str, str]) -> Response:
    """Return 201 for *session*, with where it is."""
    location = f"{request.scope.get('root_path', '')}/uploads/{session.id}"
    return Response(status_code=HTTPStatus.CREATED, headers=fields | {"location": location})


def details_of(request: NameRequest) -> dict[str, str]:
    """Return what is kept of the request that begins an upload."""
    details = {field: request.fields[field] for field in PRECONDITIONS if field in request.fields}
    details["owner"] = owner_of(request)
    if "upload-metadata" in request.fields:
        details["metadata"] = request.fields["upload-metadata"]
    if "upload-concat" in request.fields:
        details["concat"] = request.fields["upload-concat"]
    if is_asked(request, "parents"):
        details["parents"] = "1"
    return details


def name_of(request: NameRequest, details: Mapping[str, str]) -> Name:
    """Return the name that an upload is to have; of a part, where it is kept."""
    is_part = details.get("concat") == "partial"
    value = request.fields.get("upload-metadata", "")
    if len(value) > _MOST_METADATA:
        raise too_large("field Upload-Metadata", _MOST_METADATA)
    told = tus.metadata(value)
    if told is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "Upload-Metadata has keys and values in base64, with commas between.")
    if not told.get("filename") and not is_part:
        raise Problem(HTTPStatus.BAD_REQUEST, "The filename in Upload-Metadata says what the file is to be called.")
    told_directory = told.get("dir", b"").removesuffix(b"/")
    directory = tuple(told_directory.split(b"/")) if told_directory else ()
    if is_part and not directory:
        directory = request.site.stores.changes.within[0]
    return (*directory, told.get("filename") or _PART)


def _length(request: NameRequest) -> int | None:
    deferred = request.fields.get("upload-defer-length")
    if deferred is None:
        return checked_length(request)
    if deferred != "1" or "upload-length" in request.fields:
        raise Problem(HTTPStatus.BAD_REQUEST, "Either Upload-Length is sent, or Upload-Defer-Length: 1.")
    return None
