"""``PATCH /uploads/{id}``: the next bytes of an upload (tus 1.0.0, core protocol and checksum).

Everything is judged before a byte is read: right, lock, offset, length, room. Bytes that have arrived when a client
vanishes are kept, and are on the disk before anybody is told of them. With the last byte the file gets its name, and
the answer says where it is.

Policy: content beyond the announced length is refused as a whole, from the chunk on that exceeds it.
"""

from http import HTTPStatus

from starlette.responses import Response

from fileserve.semantics import tus
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.uploads import ResumedFile
from fileserve.web.changes.claims import digests_of, mismatch, refuse_coding, refuse_digests
from fileserve.web.changes.handover import Held
from fileserve.web.changes.receiving import content_length, next_chunk, too_large
from fileserve.web.changes.sessions import ask_where_it_is, find, is_part, need_of, state_fields, store
from fileserve.web.problems import OtherStatus, Problem
from fileserve.web.routes import NameRequest

__all__ = ["CHECKED", "CONTENT_TYPE", "append", "check_claims", "checked_length", "is_of_upload", "patch"]

CHECKED = ("upload-checksum", "content-digest")
CONTENT_TYPE = "application/offset+octet-stream"


async def patch(request: NameRequest) -> Response:
    """Take the next bytes: 204, and where the upload stands now."""
    if not is_of_upload(request):
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The bytes of an upload come as {CONTENT_TYPE}.")
    offset = tus.number(request.fields.get("upload-offset", ""))
    if offset is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "Upload-Offset says where the bytes belong.")
    check_claims(request)
    if "upload-length" in request.fields:
        checked_length(request)
    session = await find(request)
    if session.details.get("concat", "").startswith("final"):
        raise Problem(HTTPStatus.FORBIDDEN, "What was put together of parts is whole.")
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=await append(request, session, offset))


async def append(request: NameRequest, session: Session, offset: int) -> dict[str, str]:
    """Append the content of *request* to an upload at *offset*, and return the fields that tell how it stands."""
    sent, is_checked = content_length(request), check_claims(request)
    if session.stored:
        _refuse_other_length(request, session)
        if offset != session.length or sent:
            raise _conflict(session.length or 0)
        return state_fields(request, session, offset)
    if not is_part(session):
        await ask_where_it_is(request, session)
    ended: dict[str, str] = {}
    need = need_of(request, session.length)
    handover = request.site.taking.handover
    async with handover.resumed(request.scope, session, need, is_checked=is_checked) as (staged, held):
        if staged.offset != offset:
            raise _conflict(staged.offset)
        session = await _with_length(request, staged)
        _check_fits(request, session, offset + (sent or 0))
        with request.site.taking.places.take(request.client):
            if sent != 0:
                await staged.reserve_for(sent)
            await _receive(request, session, staged, held)
            await staged.finish()
            await _verify(request, staged)
            if offset + staged.size == session.length and not is_part(session):
                ended = await store(request, staged)
    now = state_fields(request, await request.site.stores.uploads.find(session.id), staged.offset)
    return now | ended


def is_of_upload(request: NameRequest) -> bool:
    """Return whether the content is of the type that bytes of an upload have. RFC 9110 §8.3.1: in any case."""
    return request.fields.get("content-type", "").lower() == CONTENT_TYPE


def check_claims(request: NameRequest) -> bool:
    """Return whether the content is to be compared with a checksum or digest. Raises the ``Problem`` of what is not."""
    refuse_coding(request)
    refuse_digests(request, "Upload-Checksum or Content-Digest tells of the content of a request.", *CHECKED)
    return parsed_checksum(request) is not None or bool(digests_of(request, "content-digest"))


async def _verify(request: NameRequest, staged: ResumedFile) -> None:
    """Compare what this request brought with what it says of that; what differs is not kept."""
    checksum = parsed_checksum(request)
    if checksum is not None and not await staged.verify(checksum.algorithm, checksum.digest):
        raise Problem(OtherStatus.CHECKSUM_MISMATCH, "The content is not what its checksum says; none is kept.")
    for algorithm, digest in digests_of(request, "content-digest").items():
        if not await staged.verify(algorithm.hashlib_name, digest):
            raise mismatch("none is kept")


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


async def _with_length(request: NameRequest, staged: ResumedFile) -> Session:
    """Take the length that a client tells once it knows it (creation-defer-length); return the session as it is now.

    The session is that of the moment in which its file was locked: others may have told its length, too.
    """
    if "upload-length" in request.fields and staged.session.length is None:
        length = checked_length(request)
        if staged.offset <= length:
            await request.site.stores.uploads.set_length(staged, length)
    _refuse_other_length(request, staged.session)
    return staged.session


def _refuse_other_length(request: NameRequest, session: Session) -> None:
    if "upload-length" in request.fields and session.length != checked_length(request):
        raise Problem(HTTPStatus.BAD_REQUEST, "The length of an upload, once it is known, is never another.")


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
