"""``POST /uploads``: begins an upload that may take several requests, or puts together the parts of one.

tus 1.0.0: creation, creation-with-upload, creation-defer-length, concatenation.

The name is the metadata's ``filename``, one component as it is, in the directory ``dir`` of the metadata, whose
components have slashes between them; both are bytes, and go the way of every other name. ``filetype`` and whatever else
a client writes there is kept and told, and means nothing. ``?parents`` is that of PUT. A part, which gets no name,
needs no ``filename``; without a ``dir``, it is kept in the first folder that may be written to.

Policy: parts are deleted once they were put together. They could be used again, but they would take the room twice.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.responses import Response

from fileserve.semantics import tus
from fileserve.storage.changes.sessions import Session, TooManySessions
from fileserve.storage.errors import NotFound
from fileserve.storage.names import Name, parse_name
from fileserve.web.changes.appending import CONTENT_TYPE, append, check_claims, checked_length, is_of_upload
from fileserve.web.changes.preconditions import is_asked
from fileserve.web.changes.receiving import content_length, too_large
from fileserve.web.changes.sessions import PRECONDITIONS, ask, find_own, is_part, need_of, owner_of, state_fields, store
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = ["create"]

_MOST_METADATA = 8 * 1024
_MOST_PARTS = 64  # each holds descriptors while they are put together
_PART = b"part"  # what a part is called, which never gets this name


async def create(request: NameRequest) -> Response:
    """Begin an upload: 201, and where its bytes are to go."""
    if request.name:
        raise NotFound("uploads begin at /uploads")
    urls = _parts_of(request)
    if urls is not None:
        return await _concatenate(request, urls)
    brings_content = is_of_upload(request)
    if not brings_content and content_length(request) != 0:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The first bytes of an upload come as {CONTENT_TYPE}.")
    length = _length(request)
    check_claims(request)
    session = await _begin(request, length)
    try:
        fields = await append(request, session, 0) if brings_content or length == 0 else None
    except BaseException:  # nobody knows of it yet
        await request.site.uploads.end(session)
        raise
    return _created(request, session, fields or state_fields(request, session, 0))


async def _begin(request: NameRequest, length: int | None) -> Session:
    details = _details(request)
    name = _name(request, is_part=details.get("concat") == "partial")
    if "concat" not in details or details["concat"] != "partial":
        await ask(request, name, details)
    settings = request.site.settings
    most = settings.upload_sessions
    limits = (most, settings.upload_sessions_per_client if request.client else most)
    try:
        return await request.site.uploads.begin(name, need_of(request, length), details, request.client or "", limits)
    except TooManySessions as error:
        fields = {"retry-after": str(settings.retry_after)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, f"{str(error).capitalize()}.", fields=fields) from None


async def _concatenate(request: NameRequest, urls: tuple[str, ...]) -> Response:
    """Put parts together in their order, and give the whole its name."""
    parts = [await find_own(request, _id_of(url)) for url in urls]
    for part in parts:
        if not is_part(part) or part.length is None or await request.site.uploads.offset(part) != part.length:
            raise Problem(HTTPStatus.CONFLICT, "What is put together are parts that are whole.")
    length, limit = sum(part.length or 0 for part in parts), request.site.settings.upload_bytes
    if limit and length > limit:
        raise too_large("file", limit)
    uploads, need = request.site.uploads, need_of(request, length)
    with request.site.places.take(request.client):
        session = await _begin(request, length)
        try:
            await uploads.concatenate(session, parts, need)
            async with uploads.resume(session, need) as staged:
                fields = await store(request, session, staged)
        except BaseException:
            await uploads.end(session)
            raise
    for part in parts:
        await uploads.end(part)
    return _created(request, session, fields | {"upload-offset": str(length)})


def _created(request: NameRequest, session: Session, fields: dict[str, str]) -> Response:
    location = f"{request.scope.get('root_path', '')}/uploads/{session.id}"
    return Response(status_code=HTTPStatus.CREATED, headers=fields | {"location": location})


def _details(request: NameRequest) -> dict[str, str]:
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


def _name(request: NameRequest, *, is_part: bool) -> Name:
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
        directory = request.site.changes.within[0]
    return (*directory, told.get("filename") or _PART)


def _length(request: NameRequest) -> int | None:
    deferred = request.fields.get("upload-defer-length")
    if deferred is None:
        return checked_length(request)
    if deferred != "1" or "upload-length" in request.fields:
        raise Problem(HTTPStatus.BAD_REQUEST, "Either Upload-Length is sent, or Upload-Defer-Length: 1.")
    return None


def _parts_of(request: NameRequest) -> tuple[str, ...] | None:
    """Return the URLs of the parts that are to be put together; ``None`` for any other upload."""
    value = request.fields.get("upload-concat")
    if value is None or value == "partial":
        return None
    urls = tus.final_parts(value)
    if urls is None or len(urls) > _MOST_PARTS or "upload-length" in request.fields or content_length(request) != 0:
        reason = (
            f"Upload-Concat is partial, or final and the URLs of {_MOST_PARTS} parts at the most, without a length."
        )
        raise Problem(HTTPStatus.BAD_REQUEST, reason)
    return urls


def _id_of(url: str) -> str:
    path, _, id = urlsplit(url).path.rpartition("/")
    if not path.endswith("/uploads"):
        raise Problem(HTTPStatus.BAD_REQUEST, "A part has an URL under /uploads/ here.")
    name, _ = parse_name(id.encode("latin-1"))
    return name[0].decode("latin-1") if name else ""
