"""The one question of rights, asked in front of every route that tells of the files or of the server.

The style of the pages and the description of the API (``/ui``, ``/docs``, ``/openapi.json``) are the same for
everybody and ask nobody.

Who downloads what, and what the server logs, is for its operator, who shows a token: as a bearer token (RFC 6750
§2.1), or in the cookie that the operator's link sets (``operator``). An address proves nothing: behind a proxy,
everybody has the proxy's.

Requests that change or start something are asked one thing more: whether a page of another site had them sent. A
browser tells by Sec-Fetch-Site (W3C Fetch Metadata §2.4) and Origin (RFC 6454 §7); other clients send neither.
"""

import hmac
from collections.abc import Iterator
from enum import Enum
from http import HTTPStatus
from urllib.parse import unquote

from starlette.types import Scope

from fileserve.semantics.fields import combine_fields
from fileserve.web.problems import Problem
from fileserve.web.site import site_of

COOKIE = "fileserve_operator"

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Action(Enum):
    """What a request wants to do with a name."""

    READ = "read"
    OPERATE = "operate"


def authorize(scope: Scope, action: Action) -> None:
    """Return if the client behind *scope* may do *action*; raise the 401 ``Problem`` otherwise.

    Policy: everybody may read what is served; who wants less puts fileserve on a loopback address or behind a proxy
    that asks.
    """
    if action is Action.OPERATE:
        require_token(scope, *_shown_tokens(scope))


def require_token(scope: Scope, *shown: str) -> None:
    """Return if one of the *shown* is the operator's token; raise the 401 ``Problem`` otherwise."""
    token = site_of(scope).settings.operator_token
    if not token:
        raise _refusal(
            "This server has no operator's token, so nobody may see this: set FILESERVE_OPERATOR_TOKEN, or start it "
            "with `fileserve serve`, which makes one."
        )
    if not any(hmac.compare_digest(one.encode(), token.encode()) for one in shown):
        raise _refusal(
            "This is for the operator: open the link that the server printed at its start, or send its token as "
            "`Authorization: Bearer`."
        )


def _refusal(detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, fields={"www-authenticate": "Bearer"})


def _shown_tokens(scope: Scope) -> Iterator[str]:
    """Return what the client shows as a token, by the Authorization field and by cookies (RFC 6265 §5.4)."""
    scheme, _, credentials = combine_fields(scope["headers"]).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield credentials.strip(" ")
    cookies = b";".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
    for cookie in cookies.split(";"):
        name, _, value = cookie.strip(" ").partition("=")
        if name == COOKIE:
            yield unquote(value)


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
