"""``GET /live?token=…``: the link that lets the operator in, and what stands in front of the operator's page.

The link is answered with a cookie that carries the token, and a redirect that has it no more, so that it stands
neither in the page's address nor in what other sites are told. The cookie is for this site alone, no script reads it,
and over HTTPS it goes over nothing else.
"""

from http import HTTPStatus
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from fileserve.web.access import COOKIE, Action, authorize, require_token
from fileserve.web.routes import Handler, NameRequest


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
    fields = {
        "location": f"{root_path}/live",
        "set-cookie": cookie,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }
    return Response(status_code=HTTPStatus.SEE_OTHER, headers=fields)
