"""Who is counted as one client, wherever something is limited for each: as the server counts its connections.

Our server tells by its extension: an IPv4 address, or the /64 of an IPv6 one. Under another server it is the address.
"""

from starlette.types import Scope

__all__ = ["client_of"]


def client_of(scope: Scope) -> str | None:
    """Return what stands for the client of *scope*; ``None`` where it has no address, on a Unix socket."""
    client = scope.get("client")
    if not client:
        return None
    extension = scope.get("extensions", {}).get("fileserve", {})
    counted: str | None = extension["client"]() if "client" in extension else None
    return counted or client[0]
