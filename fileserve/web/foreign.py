"""Requests that a page of another site had a browser send, and how they are told from others.

A browser tells by Sec-Fetch-Site (W3C Fetch Metadata §2.4) and Origin (RFC 6454 §7); other clients send neither. A page
can also have its own name point to this machine and is then no other site to the browser (DNS rebinding): all that
tells is the name in Host.
"""

import ipaddress
import socket
from http import HTTPStatus

from starlette.types import Scope

from fileserve.semantics.fields import combine_fields
from fileserve.web.problems import Problem
from fileserve.web.site import site_of

_FORWARDED = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"))
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def refuse_cross_site(scope: Scope) -> None:
    """Return if no page of another site had this request sent; raise the 403 ``Problem`` otherwise.

    Policy: of Origin only host and port are compared with Host. The scheme that a proxy speaks with us is not always
    the one that it speaks with the browser. A proxy has to pass Host on.
    """
    fields = combine_fields(scope["headers"])
    is_foreign = "origin" in fields and not _is_own(fields["origin"].lower(), fields.get("host", "").lower())
    if is_foreign or fields.get("sec-fetch-site") == "cross-site":
        raise Problem(HTTPStatus.FORBIDDEN, "A page of another site sent this request.")


def refuse_rebound(scope: Scope) -> None:
    """Raise the 403 ``Problem`` if the request came to this machine's own address under a name that is not its own.

    Policy: through a proxy that is trusted, any name may be the site's. What a request says of proxies counts for
    nothing here: a page can write X-Forwarded-For. Others come to another address, and by names that nobody here knows.
    The name of the machine, under which `serve` prints its links, is its own: no page of others is at that.
    """
    server = scope.get("server")
    if not server or not is_loopback(server[0]) or _is_trusted(scope):
        return
    if names_loopback(scope) or _name_of(scope) == socket.gethostname().lower():
        return
    raise Problem(
        HTTPStatus.FORBIDDEN,
        "On this machine, questions are taken under the name localhost or its own: a page of another site can have "
        "a name of that site point here. Behind a proxy, name it with --trusted-proxies.",
    )


def _is_trusted(scope: Scope) -> bool:
    """Say whether a trusted proxy sent it. Under another server than ours nobody knows: there, whether there is one."""
    extension = scope.get("extensions", {}).get("fileserve", {})
    return bool(extension["is_proxied"] if "is_proxied" in extension else site_of(scope).settings.trusted_proxies)


def calls_itself_proxied(scope: Scope) -> bool:
    """Say whether a proxy passed the request on, and says so."""
    return any(name in _FORWARDED for name, _ in scope["headers"])


def names_loopback(scope: Scope) -> bool:
    """Say whether Host is a name of this machine for itself."""
    name = _name_of(scope)
    return name == "localhost" or is_loopback(name.strip("[]"))


def _name_of(scope: Scope) -> str:
    """Return the name in Host, without a port."""
    host = combine_fields(scope["headers"]).get("host", "localhost").lower()
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host


def is_loopback(name: str) -> bool:
    """Say whether *name* is an address of this machine's own, which a socket for both families writes as IPv6."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # as a socket for both shows an IPv4 client
    return (mapped or address).is_loopback


def _is_own(origin: str, host: str) -> bool:
    """Say whether *origin* is that of *host*, where either may name the scheme's default port."""
    scheme, separator, authority = origin.partition("://")
    default_port = _DEFAULT_PORTS.get(scheme, "")
    return bool(separator and host) and authority.removesuffix(default_port) == host.removesuffix(default_port)
