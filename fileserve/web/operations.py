"""What the people who run the server ask it."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from fileserve.web.access import Action, authorize

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


# Not in the schema by itself: FastAPI gives both methods of a route the same operation id. ``openapi`` describes it.
@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def healthz(request: Request) -> Health:
    """Answer 200 for as long as the process takes requests."""
    authorize(request.scope, Action.READ)
    return Health()
