"""``--access-log``: one record for each response, in the logger ``fileserve.access``.

The target is told without its query, which may carry a token; what a client wrote is quoted and cut. Bytes are those of
the content that the connection has taken; the records of transfers say what reached the client. Times are seconds from
the request's head. Left out: heads that are refused before they are a request; the metrics count them.
"""

import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from fileserve.server.exchange import Exchange

__all__ = ["log_request"]

log = logging.getLogger("fileserve.access")

CHARACTERS = 512  # of a path or a user agent
_KEPT = "/%:@!$&'()*+,;=-._~"  # RFC 3986 §3.3, and what is percent-encoded already
_LINE = '%s "%s %s HTTP/%s" %s %d bytes in %.3f s, first after %s, "%s"'


def log_request(exchange: "Exchange") -> None:
    """Log the response of *exchange*, which has ended."""
    if log.isEnabledFor(logging.INFO):
        told = _told_of(exchange)
        wait = "-" if told["first_byte_s"] is None else f"{told['first_byte_s']:.3f} s"
        first = (told["client"] or "unix", told["method"], told["path"], told["http_version"], told["status"] or "-")
        log.info(_LINE, *first, told["bytes"], told["seconds"], wait, told["user_agent"] or "-", extra={"fields": told})


def _told_of(exchange: "Exchange") -> dict[str, Any]:
    scope: Any = exchange.cycle.scope
    began_s, first_s = exchange.instant.began_s, exchange.instant.first_s
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    return {
        "client": scope["client"][0] if scope["client"] else None,
        "method": scope["method"],
        "path": quote(scope["raw_path"], safe=_KEPT)[:CHARACTERS],
        "http_version": scope["http_version"],
        "status": exchange.status or None,
        "bytes": exchange.sent,
        "seconds": round(time.perf_counter() - began_s, 6),
        "first_byte_s": round(first_s - began_s, 6) if first_s else None,
        "user_agent": quote(agent, safe=_KEPT + " ?#[]{}|^`<>")[:CHARACTERS],
    }
