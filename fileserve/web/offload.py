"""Leaving the sending to nginx: an answer that names the file instead of carrying it (``X-Accel-Redirect``).

We decide as ever, and what we decided is the answer that the client gets: nginx opens the file, sends it by itself, and
adds our fields to its own. nginx does so only where it has asked to (``X-Sendfile-Type``) and is a trusted proxy; to
anybody else the file is sent from here.

nginx opens the file by its name, a moment after us. It is told the name without links, so that it need not follow any,
and the state that we have found the file in, written as nginx itself would write it as an entity tag: where the two
differ, its configuration keeps our entity tag and digests back, and If-Range no longer holds. Our fields go to it by
other names, from which its configuration adds them: some it would copy from here even into an answer that is none of
this.
"""

from collections.abc import Mapping

from fileserve.semantics.offload import may_be_offloaded
from fileserve.semantics.plan import ResponsePlan
from fileserve.storage.names import quote_name
from fileserve.storage.reader import FileStatus, OpenFile
from fileserve.web.describe import NS_PER_S
from fileserve.web.routes import NameRequest
from fileserve.web.transfer import Transfer

__all__ = ["offloaded"]

# Policy: 501 and no content. A proxy that passes this on instead of sending the file shows an error, and not a file
# without content; and none asks the next upstream because of it.
_STATUS = 501
# Policy: a longer path, percent-encoded, would not fit into what a proxy keeps for a head, and is sent from here.
_LONGEST = 3 * 1024
_OF_NGINX = frozenset((b"content-length", b"content-range", b"last-modified", b"x-accel-buffering"))
_PREFIX = b"x-fileserve-"


def offloaded(request: NameRequest, opened: OpenFile, transfer: Transfer) -> Transfer:
    """Return the response that leaves what *transfer* does with *opened* to nginx; *transfer* where it may not."""
    location = request.site.settings.accel_redirect
    if not location or not _is_offered(request):
        return transfer
    plan = transfer.plan
    if not may_be_offloaded(request.scope["method"], request.fields, plan, request.now_s):
        return transfer
    name = request.site.root.resolved(opened)
    path = location + quote_name(name) if name else ""
    if not 0 < len(path) <= _LONGEST:
        return transfer
    told = {"x-accel-redirect": path, "x-fileserve-file": state_of(opened.status)}
    told["x-fileserve-transfer"] = request.site.tracking.offload(plan, (request, "download"))
    return Transfer(_redirecting(plan, told), opened, transfer.chunk_size)


def _is_offered(request: NameRequest) -> bool:
    is_proxied = request.scope.get("extensions", {}).get("fileserve", {}).get("is_proxied", False)
    return is_proxied and request.fields.get("x-sendfile-type") == "X-Accel-Redirect"


def _redirecting(plan: ResponsePlan, told: Mapping[str, str]) -> ResponsePlan:
    of_nginx = _OF_NGINX if plan.status == 206 else _OF_NGINX | {b"accept-ranges"}  # which it adds to a 200 alone
    fields = (
        *((_renamed(name), value) for name, value in plan.fields if name not in of_nginx),
        (b"content-length", b"0"),
        *((name.encode("ascii"), value.encode("ascii")) for name, value in told.items()),
    )
    return ResponsePlan(_STATUS, fields, (), 0)


def _renamed(name: bytes) -> bytes:
    return name if name == b"content-type" else _PREFIX + name


def state_of(status: FileStatus) -> str:
    """Return the entity tag that nginx makes for a file in this state: mtime in whole seconds, and size."""
    return f'"{status.mtime_ns // NS_PER_S:x}-{status.size:x}"'
