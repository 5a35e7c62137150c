"""What the application is told and offered beside ASGI: the extensions in the scope of each request.

``http.response.zerocopysend`` is ASGI's own, offered on plain sockets on Linux. ``fileserve`` has these entries:

- ``now_ns``: a callable; the instant of this response in nanoseconds, which is also its Date
- ``client``: a callable; what stands for the client where clients are counted, its address or its network
- ``unsent``: a callable; bytes of the announced content that the connection has not taken yet, also in a region
- ``unacknowledged``: a callable; bytes that the peer's kernel has not taken, even at the end; 0 after a next request
- ``lost``: a callable; ``None``, or how the connection was lost: ``stalled`` (the peer took nothing) or ``left``
- ``hang_up``: a callable; ends the connection as if the client had left it
- ``leaving``: an `asyncio.Event`, set when balancers should turn away; each connection ends after its response
- ``draining``: an `asyncio.Event`, set when the server has begun to shut down; streams end themselves then
- ``is_proxied``: whether the peer is a trusted proxy, whatever it says of its client
- ``request_id``: what the request is called in logs: by the X-Request-ID of a trusted proxy, else by us
"""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fileserve.server.exchange import Exchange

__all__ = ["ZEROCOPYSEND", "extensions_of"]

ZEROCOPYSEND = "http.response.zerocopysend"


def extensions_of(exchange: "Exchange") -> dict[str, dict[object, object]]:
    """Return the extensions for the scope of *exchange*."""
    connection = exchange.connection
    own: dict[object, object] = {
        "now_ns": exchange.instant,
        "client": exchange.client,
        "unsent": exchange.unsent,
        "unacknowledged": partial(connection.wire.unacknowledged, exchange.number),
        "lost": connection.wire.loss,
        "request_id": exchange.request_id,
        "hang_up": exchange.hang_up,
        "leaving": connection.edge.leaving,
        "draining": connection.edge.draining,
        "is_proxied": connection.is_proxied,
    }
    return {"fileserve": own, ZEROCOPYSEND: {}} if connection.wire.offers_zero_copy else {"fileserve": own}
