"""``GET /live``: the operator's page, which shows transfers, log, a followed file, a checksum and the chat as they go.

The page is a frame and tells nothing by itself; ``ui/live.js`` fills it from one stream of ``/events`` and from
``/chat``. All addresses in it are relative, so it works beneath any root path. Its policy allows the page's own
modules, style and streams, and no inline script or style.
"""

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

import fileserve
from fileserve.web.access import Action, authorize
from fileserve.web.assets import MODULES
from fileserve.web.pages import FIELDS, templates
from fileserve.web.site import site_of

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@router.api_route("/live", methods=["GET", "HEAD"])
async def live(request: Request) -> Response:
    """Answer with the page, if the operator asks."""
    authorize(request.scope, Action.OPERATE)
    page = templates.get_template("live.html").render(
        version=fileserve.__version__, modules=MODULES, chat=site_of(request.scope).settings.chat
    )
    return HTMLResponse(page, headers=FIELDS | {"content-security-policy": _POLICY})
