"""``/uploads``: uploads that go on after a break, as tus 1.0.0 has them.

Implements the core protocol and the extensions creation, creation-with-upload, creation-defer-length, expiration,
checksum, termination and concatenation. X-HTTP-Method-Override counts in a POST, for clients that have only
that; what is safe (RFC 9110 §9.2.1) stays so.

Every answer says which version is spoken, refusals included; so rights are asked for here, and not in front.

Whoever asks how far an upload has come (HEAD) learns what is on the disk. If that is all of it, and the server ended
before it could give the file its name, it gets it now; where that is refused, so is the question. A client takes an
offset at the end for success, and must not be told that wrongly.

Left out: answers to other sites' preflights (CORS).
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.semantics import tus
from fileserve.storage.changes.session import Session
from fileserve.storage.errors import Locked, StorageError
from fileserve.web.access import Action, authorize
from fileserve.web.changes.appending import patch
from fileserve.web.changes.concatenating import post
from fileserve.web.changes.sessions import find, is_part, need_of, state_fields, store
from fileserve.web.problems import Problem, allow_only, problem_of
from fileserve.web.routes import NameRequest

__all__ = ["METHODS", "resumable"]

_SPOKEN = {"tus-resumable": tus.VERSION}


async def resumable(request: NameRequest) -> ASGIApp:
    """Answer a request for an upload, or for all of them."""
    method = request.scope["method"]
    if method == "POST":
        method = request.fields.get("x-http-method-override", method).upper()
    if method == "OPTIONS":
        return _capabilities(request)
    try:
        if request.fields.get("tus-resumable") != tus.VERSION:
            fields = {"tus-version": tus.VERSION}
            raise Problem(HTTPStatus.PRECONDITION_FAILED, f"Tus-Resumable is {tus.VERSION} here.", fields=fields)
        await authorize(request.scope, Action.UPLOAD)
        if method not in _HANDLERS:
            raise allow_only(*METHODS)
        with nullcontext() if method == "PATCH" else request.site.taking.asking_places.take(request.client):
            response = await _HANDLERS[method](request)
    except StorageError as error:
        raise _spoken(problem_of(error)) from error
    except Problem as problem:
        raise _spoken(problem) from problem.__cause__
    response.headers.update(_SPOKEN)
    return response


def _spoken(problem: Problem) -> Problem:
    problem.fields = {**problem.fields, **_SPOKEN}
    return problem


def _capabilities(request: NameRequest) -> Response:
    """Tell what is spoken here. Tus-Max-Size only where there is a limit."""
    limit = request.site.settings.upload_bytes
    fields = {
        **_SPOKEN,
        "tus-version": tus.VERSION,
        "tus-extension": ",".join(tus.EXTENSIONS),
        "tus-checksum-algorithm": ",".join(tus.CHECKSUMS),
        "allow": ", ".join(METHODS),
    }
    if limit:
        fields["tus-max-size"] = str(int(limit))
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=fields)


async def _tell(request: NameRequest) -> Response:
    """Tell how far an upload has come."""
    session, uploads = await find(request), request.site.stores.uploads
    await request.site.taking.handover.nudge(session)
    offset = await uploads.offset(session)
    session = await uploads.find(session.id)
    ended: dict[str, str] = {}
    if offset == session.length and not session.stored and not is_part(session):
        ended = await _store_or_see(request, session)
        session = await uploads.find(session.id)
    told = {"upload-metadata": "metadata", "upload-concat": "concat"}
    fields = {field: session.details[detail] for field, detail in told.items() if detail in session.details}
    length = {"upload-defer-length": "1"} if session.length is None else {"upload-length": str(session.length)}
    fields |= state_fields(request, session, offset) | length | ended | {"cache-control": "no-store"}
    return Response(status_code=HTTPStatus.OK, headers=fields)


async def _store_or_see(request: NameRequest, session: Session) -> dict[str, str]:
    """Give a whole file its name, or see that it has got it a moment ago. Raises ``Locked`` where it is about to."""
    uploads = request.site.stores.uploads
    try:
        async with uploads.resume(session, need_of(request, session.length)) as staged:
            return await store(request, staged)
    except Locked:
        await uploads.offset(session)
        if not (await uploads.find(session.id)).stored:
            raise
    return {}


async def _terminate(request: NameRequest) -> Response:
    """End an upload, and delete what is there of it. One that has its name is only forgotten."""
    session, uploads = await find(request), request.site.stores.uploads
    try:
        await uploads.end(session)
    except Locked:
        await request.site.taking.handover.free(session.id)
        await uploads.end(session)
    return Response(status_code=HTTPStatus.NO_CONTENT)


_HANDLERS: Mapping[str, Callable[[NameRequest], Awaitable[Response]]] = {
    "POST": post,
    "HEAD": _tell,
    "PATCH": patch,
    "DELETE": _terminate,
}
METHODS = ("OPTIONS", *_HANDLERS)
