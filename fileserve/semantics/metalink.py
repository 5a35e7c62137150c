"""Metalink: a document from which a download program verifies a file, and mends it piece by piece.

Implements RFC 5854 §4: one ``file`` with its size, its SHA-256, the SHA-256 of each piece, and one URL.

Strategy: the document is literal text. Its few values are numbers, hexadecimal digits, a name and a URL, so escaping
two strings is all of XML that is needed, and the same arguments give the same bytes.

Leaves out: mirrors, signatures, and everything that says who published the file.
"""

import re
from collections.abc import Sequence

__all__ = ["METALINK", "metalink"]

METALINK = "application/metalink4+xml"  # RFC 5854 §7.2

# XML 1.0 §2.2 has no way to write most of these, not even as a reference. Tab, line feed, carriage return and delete it
# can hold, but aria2 reads no document with a control character in a name.
_UNWRITABLE = re.compile("[^\x20-\x7e\x80-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCES = {ord(char): f"&#{ord(char)};" for char in "&<>\"'"}


def metalink(name: str, size: int, sha256: bytes, piece_length: int, piece_sha256: Sequence[bytes], url: str) -> bytes:
    """Return the document for a file of *size* bytes; digests are raw, *piece_length* is in bytes.

    *url* is absolute. Of a name with slashes the last component counts (RFC 5854 §4.1.2.1: no path that leads
    elsewhere). Policy: a control character, a surrogate (it stands for a byte that is no UTF-8) and what XML cannot
    hold becomes U+FFFD: the name is only what to save the file as, and the file is found by its URL. RFC 5854 §4.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<metalink xmlns="urn:ietf:params:xml:ns:metalink">',
        f'<file name="{_escape(name.rstrip("/").rpartition("/")[2])}">',
        f"<size>{size}</size>",
        f'<hash type="sha-256">{sha256.hex()}</hash>',
        *_pieces(piece_length, piece_sha256),
        f"<url>{_escape(url)}</url>",
        "</file>",
        "</metalink>",
        "",
    ]
    return "\n".join(lines).encode()


def _pieces(piece_length: int, piece_sha256: Sequence[bytes]) -> list[str]:
    """Return the ``pieces`` element (RFC 5854 §4.1.3); none for an empty file, which has no pieces."""
    if not piece_sha256:
        return []
    hashes = [f"<hash>{digest.hex()}</hash>" for digest in piece_sha256]
    return [f'<pieces length="{piece_length}" type="sha-256">', *hashes, "</pieces>"]


def _escape(text: str) -> str:
    return _UNWRITABLE.sub("\ufffd", text).translate(_REFERENCES)
