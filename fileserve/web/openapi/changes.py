"""OpenAPI descriptions of the operations that change files.

Left out: MKCOL and MOVE, for which OpenAPI 3.1 has no place; the description of DELETE tells of them.
"""

from functools import partial
from typing import Any

from fileserve.web.openapi.parts import PATH, header, problems

__all__ = ["OPERATIONS", "PARENTS", "PRECONDITIONS"]

_TOLD = {
    "400": "The path is no name, a field cannot be taken, or the content is not what its digest says.",
    "401": "The server wants to know who asks.",
    "403": "Nobody may do this here, or a page of another site asked.",
    "404": "There is no such name.",
    "408": "The content arrives too slowly.",
    "409": "Something else has the name, its directory is missing, or the directory is not empty.",
    "412": "A precondition failed: the file is not the one that the client means.",
    "413": "The file is larger than the server takes.",
    "415": "The file has a content coding.",
    "422": "A parameter cannot be used.",
    "429": "This client has too many uploads at once.",
    "503": "The server takes too many uploads at once.",
    "507": "There is no space left for it.",
}
_problems = partial(problems, told=_TOLD)

PARENTS = {
    "name": "parents",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Make missing directories.",
}
PRECONDITIONS = [header(name) for name in ("If-Match", "If-None-Match", "If-Unmodified-Since")]

_FORM = {
    "type": "object",
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "existing": {"type": "string", "enum": ["refuse", "rename", "replace"]},
    },
}

OPERATIONS: dict[str, dict[str, Any]] = {
    "/sign-in": {
        "get": {
            "tags": ["pages"],
            "operationId": "sign_in",
            "summary": "Have a browser ask for name and password, and lead back to a directory's page",
            "description": "The query is the directory's path, percent-encoded.",
            "responses": {
                "303": {"description": "Known; Location is the page."},
                **_problems("400", "401", "403"),
            },
        },
    },
    "/upload/{path}": {
        "put": {
            "tags": ["changes"],
            "operationId": "upload",
            "summary": "Store a file, whole or not at all",
            "description": "Needs --upload, and --replace where the name is taken. If-None-Match: * creates only.",
            "parameters": [PATH, PARENTS, *PRECONDITIONS, header("Repr-Digest"), header("Content-Digest")],
            "requestBody": {
                "required": True,
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
            },
            "responses": {
                "201": {"description": "Stored; Location and ETag are those of the download."},
                "204": {"description": "Stored in the place of another file."},
                **_problems("400", "401", "403", "408", "409", "412", "413", "415", "422", "429", "503", "507"),
            },
        },
        "post": {
            "tags": ["changes"],
            "operationId": "upload_form",
            "summary": "Store the files of a form in a directory, all of them or none",
            "description": "Needs --upload. The field existing says what becomes of a file whose name is taken: refuse "
            "(409), rename, or replace (--replace). A client that prefers HTML is led to the directory's page.",
            "parameters": [PATH],
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}},
            "responses": {
                "201": {"description": "Stored.", "content": {"application/json": {"schema": {"type": "object"}}}},
                "303": {"description": "Stored; Location is the directory's page."},
                **_problems("400", "401", "403", "408", "409", "413", "415", "422", "429", "503", "507"),
            },
        },
    },
    "/api/files/{path}": {
        "delete": {
            "tags": ["changes"],
            "operationId": "delete",
            "summary": "Delete a file or an empty directory",
            "description": "Needs --delete. MKCOL makes a directory (--upload; ?parents those on the way, too), MOVE "
            "moves to the name under /api/files/ in Destination (--move; Overwrite: F replaces nothing). RFC 4918 §9.",
            "parameters": [PATH, *PRECONDITIONS],
            "responses": {
                "204": {"description": "Deleted."},
                **_problems("400", "401", "403", "404", "409", "412"),
            },
        }
    },
}
