"""``/ui/{name}``: the style and the icon of the pages, read once when the application is loaded."""

from http import HTTPStatus
from importlib.resources import files as package_files

from fastapi import APIRouter, HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_FOLDER = package_files("fileserve.web") / "ui"
_MEDIA_TYPES = {"style.css": "text/css", "icon.svg": "image/svg+xml"}
_CONTENTS = {name: (_FOLDER / name).read_bytes() for name in _MEDIA_TYPES}
_FIELDS = {"cache-control": "max-age=86400", "x-content-type-options": "nosniff"}  # the pages' links carry the version


@router.api_route("/ui/{name}", methods=["GET", "HEAD"])
async def asset(name: str) -> Response:
    """Answer with one of the files that the pages link to."""
    if name not in _CONTENTS:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Response(_CONTENTS[name], media_type=_MEDIA_TYPES[name], headers=_FIELDS)
