"""``PUT /upload/{path}``: a file stored whole or not at all (RFC 9110 §9.3.4), as ``curl -T`` sends it.

All that can be known before the content is judged before it is read: rights, limits, fields, preconditions, room on the
disk. Until then no ``100 Continue`` is sent, and a refusal ends the connection without reading on. Then each chunk goes
from the request straight into the staged file; digests that the client sent are compared before it gets its name.

Left out: who stalls (the socket edge), forms (``forms``), and uploads that go on after a break.
"""

import logging
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.semantics import digest
from fileserve.semantics.digest import Algorithm
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.writer import StagedFile
from fileserve.storage.errors import AlreadyExists, IsDirectory
from fileserve.storage.index import Digests
from fileserve.storage.names import display_name
from fileserve.storage.reader import OpenFile
from fileserve.web.changes.preconditions import check_before, check_preconditions, is_asked, precondition_failed
from fileserve.web.changes.receiving import content_length, next_chunk, settle, too_large
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

log = logging.getLogger("fileserve.uploads")

Expected = dict[Algorithm, bytes]


async def put(request: NameRequest) -> ASGIApp:
    """Store the content under the name: 201 where nothing had it, 204 where it takes the place of a file."""
    expected, length, parents = _expected_digests(request), content_length(request), is_asked(request, "parents")
    _check_fields(request, length)
    settings = request.site.settings
    need = Need(
        length,
        keep_free=settings.keep_free,
        digests=settings.upload_digests or bool(expected),
        sha512=Algorithm.SHA_512 in expected,
    )
    with request.site.places.take(request.client):
        try:
            await check_before(request, parents=parents)
            with await request.site.changes.stage(request.name, need, parents=parents) as staged:
                return await _store(request, staged, expected)
        except IsDirectory:
            raise Problem(HTTPStatus.CONFLICT, "This is a directory.") from None
        except AlreadyExists:
            if "if-none-match" in request.fields:  # somebody else was faster
                raise precondition_failed(None) from None
            raise


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
    log.info("%s stored, %d bytes", "/".join(map(display_name, request.name)), committed.status.size)
    etag = await settle(request, staged, committed, digests)
    fields = {"etag": etag} if etag is not None else {}
    if committed.replaced:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=fields)
    fields["location"] = href(request.scope, "download", request.name)
    return Response(status_code=HTTPStatus.CREATED, headers=fields)


def _check_fields(request: NameRequest, length: int | None) -> None:
    """Refuse what cannot be stored as it is meant.

    Policy: a content coding is refused (RFC 9110 §8.4 and §15.5.16). Stored with it, the file would be another one;
    taken off, a small request could fill the disk.
    """
    if request.trailing_slash or not request.name:
        raise Problem(HTTPStatus.CONFLICT, "The name of a file does not end in a slash.")
    if "content-range" in request.fields:  # RFC 9110 §14.5
        raise Problem(HTTPStatus.BAD_REQUEST, "A PUT stores the whole file; Content-Range is not taken.")
    if request.fields.get("content-encoding", "identity").lower() != "identity":
        fields = {"accept-encoding": "identity"}
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the file without Content-Encoding.", fields=fields)
    limit = request.site.settings.upload_bytes
    if limit and length is not None and length > limit:
        raise too_large("file", limit)


def _expected_digests(request: NameRequest) -> Expected:
    """Return the digests that the client says the file has; of the content and of the whole they are the same here."""
    expected: Expected = {}
    for name in ("content-digest", "repr-digest"):
        digests = digest.sent(request.fields.get(name, ""))
        if digests is None or any(expected.get(algorithm, value) != value for algorithm, value in digests.items()):
            raise Problem(HTTPStatus.BAD_REQUEST, "Content-Digest or Repr-Digest is malformed, or they differ.")
        expected |= digests
    return expected


def _check_digests(expected: Expected, digests: Digests | None) -> None:
    """Policy: a mismatch is 400: RFC 9530 names no status, and it is the request that contradicts itself."""
    computed = {Algorithm.SHA_256: digests.sha256, Algorithm.SHA_512: digests.sha512} if digests else {}
    if any(computed.get(algorithm) != value for algorithm, value in expected.items()):
        raise Problem(HTTPStatus.BAD_REQUEST, "The content is not what its digest says; nothing was stored.")
