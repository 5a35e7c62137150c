"""``PATCH /uploads/{id}``: the next bytes of an upload (tus 1.0.0, core protocol and checksum).

Everything is judged before a byte is read: right, lock, offset, length, room. Bytes that have arrived when a client
vanishes are kept, and are on the disk before anybody is told of them. With the last byte the file gets its name, and
the answer says where it is.

Policy: content beyond the announced length is refused as a whole, from the chunk on that exceeds it.
"""

from http import HTTPStatus

from starlette.responses import Response

from fileserve.semantics import tus
from fileserve.storage.changes.sessions import Session
from fileserve.storage.changes.uploads import ResumedFile
from fileserve.web.changes.handover import Held
from fileserve.web.changes.receiving import content_length, next_chunk, too_large
from fileserve.web.changes.sessions import ask, find, is_part, need_of, state_fields, store
from fileserve.web.problems import OtherStatus, Problem
from fileserve.web.routes import NameRequest

__all__ = ["CONTENT_TYPE", "append", "checked_length", "parsed_checksum", "patch"]

CONTENT_TYPE = "application/offset+octet-stream"


async def patch(request: NameRequest) -> Response:
    """Take the next bytes: 204, and where the upload stands now."""
    if request.fields.get("content-type") != CONTENT_TYPE:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The bytes of an upload come as {CONTENT_TYPE}.")
    offset = tus.number(request.fields.get("upload-offset", ""))
    if offset is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "Upload-Offset says where the bytes belong.")
    parsed_checksum(request)
    session = await find(request)
    if session.details.get("concat", "").startswith("final"):
        raise Problem(HTTPStatus.FORBIDDEN, "What was put together of parts is whole.")
    session = await _with_length(request, session)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=await append(request, session, offset))


async def append(request: NameRequest, session: Session, offset: int) -> dict[str, str]:
    """Append the content of *request* to an upload at *offset*, and return the fields that tell how it stands."""
    checksum, sent = parsed_checksum(request), content_length(request)
    if session.stored:
        if offset != session.length or sent:
            raise _conflict(session.length or 0)
        return state_fields(request, session, offset)
    uploads, need = request.site.uploads, need_of(request, session.length)
    if not is_part(session):
        await ask(request, session.name, dict(session.details))
    ended: dict[str, str] = {}
    resumed = request.site.handover.resumed(request.scope, session, need, is_checked=checksum is not None)
    async with resumed as (staged, held):
        if staged.offset != offset:
            raise _conflict(staged.offset)
        _check_fits(request, session, offset + (sent or 0))
        with request.site.places.take(request.client):
            await _receive(request, session, staged, held)
            await staged.finish()
            if checksum is not None and not await staged.verify(checksum.algorithm, checksum.digest):
                raise Problem(OtherStatus.CHECKSUM_MISMATCH, "The content is not what its checksum says; none is kept.")
            if offset + staged.size == session.length and not is_part(session):
                ended = await store(request, session, staged)
    now = state_fields(request, await uploads.find(session.id), staged.offset)
    return now | ended


def parsed_checksum(request: NameRequest) -> tus.Checksum | None:
    """Return the checksum that the content should have, where one was sent."""
    value = request.fields.get("upload-checksum")
    parsed = None if value is None else tus.checksum(value)
    if value is not None and parsed is None:
        raise Problem(HTTPStatus.BAD_REQUEST, f"Upload-Checksum has one of {', '.join(tus.CHECKSUMS)}, and its digest.")
    return parsed


def checked_length(request: NameRequest) -> int:
    """Return what Upload-Length says. Raises the ``Problem``: no length, or one that is not taken."""
    value, limit = request.fields.get("upload-length", ""), request.site.settings.upload_bytes
    length = tus.number(value)
    if length is None and not value.isdecimal():
        raise Problem(HTTPStatus.BAD_REQUEST, "Upload-Length is a number of bytes.")
    if length is None:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "No disk has room for that.")
    if limit and length > limit:
        raise too_large("file", limit)
    return length


async def _with_length(request: NameRequest, session: Session) -> Session:
    """Take the length that a client tells once it knows it (creation-defer-length)."""
    if "upload-length" not in request.fields:
        return session
    length, uploads = checked_length(request), request.site.uploads
    if session.length is None and await uploads.offset(session) <= length:
        resumed = request.site.handover.resumed(request.scope, session, need_of(request, length))
        async with resumed as (staged, _):
            await staged.check_room()
        await uploads.set_length(session, length)
        session = await uploads.find(session.id)
    if session.length != length:
        raise Problem(HTTPStatus.BAD_REQUEST, "The length of an upload, once it is known, is never another.")
    return session


async def _receive(request: NameRequest, session: Session, staged: ResumedFile, held: Held) -> None:
    more = True
    while more:
        held.wait()
        chunk, more = await next_chunk(request)
        held.hear()
        _check_fits(request, session, staged.offset + staged.size + len(chunk))
        await staged.write(chunk)


def _check_fits(request: NameRequest, session: Session, end: int) -> None:
    limit = session.length if session.length is not None else request.site.settings.upload_bytes
    if (session.length is not None or limit) and end > limit:
        raise too_large("file", limit)


def _conflict(offset: int) -> Problem:
    detail = f"The upload goes on at {offset}."
    return Problem(HTTPStatus.CONFLICT, detail, fields={"upload-offset": str(offset)})
