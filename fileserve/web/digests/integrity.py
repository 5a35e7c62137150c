"""Fields that prove a file's bytes: Repr-Digest and Content-Digest (RFC 9530), Digest (RFC 3230), Link to a Metalink.

A request that does not ask for a digest never waits for one: it gets what is known. One that asks (``Want-…``) waits
for a file that is hashed in a moment; for a larger one the work begins behind its back, and the digest is there when
it is asked for again. Digests are of the whole file, on a 206 too; Content-Digest is of the bytes that are sent.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import lru_cache

from fileserve.semantics import digest
from fileserve.semantics.digest import Algorithm
from fileserve.semantics.metalink import METALINK
from fileserve.storage.errors import Busy, ContentChanged
from fileserve.storage.index import Digests
from fileserve.storage.known import UNKNOWN
from fileserve.storage.names import quote_name
from fileserve.storage.reader import OpenFile
from fileserve.web.delivery import Fields
from fileserve.web.presence import while_present
from fileserve.web.routes import NameRequest
from fileserve.web.transfer import Transfer

AT_ONCE = 32 * 1024 * 1024  # bytes of a file that a request for its digest waits for
CONTENT_DIGEST = 1024 * 1024  # bytes of content that are read twice for the sake of Content-Digest


async def integrity_fields(request: NameRequest, opened: OpenFile) -> Fields:
    """Return the fields that a 200 or 206 of *opened* carries beside its validators."""
    link = _metalink_link(request.name[-1])
    wants_legacy = "want-digest" in request.fields
    wanted = digest.legacy_wanted(request.fields["want-digest"]) if wants_legacy else ()
    if "want-repr-digest" in request.fields:
        wanted = digest.wanted(request.fields["want-repr-digest"])
        if not wanted:
            return (link,)  # it wants none of ours
    return _fields(link, await _digests(request, opened, wanted), wanted, wants_legacy=wants_legacy)


def _fields(
    link: tuple[bytes, bytes], digests: Digests | None, wanted: tuple[Algorithm, ...], *, wants_legacy: bool
) -> Fields:
    known = _by_algorithm(digests)
    if not known:
        return (link,)
    best = next((algorithm for algorithm in wanted if algorithm in known), Algorithm.SHA_256)
    fields = (link, (b"repr-digest", digest.format_digest({best: known[best]}).encode("ascii")))
    return (*fields, (b"digest", digest.legacy_digest(best, known[best]).encode("ascii"))) if wants_legacy else fields


def known_fields(component: bytes, digests: Digests | None) -> Fields:
    """Return what `integrity_fields` does for the file *component* when the request asks for no digest."""
    return _fields(_metalink_link(component), digests, (), wants_legacy=False)


async def add_content_digest(request: NameRequest, transfer: Transfer) -> None:
    """Give the response a Content-Digest, where it is short enough to be read twice. RFC 9530 §2."""
    wanted = digest.wanted(request.fields.get("want-content-digest"))
    plan = transfer.plan
    if not wanted or not 0 < plan.content_length <= CONTENT_DIGEST:
        return
    hashed = hashlib.new(wanted[0].hashlib_name)
    try:
        for segment in plan.segments:
            if isinstance(segment, bytes):
                hashed.update(segment)
            else:
                hashed.update(await transfer.content.read(segment.start, segment.length))
    except BaseException:
        transfer.content.close()
        raise
    field = (b"content-digest", digest.format_digest({wanted[0]: hashed.digest()}).encode("ascii"))
    transfer.plan = dataclasses.replace(plan, fields=(*plan.fields, field))


async def _digests(request: NameRequest, opened: OpenFile, wanted: tuple[Algorithm, ...]) -> Digests | None:
    checksums = request.site.digests.checksums
    known = checksums.known(opened.status)
    digests = await checksums.find(opened.status) if known is UNKNOWN else known
    missing = digests is None or (wanted[:1] == (Algorithm.SHA_512,) and digests.sha512 is None)
    if not wanted or not missing or request.scope["method"] == "HEAD":
        return digests
    sha512 = Algorithm.SHA_512 in wanted
    try:
        if opened.status.size > AT_ONCE:
            checksums.request(opened, sha512=sha512)
            return digests
        async with checksums.watch(opened, request.client, sha512=sha512) as computation:
            return await while_present(request.receive, computation.result())
    except (Busy, ContentChanged):  # the bytes themselves are not refused for that
        return digests


def _by_algorithm(digests: Digests | None) -> Mapping[Algorithm, bytes]:
    if digests is None:
        return {}
    known = {Algorithm.SHA_256: digests.sha256}
    return known if digests.sha512 is None else {**known, Algorithm.SHA_512: digests.sha512}


@lru_cache(maxsize=1024)
def _metalink_link(component: bytes) -> tuple[bytes, bytes]:
    """Return the Link to the Metalink beside the file *component*, relative to it. RFC 8288, RFC 6249 §1."""
    return b"link", f'<{quote_name((component,))}.meta4>; rel="describedby"; type="{METALINK}"'.encode("ascii")
