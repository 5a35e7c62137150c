"""``GET /docs``: the description of the API (``/openapi.json``) as Swagger UI shows it.

Swagger UI is 1.9 MB and comes from a CDN. Its script runs in the site's own origin, where a person may be known, so it
is one version, and a browser runs it only if it has the digest that stands here (W3C Subresource Integrity). The
page's policy allows these two files of others and no more; ``ui/docs/page.js`` starts it, and says if it did not come.

``ui/vendor/README.md`` says how version and digests are renewed.
"""

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

import fileserve
from fileserve.web.pages.browse import FIELDS, templates

SWAGGER_UI = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file of others that the page loads, and the digest that it must have."""

    url: str
    integrity: str


_SCRIPT = Foreign(
    SWAGGER_UI + "swagger-ui-bundle.js", "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
)
_STYLE = Foreign(
    SWAGGER_UI + "swagger-ui.css", "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"
)
_POLICY = (
    f"default-src 'none'; script-src 'self' {_SCRIPT.url}; style-src {_STYLE.url}; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs() -> Response:
    """Answer with the page. All addresses of ours in it are relative, so it works beneath any root path."""
    page = templates.get_template("docs.html").render(version=fileserve.__version__, script=_SCRIPT, style=_STYLE)
    return HTMLResponse(page, headers=FIELDS | {"content-security-policy": _POLICY})
