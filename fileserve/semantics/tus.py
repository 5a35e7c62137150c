"""The fields of resumable uploads (tus 1.0.0): metadata, checksums, concatenation, numbers.

Strategy: a field is taken whole or not at all. What does not fit the protocol's grammar is ``None``; what a client may
ask for, and what is answered, is ``web``'s.

Left out: checksums in trailers, which hardly any client sends and no proxy keeps.
"""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass

__all__ = ["CHECKSUMS", "EXTENSIONS", "VERSION", "Checksum", "checksum", "final_parts", "metadata", "number"]

VERSION = "1.0.0"
EXTENSIONS = (
    *("creation", "creation-with-upload", "creation-defer-length"),
    *("expiration", "checksum", "termination", "concatenation"),
)
#: Algorithms by the names that the protocol has for them, with the lengths of their digests. It demands sha1.
CHECKSUMS = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16}

_MOST_DIGITS = 18  # more is larger than any disk, and than what a table takes
_KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # ASCII, without space and comma
_NUMBER = re.compile(rf"0*([0-9]{{1,{_MOST_DIGITS}}})")


@dataclass(frozen=True, slots=True)
class Checksum:
    """An algorithm of ``CHECKSUMS``, and the raw digest that the content of one request should have."""

    algorithm: str
    digest: bytes


def number(value: str) -> int | None:
    """Return a length or an offset; ``None`` for what is no number, or none that a disk could have.

    >>> number("12"), number("-1"), number("1" * 30)
    (12, None, None)
    """
    matched = _NUMBER.fullmatch(value)
    return int(matched[1]) if matched else None


def metadata(value: str) -> dict[str, bytes] | None:
    """Return what an Upload-Metadata value tells by key: pairs with commas between them, values in base64.

    A value may be missing, and is then empty. No key comes twice.

    >>> metadata("filename d29ybGQ=,private")
    {'filename': b'world', 'private': b''}
    """
    told: dict[str, bytes] = {}
    for pair in value.split(",") if value else ():
        key, _, encoded = pair.strip(" ").partition(" ")
        decoded = _decoded(encoded)
        if not _KEY.fullmatch(key) or key in told or decoded is None:
            return None
        told[key] = decoded
    return told


def checksum(value: str) -> Checksum | None:
    """Return what an Upload-Checksum value holds; ``None`` for an algorithm or a digest that is none.

    >>> checksum("md5 AAAAAAAAAAAAAAAAAAAAAA==") == Checksum("md5", bytes(16))
    True
    """
    algorithm, _, encoded = value.partition(" ")
    digest = _decoded(encoded)
    return Checksum(algorithm, digest) if digest is not None and CHECKSUMS.get(algorithm) == len(digest) else None


def final_parts(value: str) -> tuple[str, ...] | None:
    """Return the URLs of the parts that an Upload-Concat value puts together; ``None`` where it does no such thing.

    >>> final_parts("final;/uploads/a /uploads/b")
    ('/uploads/a', '/uploads/b')
    """
    kind, _, urls = value.partition(";")
    return tuple(urls.split()) or None if kind == "final" else None


def _decoded(encoded: str) -> bytes | None:
    try:
        return b64decode(encoded.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
