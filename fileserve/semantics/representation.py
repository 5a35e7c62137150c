"""The selected representation, as far as HTTP sees it: how long, which validators, which media type, which name.

Implements RFC 9110 §3.2 (representations) and §8.8.2.1 (a modification date in the future).

Strategy: one immutable value stands between storage, which knows of descriptors and ``stat``, and everything here. It
is made from an open descriptor, so that all of its parts speak of the same bytes.

Leaves out: the content itself, and how the values came to be.
"""

from dataclasses import dataclass

from fileserve.semantics.validators import EntityTag

__all__ = ["Representation"]


@dataclass(frozen=True, slots=True)
class Representation:
    """What a response says of the bytes it sends.

    *length* is the complete length in bytes, *last_modified_s* counts seconds since 1970 and may be negative or in the
    future, *media_type* is ASCII. *filename* may hold surrogate escapes: bytes of the name that are no UTF-8.
    *date_validates* is false where the content can change and keep its date, so that no date is a strong validator.
    """

    length: int
    etag: EntityTag
    last_modified_s: int
    media_type: str
    filename: str
    date_validates: bool = True

    def last_modified_as_sent(self, now_s: int) -> int:
        """Return the instant for Last-Modified: never later than *now_s*, that of the message. RFC 9110 §8.8.2.1."""
        return min(self.last_modified_s, now_s)
