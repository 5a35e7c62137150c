"""Conditional requests: may the method go on, is the client's copy good, may a range be sent.

Implements RFC 9110 §13.1 (the preconditions), §13.2.2 (their order) and §13.1.5 (If-Range).

Strategy: one function for each precondition, each answering "does it hold?"; `evaluate` puts them in the order of
§13.2.2 and turns the first that does not hold into a verdict. ``None`` for the representation means that there is no
current one, so that PUT with ``If-None-Match: *`` runs through the same lines as a download.

Leaves out: §13.2.1. Whoever calls has settled that the answer would otherwise be a success, and that the method selects
or changes a representation.
"""

from collections.abc import Mapping
from enum import Enum

from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import parse_entity_tag, parse_entity_tags, parse_http_date

__all__ = ["Verdict", "evaluate", "if_range_holds"]


class Verdict(Enum):
    """What the preconditions of a request come to. RFC 9110 §13.2.2."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    PRECONDITION_FAILED = "precondition failed"


def evaluate(method: str, fields: Mapping[str, str], representation: Representation | None, now_s: int) -> Verdict:
    """Return what If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since come to, in this order.

    *now_s* is the instant of the message, in seconds since 1970: it caps Last-Modified. An invalid date is ignored.
    RFC 9110 §13.2.2, steps 1 to 4.
    """
    if not _is_as_expected(fields, representation, now_s):
        return Verdict.PRECONDITION_FAILED
    reads = method in ("GET", "HEAD")
    if (value := fields.get("if-none-match")) is not None:
        holds = _if_none_match_holds(value, representation, reads=reads)
    elif reads and (value := fields.get("if-modified-since")) is not None:
        holds = _if_modified_since_holds(value, representation, now_s)
    else:
        holds = True
    if holds:
        return Verdict.PROCEED
    return Verdict.NOT_MODIFIED if reads else Verdict.PRECONDITION_FAILED


def if_range_holds(value: str, representation: Representation, now_s: int) -> bool:
    """Return whether *value*, of an If-Range field, still names this representation, so that Range applies.

    Only strong validators count: an entity tag when it and ours are strong and equal, a date when it equals
    Last-Modified as it is sent. Anything else does not hold, and the whole is sent. RFC 9110 §13.1.5.
    """
    tag = parse_entity_tag(value)
    if tag is not None:
        return tag.strongly_matches(representation.etag)
    # Policy: a date is strong when it is more than a second older than now. §8.8.2.2 leaves it to the server to know
    # that nothing changed twice within the second that a date names; seconds that are over cannot change any more.
    date_s = parse_http_date(value, now_s) if representation.date_validates else None
    return date_s is not None and date_s == representation.last_modified_as_sent(now_s) and now_s - date_s > 1


def _is_as_expected(fields: Mapping[str, str], representation: Representation | None, now_s: int) -> bool:
    """Steps 1 and 2: what the client wants to read or change is what it has seen before."""
    if (value := fields.get("if-match")) is not None:
        return _if_match_holds(value, representation)
    if (value := fields.get("if-unmodified-since")) is not None:
        return _if_unmodified_since_holds(value, representation, now_s)
    return True


def _if_match_holds(value: str, representation: Representation | None) -> bool:
    """RFC 9110 §13.1.1, by strong comparison."""
    tags = parse_entity_tags(value)
    # Policy: an invalid If-Match matches nothing (412). Whoever sends one wants nothing to happen to a representation
    # other than the one it knows; to guess that this is the one could overwrite it, or mix two in one download.
    if tags is None or representation is None:
        return False
    return tags == "*" or any(tag.strongly_matches(representation.etag) for tag in tags)


def _if_unmodified_since_holds(value: str, representation: Representation | None, now_s: int) -> bool:
    """RFC 9110 §13.1.4: an invalid date, or no modification date to compare with, is no condition at all."""
    date_s = parse_http_date(value, now_s)
    if date_s is None or representation is None:
        return True
    return representation.last_modified_as_sent(now_s) <= date_s


def _if_none_match_holds(value: str, representation: Representation | None, *, reads: bool) -> bool:
    """RFC 9110 §13.1.2, by weak comparison."""
    tags = parse_entity_tags(value)
    if tags is None:
        # Policy: an invalid If-None-Match matches nothing for GET and HEAD, and all is sent; for a method that changes
        # something it fails. What is sent twice does no harm, what was to be protected and is overwritten is gone.
        return reads
    if representation is None:
        return True
    return tags != "*" and not any(tag.weakly_matches(representation.etag) for tag in tags)


def _if_modified_since_holds(value: str, representation: Representation | None, now_s: int) -> bool:
    """RFC 9110 §13.1.3: an invalid date, or no modification date to compare with, is no condition at all."""
    date_s = parse_http_date(value, now_s)
    if date_s is None or representation is None:
        return True
    # Policy: "not later than", as §13.1.3 has it, and not by equality: a date of the client's own making works too.
    return representation.last_modified_as_sent(now_s) > date_s
