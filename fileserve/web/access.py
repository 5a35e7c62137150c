"""The one question of rights, asked in front of every route that tells of the files or of the server, or changes them.

The style of the pages and the description of the API (``/ui``, ``/docs``, ``/openapi.json``) are the same for
everybody and ask nobody. The answer is known before a byte of a request's content is read.

Who downloads what, and what the server logs, is for its operator, who shows a token: as a bearer token (RFC 6750
§2.1), or in the cookie that the operator's link sets (``operator``). An address proves nothing: behind a proxy,
everybody has the proxy's. The metrics, which tell of nobody, are for this machine, or have a token of their own.

Requests that change or start something are asked one thing more: whether a page of another site had them sent
(``foreign``).

Policy: what is served without ``private`` on a loopback address can be read by any program of this machine, and by a
web page that has its own name point here (DNS rebinding): files are for everybody then, under any name, and a name in
/etc/hosts or behind a plain TCP proxy is as good as another. ``private`` with ``auth`` or ``token`` prevents it. What
changes files, costs the operator something (``/chat``) or tells of the server (``/metrics``) asks for a name as well.
"""

import hmac
from collections.abc import Iterator
from enum import Enum
from http import HTTPStatus
from urllib.parse import unquote

from starlette.types import Scope

from fileserve.semantics.fields import combine_fields
from fileserve.web.clients import client_of
from fileserve.web.credentials import parse_basic
from fileserve.web.foreign import calls_itself_proxied, is_loopback, names_loopback, refuse_cross_site, refuse_rebound
from fileserve.web.problems import Problem
from fileserve.web.site import Site, site_of

COOKIE = "fileserve_operator"


class Action(Enum):
    """What a request wants to do. The values of those that change files are the settings that switch them on."""

    PROBE = "probe"
    READ = "read"
    ASK = "ask"
    OPERATE = "operate"
    MEASURE = "measure"
    UPLOAD = "upload"
    REPLACE = "replace"
    DELETE = "delete"
    MOVE = "move"

    def __init__(self, setting: str) -> None:
        self.changes = setting not in ("probe", "read", "ask", "operate", "measure")  # files


async def authorize(scope: Scope, action: Action) -> None:
    """Return if the client behind *scope* may do *action*; raise the ``Problem`` (401, 403) that says why not.

    Policy: everybody may read what is served, unless it is private, and may ask whether the server is up. Who is known
    may do all that the settings switch on; the operator, who sees what others read, may read it too. Where nobody can
    be known, whoever is on this machine may; the command refuses to listen so for others.
    """
    is_open = action is Action.READ and not site_of(scope).settings.private  # in front: most requests
    if is_open or action is Action.PROBE:
        return
    if action is Action.ASK:
        return await _refuse_foreign_question(scope)
    if action is Action.OPERATE:
        return require_token(scope, *_shown_tokens(scope))
    if action is Action.MEASURE:
        return _require_scraper(scope)
    site = site_of(scope)
    if action.changes:
        refuse_cross_site(scope)
        if not getattr(site.settings, action.value):
            raise Problem(HTTPStatus.FORBIDDEN, f"Nobody may {action.value} here; it is switched off.")
        return await _ask_who(scope, site)
    if not _is_token(site, *_shown_tokens(scope)):
        await _identify(scope, site)


async def _refuse_foreign_question(scope: Scope) -> None:
    """Return if the client may ask what an answerer, perhaps a paid one, is to answer: who may read may, by own pages.

    Policy: whoever shows what a page under a rebound name does not have, which is a password, is not asked for a name.
    """
    await authorize(scope, Action.READ)
    refuse_cross_site(scope)
    if not (site_of(scope).settings.private or is_operator(scope)):
        refuse_rebound(scope)


