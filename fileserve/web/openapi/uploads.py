"""OpenAPI descriptions of ``/uploads``: the requests of tus 1.0.0."""

from functools import partial
from typing import Any

from fileserve.web.openapi.changes import PARENTS, PRECONDITIONS
from fileserve.web.openapi.parts import header, problems

__all__ = ["UPLOADS"]

_TOLD = {
    "400": "A field cannot be taken.",
    "401": "The server wants to know who asks.",
    "403": "Nobody may do this here, or a page of another site asked.",
    "404": "There is no such upload; it may have expired, or is somebody else's.",
    "408": "The content arrives too slowly.",
    "409": "The upload goes on at another offset, its directory is missing, or its name is taken.",
    "412": "Another version of the protocol, or a precondition failed.",
    "413": "The file is larger than the server takes, or there is more of it than was said.",
    "415": "The content has another type than application/offset+octet-stream.",
    "422": "A parameter cannot be used.",
    "423": "Somebody else writes to it just now, or to a part of it.",
    "429": "This client has too many uploads, or as many are begun as the server takes (--upload-sessions).",
    "460": "The content is not what its checksum says; none of it is kept.",
    "503": "The server takes too many uploads at once.",
    "507": "There is no space left for it.",
}
_problems = partial(problems, told=_TOLD)

_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_BYTES = {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_SPOKEN = header("Tus-Resumable", required=True)

UPLOADS: dict[str, dict[str, Any]] = {
    "/uploads": {
        "options": {
            "tags": ["changes"],
            "operationId": "upload_capabilities",
            "summary": "Tell the version, the extensions and the limits of resumable uploads (tus 1.0.0)",
            "responses": {"204": {"description": "Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm."}},
        },
        "post": {
            "tags": ["changes"],
            "operationId": "upload_begin",
            "summary": "Begin an upload that may take several requests, or put parts together",
            "description": "Needs --upload. Upload-Metadata has the filename, and may have a dir. Preconditions are "
            "those of PUT, and hold when the file gets its name, too.",
            "parameters": [
                _SPOKEN,
                *map(header, ("Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat")),
                *map(header, ("Upload-Checksum", "Content-Digest")),
                *PRECONDITIONS,
                PARENTS,
            ],
            "requestBody": {"required": False, "content": _BYTES},
            "responses": {
                "201": {"description": "Location is where the bytes go; Content-Location the file, where it is whole."},
                **_problems(*_TOLD),
            },
        },
    },
    "/uploads/{id}": {
        "head": {
            "tags": ["changes"],
            "operationId": "upload_offset",
            "summary": "Tell how much of an upload is on the disk",
            "parameters": [_ID, _SPOKEN],
            "responses": {
                "200": {"description": "Upload-Offset, and Upload-Length where it is known."},
                **_problems("401", "403", "404", "409", "412", "423", "429", "503", "507"),
            },
        },
        "patch": {
            "tags": ["changes"],
            "operationId": "upload_append",
            "summary": "Append the next bytes; with the last one the file gets its name",
            "parameters": [
                _ID,
                _SPOKEN,
                header("Upload-Offset", required=True),
                *map(header, ("Upload-Checksum", "Content-Digest", "Upload-Length")),
            ],
            "requestBody": {"required": True, "content": _BYTES},
            "responses": {
                "204": {"description": "Upload-Offset; Content-Location and ETag once it is whole."},
                **_problems(*(status for status in _TOLD if status != "422")),
            },
        },
        "delete": {
            "tags": ["changes"],
            "operationId": "upload_terminate",
            "summary": "End an upload and delete what is there of it",
            "parameters": [_ID, _SPOKEN],
            "responses": {
                "204": {"description": "Ended."},
                **_problems("401", "403", "404", "412", "423", "429", "503"),
            },
        },
    },
}
