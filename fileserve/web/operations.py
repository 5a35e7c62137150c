"""What the people who run the server ask it."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from fileserve.web.access import Action, authorize

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


# Not in the schema by themselves: FastAPI gives both methods of a route one operation id. ``openapi`` describes them.
@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def healthz(request: Request) -> Health:
    """Answer 200 for as long as the process takes requests."""
    await authorize(request.scope, Action.PROBE)
    return Health()


@router.api_route("/readyz", methods=["GET", "HEAD"], include_in_schema=False)
async def readyz(request: Request) -> Health:
    """Answer 503 once the server is about to end, so that a balancer sends new clients elsewhere."""
    await authorize(request.scope, Action.PROBE)
    server = request.scope.get("extensions", {}).get("fileserve")
    if server is not None and server["leaving"].is_set():
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to end.")
    return Health()
