"""The one question of rights, asked in front of every route that tells of the files or of the server.

The style of the pages and the description of the API (``/ui``, ``/docs``, ``/openapi.json``) are the same for
everybody and ask nobody.

Requests that change or start something are asked one thing more: whether a page of another site had them sent. A
browser tells by Sec-Fetch-Site (W3C Fetch Metadata §2.4) and Origin (RFC 6454 §7); other clients send neither.
"""

from enum import Enum
from http import HTTPStatus

from starlette.types import Scope

from fileserve.semantics.fields import combine_fields
from fileserve.web.problems import Problem

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Action(Enum):
    """What a request wants to do with a name."""

    READ = "read"


def authorize(scope: Scope, action: Action) -> None:
    """Return if the client behind *scope* may do *action*.

    Policy: everybody may read what is served; who wants less puts fileserve on a loopback address or behind a proxy
    that asks.
    """


def refuse_cross_site(scope: Scope) -> None:
    """Return if no page of another site had this request sent; raise the 403 ``Problem`` otherwise.

    Policy: of Origin only host and port are compared with Host. The scheme that a proxy speaks with us is not always
    the one that it speaks with the browser. A proxy has to pass Host on.
    """
    fields = combine_fields(scope["headers"])
    is_foreign = "origin" in fields and not _is_own(fields["origin"].lower(), fields.get("host", "").lower())
    if is_foreign or fields.get("sec-fetch-site") == "cross-site":
        raise Problem(HTTPStatus.FORBIDDEN, "A page of another site sent this request.")


def _is_own(origin: str, host: str) -> bool:
    """Say whether *origin* is that of *host*, where either may name the scheme's default port."""
    scheme, separator, authority = origin.partition("://")
    default_port = _DEFAULT_PORTS.get(scheme, "")
    return bool(separator and host) and authority.removesuffix(default_port) == host.removesuffix(default_port)
