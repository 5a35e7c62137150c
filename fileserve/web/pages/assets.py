"""``/ui/{name}``: styles, icon and modules of the pages, read once when the application is loaded.

Styles and icon are linked with the version in their query and may be kept for a day. Modules import each other by
their bare names, so a browser asks each time whether it has the current one, and is answered 304.

``ui`` itself has what all pages share and the modules of ``/live``, ``ui/uploads`` those of uploading,
``ui/docs`` that of ``/docs``, and ``ui/vendor`` what others wrote.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files as package_files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from fileserve.semantics.conditional import Verdict, evaluate
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that the pages load."""

    content: bytes
    representation: Representation
    cache_control: str


_FORMS = {
    ".css": ("text/css", "max-age=86400"),
    ".js": ("text/javascript", "no-cache"),
    ".svg": ("image/svg+xml", "max-age=86400"),
}


def _read_all(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Asset]]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _read_all(path, f"{prefix}{path.name}/")
        elif PurePath(path.name).suffix in _FORMS:
            yield prefix + path.name, _asset(path.name, path.read_bytes())


def _asset(name: str, content: bytes) -> Asset:
    media_type, cache_control = _FORMS[PurePath(name).suffix]
    tag = EntityTag(hashlib.sha256(content).hexdigest()[:32])
    return Asset(content, Representation(len(content), tag, 0, media_type, name), cache_control)


_ASSETS = dict(_read_all(package_files("fileserve.web") / "ui"))


def modules(prefix: str = "") -> tuple[str, ...]:
    """Return the names of the modules in ``ui`` itself, or in the folder that *prefix* (``uploads/``) names."""
    beneath = (name.removeprefix(prefix) for name in _ASSETS if name.startswith(prefix))
    return tuple(sorted(prefix + name for name in beneath if name.endswith(".js") and "/" not in name))


@router.api_route("/ui/{name:path}", methods=["GET", "HEAD"])
async def asset(request: Request, name: str) -> Response:
    """Answer with one of the files that the pages load."""
    found = _ASSETS.get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    representation = found.representation
    fields = {
        "cache-control": found.cache_control,
        "etag": str(representation.etag),
        "x-content-type-options": "nosniff",
    }
    if _is_kept(request, representation):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=fields)
    return Response(found.content, media_type=representation.media_type, headers=fields)


def _is_kept(request: Request, representation: Representation) -> bool:
    """Say whether the client has it. Only its entity tag counts: these files have no date that anybody could trust."""
    asked = {name: value for name, value in request.headers.items() if name == "if-none-match"}
    return evaluate("GET", asked, representation, 0) is Verdict.NOT_MODIFIED
