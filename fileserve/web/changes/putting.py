"""``PUT /upload/{path}``: a file stored whole or not at all (RFC 9110 §9.3.4), as ``curl -T`` sends it.

All that can be known before the content is judged before it is read: rights, limits, fields, preconditions, room on the
disk. Until then no ``100 Continue`` is sent, and a refusal ends the connection without reading on. Then each chunk goes
from the request straight into the staged file; digests that the client sent are compared before it gets its name.

Left out: who stalls (the socket edge), forms (``forms``), and uploads that go on after a break.
"""

from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.semantics.digest import Algorithm
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.writer import StagedFile
from fileserve.storage.index import Digests
from fileserve.storage.reader import OpenFile
from fileserve.web.changes.claims import Expected, digests_of, mismatch, refuse_coding, refuse_digests
from fileserve.web.changes.noting import note
from fileserve.web.changes.preconditions import check_before, check_preconditions, is_asked, refusing_taken
from fileserve.web.changes.receiving import content_length, next_chunk, settle, too_large
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

_CHECKED = ("content-digest", "repr-digest")


async def put(request: NameRequest) -> ASGIApp:
    """Store the content under the name: 201 where nothing had it, 204 where it takes the place of a file."""
    expected = digests_of(request, *_CHECKED)  # of a whole file, they are the same
    length, parents = content_length(request), is_asked(request, "parents")
    _check_fields(request, length)
    settings = request.site.settings
    need = Need(
        length,
        keep_free=settings.keep_free,
        digests=settings.upload_digests or bool(expected),
        sha512=Algorithm.SHA_512 in expected,
    )
    with request.site.taking.places.take(request.client):
        await check_before(request, parents=parents)
        changes = request.site.stores.changes
        with refusing_taken(request), await changes.stage(request.name, need, parents=parents) as staged:
            return await _store(request, staged, expected)


async def _store(request: NameRequest, staged: StagedFile, expected: Expected) -> Response:
    limit = request.site.settings.upload_bytes
    more = True
    while more:
        chunk, more = await next_chunk(request)
        if limit and staged.size + len(chunk) > limit:
            raise too_large("file", limit)
        await staged.write(chunk)
    digests = await staged.finish()
    _check_digests(expected, digests)

    def judge(current: OpenFile | None) -> None:
        check_preconditions(request, current, may_replace=request.site.settings.replace)

    committed = await staged.commit(judge)
    note(request, request.name, f"stored, {committed.status.size} bytes")
    etag = await settle(request, staged, committed, digests)
    fields = {"etag": etag} if etag is not None else {}
    if committed.replaced:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=fields)
    fields["location"] = href(request.scope, "download", request.name)
    return Response(status_code=HTTPStatus.CREATED, headers=fields)


def _check_fields(request: NameRequest, length: int | None) -> None:
    """Refuse what cannot be stored as it is meant."""
    if request.trailing_slash or not request.name:
        raise Problem(HTTPStatus.CONFLICT, "The name of a file does not end in a slash.")
    if "content-range" in request.fields:  # RFC 9110 §14.5
        raise Problem(HTTPStatus.BAD_REQUEST, "A PUT stores the whole file; Content-Range is not taken.")
    refuse_coding(request)
    refuse_digests(request, "Content-Digest or Repr-Digest tells the digest of a file.", *_CHECKED)
    limit = request.site.settings.upload_bytes
    if limit and length is not None and length > limit:
        raise too_large("file", limit)


def _check_digests(expected: Expected, digests: Digests | None) -> None:
    computed = {Algorithm.SHA_256: digests.sha256, Algorithm.SHA_512: digests.sha512} if digests else {}
    if any(computed.get(algorithm) != value for algorithm, value in expected.items()):
        raise mismatch("nothing was stored")
