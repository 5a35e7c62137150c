"""``GET /live``: the operator's page, which shows transfers, log, a followed file, a checksum and the chat as they go.

The page is a frame and tells nothing by itself; ``ui/live.js`` fills it from one stream of ``/events`` and from
``/chat``. All addresses in it are relative, so it works beneath any root path. Its policy allows the page's own
modules, style and streams, and no inline script or style.

Who may see it is asked in front of it, by ``operator``.
"""

from starlette.responses import HTMLResponse
from starlette.types import ASGIApp

import fileserve
from fileserve.storage.errors import NotFound
from fileserve.web.pages.assets import modules
from fileserve.web.pages.browse import ACTIVE, FIELDS, templates
from fileserve.web.routes import NameRequest, site_path


async def live(request: NameRequest) -> ASGIApp:
    """Answer with the page. With a slash at its end its relative addresses would lead elsewhere."""
    if request.name or site_path(request.scope).endswith(b"/"):
        raise NotFound
    page = templates.get_template("live.html").render(
        version=fileserve.__version__, modules=modules(), chat=request.site.settings.chat
    )
    return HTMLResponse(page, headers=FIELDS | {"content-security-policy": ACTIVE})
