"""``POST /uploads`` with ``Upload-Concat: final``: puts the parts of an upload together (tus 1.0.0, concatenation).

Where the file system can share bytes between files, that takes a moment; elsewhere all of them are copied, for minutes
where there are many, and a proxy or a client may not wait so long. So the work goes on when its client has left, and
whoever sends the same request again joins it, or is told what has become of it: the whole has an id that follows from
what it is made of. One is put together at a time by a worker, because each part holds descriptors meanwhile.

Policy: the answer comes when the file has its name, not before: what is answered is done. Parts are deleted then. They
could be used again, but they would take the room twice.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.responses import Response

from fileserve.semantics import tus
from fileserve.storage.changes.session import Session
from fileserve.storage.errors import Locked, NotFound, StorageError
from fileserve.storage.names import parse_name
from fileserve.web.changes.claims import refuse_digests
from fileserve.web.changes.creating import begin, create, created, details_of, name_of
from fileserve.web.changes.receiving import content_length, too_large
from fileserve.web.changes.sessions import find_own, is_part, need_of, state_fields, store
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = ["post"]

MOST_PARTS = 64  # each holds two descriptors while they are put together


async def post(request: NameRequest) -> Response:
    """Begin an upload, or put together the parts of one: 201."""
    urls = _parts_of(request)
    return await create(request) if urls is None or request.name else await _concatenate(request, urls)


async def _concatenate(request: NameRequest, urls: tuple[str, ...]) -> Response:
    """Put parts together in their order, and give the whole its name."""
    refuse_digests(request, "The digest of what is put together is not checked.")
    ids = [_id_of(url) for url in urls]
    if len(set(ids)) < len(ids):
        raise Problem(HTTPStatus.BAD_REQUEST, "A part is put in once: it is deleted then.")
    id = _id_of_whole(request, ids)
    whole, fields = await _find(request, id), {}
    if whole is None or not whole.stored:
        try:
            fields = await request.site.taking.concatenations.join(id, lambda: _store(request, id, ids))
        except NotFound:  # of a part that another worker has put in meanwhile, perhaps
            whole = await _find(request, id)
            if whole is None or not whole.stored:
                raise
        whole = await find_own(request, id)
    return created(request, whole, state_fields(request, whole, whole.length or 0) | fields)


async def _store(request: NameRequest, id: str, ids: Sequence[str]) -> dict[str, str]:
    """Put the parts together under *id*, and return the fields that tell of it.

    What a process has left of that which has ended is begun anew, unless it has its name. Raises ``Locked`` where
    another worker is at it.
    """
    parts = [await find_own(request, part) for part in ids]
    uploads, length = request.site.stores.uploads, await _length_of(request, parts)
    with request.site.taking.places.take(request.client):
        left, fields = await _find(request, id), {}
        if left is None or not await uploads.give_up(left):
            fields = await _store_anew(request, await begin(request, length, id), parts)
    for part in parts:
        await uploads.end(part)
    return fields


async def _store_anew(request: NameRequest, whole: Session, parts: Sequence[Session]) -> dict[str, str]:
    uploads = request.site.stores.uploads
    try:
        async with uploads.concatenated(whole, parts, need_of(request, whole.length)) as staged:
            return await store(request, staged)
    except BaseException as error:
        is_taken = isinstance(error, NotFound) and not await _is_there(request, whole)
        with suppress(StorageError):  # where another worker is at it by now, it is theirs
            await uploads.give_up(whole)
        if is_taken:
            raise Locked from error
        raise


async def _is_there(request: NameRequest, whole: Session) -> bool:
    """Return whether a whole was not taken by another worker, before it was locked, for what a crash has left."""
    found = await _find(request, whole.id)
    return found is not None and found.staged.name[-1] == whole.staged.name[-1]


async def _length_of(request: NameRequest, parts: Sequence[Session]) -> int:
    for part in parts:
        if not is_part(part) or part.length is None or await request.site.stores.uploads.offset(part) != part.length:
            raise Problem(HTTPStatus.CONFLICT, "What is put together are parts that are whole.")
    length, limit = sum(part.length or 0 for part in parts), request.site.settings.upload_bytes
    if limit and length > limit:
        raise too_large("file", limit)
    return length


async def _find(request: NameRequest, id: str) -> Session | None:
    try:
        return await find_own(request, id)
    except NotFound:
        return None


def _id_of_whole(request: NameRequest, ids: Sequence[str]) -> str:
    """Return the id of what is made of these parts by this request. Who does not know theirs cannot guess it."""
    details = details_of(request)
    told = {**details, "concat": list(ids), "name": [component.hex() for component in name_of(request, details)]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def _parts_of(request: NameRequest) -> tuple[str, ...] | None:
    """Return the URLs of the parts that are to be put together; ``None`` for any other upload."""
    value = request.fields.get("upload-concat")
    if value is None or value == "partial":
        return None
    urls = tus.final_parts(value)
    if urls is None or len(urls) > MOST_PARTS or "upload-length" in request.fields or content_length(request) != 0:
        reason = f"Upload-Concat is partial, or final and the URLs of {MOST_PARTS} parts at the most, without a length."
        raise Problem(HTTPStatus.BAD_REQUEST, reason)
    return urls


def _id_of(url: str) -> str:
    try:
        path, _, id = urlsplit(url).path.rpartition("/")
    except ValueError:  # half of an IPv6 address
        path = id = ""
    if not path.endswith("/uploads"):
        raise Problem(HTTPStatus.BAD_REQUEST, "A part has an URL under /uploads/ here.")
    name, _ = parse_name(id.encode("latin-1"))
    return name[0].decode("latin-1") if name else ""