async def may(scope: Scope, action: Action) -> bool:
    """Say whether the client may do *action*, which changes files, and ask nobody: for what a page offers.

    Who comes by a link of another site is offered the same; it is the change itself that such a page may not send.
    """
    site = site_of(scope)
    if not getattr(site.settings, action.value):
        return False
    try:
        await _ask_who(scope, site)
    except Problem:
        return False
    return True


def require_token(scope: Scope, *shown: str) -> None:
    """Return if one of the *shown* is the operator's token; raise the 401 ``Problem`` otherwise."""
    site = site_of(scope)
    if not site.settings.operator_token:
        raise _refusal(
            "This server has no operator's token, so nobody may see this: set FILESERVE_OPERATOR_TOKEN, or start it "
            "with `fileserve serve`, which makes one."
        )
    if not _is_token(site, *shown):
        raise _refusal(
            "This is for the operator: open the link that the server printed at its start, or send its token as "
            "`Authorization: Bearer`."
        )


def _require_scraper(scope: Scope) -> None:
    """Return if the client may see the metrics.

    Policy: where there is a token for them, everybody shows it, or the operator's: a proxy that passes plain TCP on
    makes everyone look like this machine, and cannot be told from it. Where there is none, only this machine may ask,
    under a name of its own (DNS rebinding), and not through a proxy that says so, nor by a Unix socket.
    """
    token, shown = site_of(scope).settings.metrics_token, tuple(_shown_tokens(scope))
    if is_operator(scope) or (token and any(_is_same(one, token) for one in shown)):
        return
    if token:
        raise _refusal("The metrics need the token of --metrics-token, as `Authorization: Bearer`.")
    client = scope.get("client")
    if calls_itself_proxied(scope) or not client or not is_loopback(client[0]) or not names_loopback(scope):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "The metrics are for this machine alone, and not through a proxy; --metrics-token lets others ask.",
        )


def is_operator(scope: Scope) -> bool:
    """Return whether the client shows the operator's token."""
    return _is_token(site_of(scope), *_shown_tokens(scope))


def _is_token(site: Site, *shown: str) -> bool:
    token = site.settings.operator_token
    return bool(token) and any(_is_same(one, token) for one in shown)


def _is_same(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


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


async def _ask_who(scope: Scope, site: Site) -> None:
    """Return if whoever asks may change what the settings switch on."""
    if site.credentials.exist:
        return await _identify(scope, site)
    _refuse_others(scope)
    _refuse_rebound(scope)


async def _identify(scope: Scope, site: Site) -> None:
    authorization = combine_fields(scope["headers"]).get("authorization", "")
    if not await site.credentials.accept(authorization, client_of(scope)):
        fields = {"www-authenticate": site.credentials.challenge}
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "This needs the name and password, or the token, that the server was given.",
            fields=fields,
        )
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "basic" and (basic := parse_basic(rest.strip(" "))):
        scope["fileserve.user"] = basic[0]  # by which transfers are told apart


def _refuse_others(scope: Scope) -> None:
    """Refuse whoever is not on this machine: another server than ours may listen wherever it likes.

    Policy: who has no address, on a Unix socket, is refused as well. A proxy is what listens behind such a socket, and
    speaks for everybody. So are the made-up addresses of test clients.
    """
    client = scope.get("client")
    if not client or not is_loopback(client[0]):
        detail = "Without a password or a token, changes are taken from this machine only; --auth and --token set them."
        raise Problem(HTTPStatus.FORBIDDEN, detail)


def _refuse_rebound(scope: Scope) -> None:
    """Refuse a browser's request under a name that is not this machine's own.

    A page can have its own name point to 127.0.0.1 and is then no other site (DNS rebinding); where no password is
    asked for, the name in Host is all that tells. Behind a proxy not even that: it may write a Host of its own.
    """
    if calls_itself_proxied(scope):
        raise Problem(HTTPStatus.FORBIDDEN, "Without a password, no changes are taken through a proxy.")
    if not names_loopback(scope):
        raise Problem(HTTPStatus.FORBIDDEN, "Without a password, changes are taken under the name localhost only.")
