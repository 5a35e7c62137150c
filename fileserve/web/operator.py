"""``GET /live?token=…``: the link that lets the operator in, and what stands in front of the operator's page.

The link is answered with a cookie that carries the token, and a page that leads on to an address that has it no more,
so that it stands neither in the page's address nor in what other sites are told. The cookie is for this site alone, no
script reads it, and over HTTPS it goes over nothing else.

Policy: a page that leads on (HTML, "Refresh") and no redirect. Where the link is clicked in a page of another site,
such as a mail, that site began the navigation, redirects included, and a SameSite=Strict cookie is not sent (RFC
6265bis §5.2). What our own page begins is of this site.
"""

from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Scope

from fileserve.web.access import COOKIE, Action, authorize, require_token
from fileserve.web.routes import Handler, NameRequest

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="0;url={live}">
<title>Live · fileserve</title>
<p>You are let in: <a href="{live}">watch the server</a>.</p>
</html>
"""
_FIELDS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def behind_link(page: Handler) -> Handler:
    """Return the handler that lets in whoever comes by the link, and shows *page* to whoever is in."""

    async def answer(request: NameRequest) -> ASGIApp:
        token = request.query.get("token")
        if token is not None:
            require_token(request.scope, token)
            return _let_in(request.scope, token)
        await authorize(request.scope, Action.OPERATE)
        return await page(request)

    return answer


def _let_in(scope: Scope, token: str) -> Response:
    root_path = scope.get("root_path", "")
    secure = "; Secure" if scope["scheme"] == "https" else ""
    cookie = f"{COOKIE}={quote(token, safe='')}; Path={root_path or '/'}; HttpOnly; SameSite=Strict{secure}"
    return HTMLResponse(_PAGE.format(live=escape(f"{root_path}/live")), headers=_FIELDS | {"set-cookie": cookie})
