"""Who is counted, and how many of what each one has.

A client is known by its address: of the peer, or, where the peer is a trusted proxy, of the last hop in X-Forwarded-For
that is not one. Connections of a trusted proxy belong to nobody in particular and are not counted; the requests in them
are.

Policy: an IPv6 client is counted by its /64, because that is what one subscriber gets and can change addresses within;
an IPv4 address that a dual-stack socket shows as ``::ffff:a.b.c.d`` is counted as the IPv4 address that it is.

Left out: names, user agents, tokens. The Forwarded field (RFC 7239) is not read: the proxies in use write
X-Forwarded-For.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from uvicorn._types import HTTPScope

UNIX_PEERS = "unix:"
_CLIENT_PREFIX_BITS = 64
_REQUEST_ID = re.compile(rb"[0-9A-Za-z._:/+=@-]{1,128}")  # nginx's $request_id, UUIDs, trace ids, base64
_ADDRESS_CHARACTERS = 255  # more is no address, whatever port and zone it has

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ticket:
    """One thing that a client holds."""

    __slots__ = ("_client", "_tally")

    def __init__(self, tally: "Tally", client: str | None) -> None:
        self._tally = tally
        self._client = client

    def give_back(self) -> None:
        """Count one less for the client. May be called again."""
        if self._client is not None:
            self._tally.give_back(self._client)
            self._client = None


class Tally:
    """How many things each client holds, with a limit for each; ``None`` counts nothing."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._held: Counter[str] = Counter()
        self._uncounted = Ticket(self, None)

    def take(self, client: str | None) -> Ticket | None:
        """Count one more for *client*; ``None`` where the limit forbids it. Who cannot be told apart is not counted."""
        if self.limit is None or client is None:
            return self._uncounted
        if self._held[client] >= self.limit:
            return None
        self._held[client] += 1
        return Ticket(self, client)

    def give_back(self, client: str) -> None:
        """Count one less for *client*. A client that holds nothing leaves no trace."""
        self._held[client] -= 1
        if self._held[client] <= 0:
            del self._held[client]

    def __len__(self) -> int:
        return len(self._held)


class Proxies:
    """The proxies whose word is taken for who their client is, and how it reached them."""

    def __init__(self, trusted: Iterable[str]) -> None:
        """Take addresses, networks and ``unix:``.

        Raises:
            ValueError: something is neither.
        """
        names = set(trusted)
        self._unix = UNIX_PEERS in names
        self._networks = [ipaddress.ip_network(name, strict=False) for name in sorted(names - {UNIX_PEERS})]

    def trust(self, peer: str | None) -> bool:
        """Tell whether *peer* is a trusted proxy; ``None`` is a peer without an address, on a Unix socket."""
        if peer is None:
            return self._unix
        address = _parse(peer)
        return address is not None and any(address in network for network in self._networks)

    def resolve(self, scope: HTTPScope) -> bytes | None:
        """Put the client and the scheme that a trusted proxy forwards into *scope*, in place of the proxy's own.

        Return the request's id where the proxy gave it one, in X-Request-ID, that is well-formed. The hops of
        X-Forwarded-For are read from the right, each believed as long as the one that wrote it is trusted.
        """
        peer = scope["client"][0] if scope["client"] else None
        if not self.trust(peer):
            return None
        request_id = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-proto" and value in (b"http", b"https"):
                scope["scheme"] = "https" if value == b"https" else "http"
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value
        hop = self._client_of(peer, _forwarded_for(scope["headers"]))
        if hop is not None and hop != peer:
            scope["client"] = (hop, 0)  # its port is not known
        return request_id

    def _client_of(self, peer: str | None, hops: list[str]) -> str | None:
        while hops and self.trust(peer):
            address = _parse(hops.pop())
            peer = str(address) if address is not None else None
            if address is None:
                break  # what is no address cannot be judged, nor what stands before it
        return peer


def key_of(peer: str | None) -> str | None:
    """Return what stands for the address *peer* when clients are counted; ``None`` where it is none."""
    address = _parse(peer) if peer is not None else None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, _CLIENT_PREFIX_BITS), strict=False))
    return str(address) if address is not None else None


def _forwarded_for(fields: Iterable[tuple[bytes, bytes]]) -> list[str]:
    values = [value.decode("latin-1") for name, value in fields if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",") if hop.strip()]


def _parse(text: str) -> Address | None:
    """Return the address in *text*, which may carry a port, brackets or a zone. What is too long enters no cache."""
    return _parse_short(text) if len(text) <= _ADDRESS_CHARACTERS else None


@lru_cache(maxsize=1024)
def _parse_short(text: str) -> Address | None:
    host = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
