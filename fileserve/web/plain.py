"""Plans of plain downloads, remembered: a GET that asks for all of a file and sets no conditions, as most do.

A plan is a pure function of its arguments. For a plain GET they are the state of the file, its name and its digests,
which stay the same from one request to the next for as long as nobody writes to the file; so planning it anew would
only come to the same bytes. What the instant of the request changes is left to the long way: an entity tag that is
still weak, a modification date in the future.

Left out: requests with conditions, ranges or wishes, whose plans hardly repeat.
"""

from functools import lru_cache
from typing import Literal

from fileserve.semantics.plan import ResponsePlan, plan_download
from fileserve.storage.index import Digests
from fileserve.storage.known import UNKNOWN
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.web.delivery import send_planned
from fileserve.web.describe import NS_PER_MS, represent
from fileserve.web.digests.integrity import known_fields
from fileserve.web.routes import NameRequest
from fileserve.web.transfer import Transfer

_ASKING = frozenset(
    (
        *(b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
        *(b"want-digest", b"want-repr-digest", b"want-content-digest"),
    )
)


def plain_download(request: NameRequest, opened: OpenFile) -> Transfer | None:
    """Return the response with all of *opened*, which it owns then; ``None``: this request is no plain one."""
    scope, settings, status = request.scope, request.site.settings, opened.status
    if scope["method"] != "GET" or scope["query_string"] or not _ASKING.isdisjoint(dict(scope["headers"])):
        return None
    settled_before_ns = request.now_ns - settings.weak_etag_ms * NS_PER_MS
    if status.ctime_ns >= settled_before_ns or status.mtime_ns >= settled_before_ns:
        return None
    digests = request.site.digests.checksums.known(status)
    if digests is UNKNOWN:
        return None
    plan = _plan(status, request.name[-1], digests, settings.etag, settings.cache_control)
    return send_planned(request, plan, opened)


@lru_cache(maxsize=1024)
def _plan(
    status: FileStatus,
    component: bytes,
    digests: Digests | None,
    etag_made_of: Literal["inode", "portable"],
    cache_control: str,
) -> ResponsePlan:
    """Return the plan for a file that is older than the instant of the request, whatever that is."""
    now_ns = max(status.ctime_ns, status.mtime_ns) + 1
    representation = represent(status, component, etag_made_of, settled_before_ns=now_ns)
    return plan_download(
        "GET",
        {},
        representation,
        boundary="",
        now_s=now_ns // 1_000_000_000,
        cache_control=cache_control,
        also=known_fields(component, digests),
    )
