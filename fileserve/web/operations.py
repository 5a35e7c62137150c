"""What the people and programs that run the server ask it."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Scope

from fileserve.web.access import Action, authorize
from fileserve.web.metrics.telling import metrics
from fileserve.web.problems import Problem
from fileserve.web.readiness import OK
from fileserve.web.site import site_of

__all__ = ["Health", "ReadinessDocument", "router"]

router = APIRouter(tags=["operations"])
LEAVING = "The server is about to end, and finishes what is under way; send new clients to another one."


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessDocument(BaseModel):
    """The server can do its work; each check says ``ok``."""

    status: Literal["ok"] = "ok"
    checks: dict[str, str]


# Not in the schema by themselves: FastAPI gives both methods of a route one operation id. ``openapi`` describes them.
router.add_api_route("/metrics", metrics, methods=["GET", "HEAD"], include_in_schema=False)


@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def healthz(request: Request) -> Health:
    """Answer 200 for as long as the process takes requests."""
    await authorize(request.scope, Action.PROBE)
    return Health()


@router.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
async def readyz(request: Request) -> Response:
    """Answer 503 when new clients should go elsewhere: the server is about to end, or cannot do its work."""
    await authorize(request.scope, Action.PROBE)
    checks = {"end": LEAVING} if _is_leaving(request.scope) else await site_of(request.scope).stores.readiness.answers()
    wrong = [said for said in checks.values() if said != OK]
    if wrong:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, " ".join(wrong), members={"checks": checks})
    return JSONResponse({"status": OK, "checks": checks}, headers={"cache-control": "no-store"})


def _is_leaving(scope: Scope) -> bool:
    server = scope.get("extensions", {}).get("fileserve")
    return server is not None and server["leaving"].is_set()
