"""Uploads of several requests, as all of these requests see them: whose a session is, what is told of it, its end.

A session belongs to whoever began it: to an account, or to those who show the token; where nobody can be known, to
whoever has its unguessable URL. To others it does not exist.

What stood in the request that began it, preconditions included, is kept with it, and holds when its file gets its name
as it does for PUT: before content is read, and once more under the lock.
"""

from contextlib import suppress

from fileserve.semantics.validators import format_http_date
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.uploads import ResumedFile
from fileserve.storage.errors import Locked, NoDirectory, NotFound, StorageError
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.web.changes.noting import note
from fileserve.web.changes.preconditions import check_before, check_preconditions, refusing_taken
from fileserve.web.changes.receiving import settle
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

__all__ = ["PRECONDITIONS", "ask", "ask_where_it_is", "find", "is_part", "need_of", "owner_of", "state_fields", "store"]

_ASKED_AGAIN = 2  # somebody may move it to and fro
PRECONDITIONS = ("if-match", "if-none-match", "if-unmodified-since")


async def find(request: NameRequest) -> Session:
    """Return the session of the request's URL, if it is the client's. Raises ``NotFound``."""
    if len(request.name) != 1 or request.trailing_slash:
        raise NotFound("there is no such upload")
    return await find_own(request, request.name[0].decode("latin-1"))


async def find_own(request: NameRequest, id: str) -> Session:
    """Return the session *id*, if it is the client's. Raises ``NotFound``."""
    session = await request.site.stores.uploads.find(id)
    owner = session.details.get("owner", "")
    if owner and owner != owner_of(request):
        raise NotFound("there is no such upload; it may have expired")
    return session


def owner_of(request: NameRequest) -> str:
    """Return who the client is, once its rights were asked for; empty where nobody can be known."""
    if not request.site.credentials.exist:
        return ""
    return f"account {user}" if (user := request.scope.get("fileserve.user")) else "token"


def need_of(request: NameRequest, length: int | None) -> Need:
    """Return what an upload of *length* bytes needs."""
    settings = request.site.settings
    return Need(length, keep_free=settings.keep_free, digests=settings.upload_digests)


def is_part(session: Session) -> bool:
    """Return whether a session is one of those that another one puts together, and gets no name itself."""
    return session.details.get("concat") == "partial"


def state_fields(request: NameRequest, session: Session, offset: int) -> dict[str, str]:
    """Return the fields that tell how far an upload has come: offset, and until when it may go on or where it is."""
    fields = {"upload-offset": str(offset)}
    if session.stored:
        return fields | {"content-location": href(request.scope, "download", session.name)}
    return fields | {"upload-expires": format_http_date(session.expires_s)}


async def ask(request: NameRequest, session_name: Name, details: dict[str, str]) -> None:
    """Return if the client may give its upload this name; raise the ``Problem`` that says why not."""
    put = _as_put(request, session_name, details)
    await check_before(put, parents=bool(details.get("parents")))


async def ask_where_it_is(request: NameRequest, session: Session) -> None:
    """Do what ``ask`` does for an upload whose directory may be moved at the same moment."""
    for _ in range(_ASKED_AGAIN):
        with suppress(NoDirectory):
            return await ask(request, session.name, dict(session.details))
        session = await request.site.stores.uploads.settled(session)
    await ask(request, session.name, dict(session.details))


async def store(request: NameRequest, staged: ResumedFile) -> dict[str, str]:
    """Give the whole file its name, and return the fields that tell of it. Raises what a PUT does.

    Its directory may have been moved while its bytes came. Raises ``Locked`` where it is not whole: whoever has counted
    its bytes did that before it was locked, and some may have been taken back since.
    """
    session = await request.site.stores.uploads.follow(staged)
    if staged.offset + staged.size != session.length:
        raise Locked
    put = _as_put(request, session.name, dict(session.details))

    def judge(current: OpenFile | None) -> None:
        check_preconditions(put, current, may_replace=request.site.settings.replace)

    await ask(request, session.name, dict(session.details))
    digests = await staged.finish()
    with refusing_taken(put):
        committed = await staged.commit(judge)
    await request.site.stores.uploads.set_stored(session)
    note(request, session.name, f"stored, {committed.status.size} bytes")
    etag = await settle(put, staged, committed, digests)
    if digests is None and request.site.settings.upload_digests:
        await _hash_later(request, session.name)
    return {"content-location": href(request.scope, "download", session.name)} | ({"etag": etag} if etag else {})


async def _hash_later(request: NameRequest, name: Name) -> None:
    """Have a file read in the background whose bytes came in several processes, or not in their order."""
    with suppress(StorageError):
        opened = await request.site.root.open(name)
        try:
            request.site.digests.checksums.request(opened)
        finally:
            opened.close()


def _as_put(request: NameRequest, name: Name, details: dict[str, str]) -> NameRequest:
    """Return the PUT that would do the same as the request that began the upload."""
    fields = [(field.encode(), details[field].encode("latin-1")) for field in PRECONDITIONS if field in details]
    return NameRequest(
        {**request.scope, "method": "PUT", "headers": fields},
        request.receive,
        request.site,
        name,
        request.trailing_slash,
        request.now_ns,
    )
