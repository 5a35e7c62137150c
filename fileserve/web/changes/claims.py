"""What a client says of the content that it sends, its coding and its digests: held to for PUT, forms and tus alike.

Policy: what is not checked is refused. Who sends a digest relies on it.
"""

from http import HTTPStatus

from fileserve.semantics import digest
from fileserve.semantics.digest import Algorithm
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = ["Expected", "digests_of", "mismatch", "refuse_coding", "refuse_digests"]

Expected = dict[Algorithm, bytes]
# RFC 9530 §2, §3; tus 1.0.0, checksum; and those of before, which many still send: RFC 3230 §4.3.2, RFC 2616 §14.15.
_DIGESTS = ("content-digest", "repr-digest", "upload-checksum", "digest", "content-md5")


def refuse_coding(request: NameRequest) -> None:
    """Raise 415 for content that has a coding.

    Policy: it is refused (RFC 9110 §8.4 and §15.5.16). Stored with it, the file would be another one; taken off, a
    small request could fill the disk.
    """
    if request.fields.get("content-encoding", "identity").lower() != "identity":
        fields = {"accept-encoding": "identity"}
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the file without Content-Encoding.", fields=fields)


def digests_of(request: NameRequest, *names: str) -> Expected:
    """Return the digests that these fields tell, where they are to be of the same bytes. RFC 9530 §2, §3."""
    expected: Expected = {}
    for name in names:
        digests = digest.sent(request.fields.get(name, ""))
        if digests is None or any(expected.get(algorithm, value) != value for algorithm, value in digests.items()):
            raise Problem(HTTPStatus.BAD_REQUEST, "Content-Digest or Repr-Digest is malformed, or they differ.")
        expected |= digests
    return expected


def refuse_digests(request: NameRequest, reason: str, *checked: str) -> None:
    """Raise 400 with *reason* when a field tells a digest that is none of those which are *checked*."""
    if any(name in request.fields for name in _DIGESTS if name not in checked):
        raise Problem(HTTPStatus.BAD_REQUEST, reason)


def mismatch(outcome: str) -> Problem:
    """Policy: a mismatch is 400: RFC 9530 names no status, and it is the request that contradicts itself."""
    return Problem(HTTPStatus.BAD_REQUEST, f"The content is not what its digest says; {outcome}.")
