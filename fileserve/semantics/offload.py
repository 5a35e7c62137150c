"""Whether a proxy that sends a file by itself would give the same answer as we: the sending may then be left to it.

nginx, which takes a file over with ``X-Accel-Redirect``, answers it anew from the request that it still has: it applies
preconditions to its own idea of the file, before it knows our entity tag; takes a malformed Range for an unsatisfiable
one; and passes on the fields that its configuration names, and no others.

Strategy: what it would answer differently is refused by its shape, not predicted. Left to a proxy are the whole of a
file and one well-formed range of it, of files that nobody has written to lately.

Leaves out: whether there is such a proxy, and where the file is for it.
"""

import re
from collections.abc import Mapping

from fileserve.semantics.plan import ResponsePlan
from fileserve.semantics.ranges import Span

__all__ = ["SETTLED_S", "may_be_offloaded"]

# Policy: to leave less to somebody else costs as much as to send it (docs/accel.md).
_LEAST = 512 * 1024
# Policy: a proxy tells one state of a file from another by its size and the whole seconds of its mtime. What is written
# from now on has another second than a file that was last written two seconds ago, or earlier.
SETTLED_S = 2
_PASSED_ON = frozenset(
    (
        *(b"accept-ranges", b"cache-control", b"content-disposition", b"content-length", b"content-range"),
        *(b"content-security-policy", b"content-type", b"digest", b"etag", b"last-modified", b"link"),
        *(b"repr-digest", b"x-accel-buffering", b"x-content-type-options"),
    )
)
_ASKED_OF_US = frozenset(
    ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "want-content-digest")
)
# Numbers of up to 18 digits: more would overflow what a proxy reads them into.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")


def may_be_offloaded(method: str, fields: Mapping[str, str], plan: ResponsePlan, now_s: int) -> bool:
    """Tell whether a proxy may send what *plan* answers to a request of *method* with *fields* at *now_s*.

    An If-Range that holds is no obstacle: the proxy is told the entity tag before it looks at it, and the date of a
    file it knows itself. One that does not hold makes a 200 of a request with Range, which is refused here like every
    other such answer. RFC 9110 §13.1.5, §14.2.
    """
    representation = plan.representation
    if method != "GET" or representation is None or plan.content_length <= _LEAST:
        return False
    if not _ASKED_OF_US.isdisjoint(fields) or not _is_one_span(plan, fields.get("range")):
        return False
    if representation.etag.weak or not 0 <= representation.last_modified_s <= now_s - SETTLED_S:
        return False
    return all(name in _PASSED_ON for name, _ in plan.fields)


def _is_one_span(plan: ResponsePlan, range_value: str | None) -> bool:
    if len(plan.segments) != 1 or not isinstance(plan.segments[0], Span):
        return False
    if range_value is None:
        return plan.status == 200
    return plan.status == 206 and _ONE_RANGE.fullmatch(range_value) is not None
