"""OpenAPI descriptions of the routes that the router does not see, or would describe wrongly."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from fileserve.web.files import PAGE_SIZE, DirectoryInfo, FileInfo
from fileserve.web.openapi.events import event_paths
from fileserve.web.openapi.parts import PATH, PRIVATE, REFERENCE, header, problem, problems, query, response
from fileserve.web.operations import Health, ReadinessDocument

_PROBLEM = {
    "title": "Problem",
    "description": "A problem document, RFC 9457.",
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "By which the server's log knows the request."},
    },
    "required": ["title", "status", "detail"],
}
_MODELS = (FileInfo, DirectoryInfo, Health, ReadinessDocument)


def describe_routes(app: FastAPI, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Make the OpenAPI document of *app* tell of all routes. It is made when first asked for, and once.

    *changes* are the operations that change files, by path and method.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _, schemas = models_json_schema([(model, "serialization") for model in _MODELS], ref_template=REFERENCE)
            document["paths"].update(_paths())
            for path, operations in changes.items():
                document["paths"].setdefault(path, {}).update(operations)
            document.setdefault("components", {}).setdefault("schemas", {}).update(
                schemas["$defs"] | {"Problem": _PROBLEM}
            )
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _paths() -> dict[str, Any]:
    paths = {
        "/api/files/{path}": _files(),
        "/checksum/{path}": _checksum(),
        **event_paths(),
        "/": _browse("home", []),
        "/browse/{path}/": _browse("browse", [PATH]),
        "/live": _live(),
        "/healthz": _health("healthz", "Tell that the process answers", "Health"),
        "/readyz": _health("readyz", "Tell whether to send new clients here", "ReadinessDocument", "503"),
        "/metrics": _metrics(),
    }
    heads = {path: operation | {"operationId": operation["operationId"] + "_head"} for path, operation in paths.items()}
    documented = {path: {"get": operation, "head": heads[path]} for path, operation in paths.items()}
    for path, (tag, operation, parameters) in _BYTES.items():
        documented[path] = {
            "get": _bytes(tag, operation, parameters, with_content=True),
            "head": _bytes(tag, operation + "_head", parameters, with_content=False),
        }
    return documented


def _bytes(tag: str, operation: str, parameters: list[dict[str, Any]], *, with_content: bool) -> dict[str, Any]:
    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}} if with_content else None
    ranged = {"206": response("The ranges asked for; several as multipart/byteranges.", content)} if content else {}
    return {
        "tags": [tag],
        "operationId": operation,
        "summary": "Download, whole or in ranges" if content else "Tell what a download would announce",
        "description": _SIDECARS if tag == "files" else "Patterns are compared with paths below the directory.",
        "parameters": [
            *parameters,
            *(header(name) for name in _REQUEST_FIELDS if content or name not in ("Range", "If-Range")),
        ],
        "responses": {
            "200": response("The whole.", content),
            **ranged,
            "304": {"description": "The client's copy is current."},
            "412": {"description": "A precondition failed: the file is not the one that the client means."},
            **({"416": {"description": "No range is satisfiable; Content-Range tells the length."}} if content else {}),
            **PRIVATE,
            **problems("400", "403", "404", *(["422"] if tag == "files" else []), "503"),
        },
    }


def _checksum() -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "tags": ["integrity"],
        "operationId": "checksum",
        "summary": "Tell the SHA-256 of a file, as sha256sum -c takes it",
        "description": "Lines that begin with # tell the progress while it is computed. The digests of a directory are "
        "those of {directory}/SHA256SUMS.",
        "parameters": [PATH],
        "responses": {
            "200": response("The digest, after its progress where it is not known yet.", content),
            "206": response("A range of a digest that is known.", content),
            "304": {"description": "The client's copy is current."},
            "412": {"description": "A precondition failed."},
            "416": {"description": "No range is satisfiable."},
            **PRIVATE,
            **problems("400", "403", "404", "503"),
        },
    }


def _files() -> dict[str, Any]:
    schema = {"oneOf": [{"$ref": REFERENCE.format(model=model)} for model in ("DirectoryInfo", "FileInfo")]}
    return {
        "tags": ["files"],
        "operationId": "files",
        "summary": "List a directory, or describe a file",
        "parameters": [PATH, *_PAGE_PARAMETERS],
        "responses": {
            "200": response("The listing or the description.", {"application/json": {"schema": schema}}),
            **PRIVATE,
            **problems("400", "403", "404", "422", "503"),
        },
    }


def _browse(operation: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "tags": ["pages"],
        "operationId": operation,
        "summary": "The page of a directory",
        "parameters": [*parameters, *_PAGE_PARAMETERS],
        "responses": {
            "200": response("The page.", {"text/html": {"schema": {"type": "string"}}}),
            "307": {"description": "The trailing slash was missing."},
            **PRIVATE,
            **problems("400", "403", "404", "422", "503"),
        },
    }


def _live() -> dict[str, Any]:
    token = query("token", {"type": "string"}, "The operator's token: sets the cookie, and leads on to the page.")
    return {
        "tags": ["pages"],
        "operationId": "live",
        "summary": "The operator's page: transfers, log, a followed file, a checksum and the chat, as they go",
        "parameters": [token],
        "responses": {
            "200": response(
                "The page; with a token that is right, one that leads to it, and the cookie.",
                {"text/html": {"schema": {"type": "string"}}},
            ),
            **problems("401"),
        },
    }


def _metrics() -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "tags": ["operations"],
        "operationId": "metrics",
        "summary": "Tell what all workers have counted, as Prometheus reads it",
        "responses": {
            "200": response("The metrics.", content),
            **problem("401", "The metrics need the token of --metrics-token, or the operator's."),
            **problem("403", "Without a token, the metrics are for this machine alone, and not through a proxy."),
        },
    }


def _health(operation: str, summary: str, model: str, *statuses: str) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(model=model)}
    return {
        "tags": ["operations"],
        "operationId": operation,
        "summary": summary,
        "responses": {"200": response("Yes.", {"application/json": {"schema": schema}}), **problems(*statuses)},
    }


_DISPOSITION = query(
    "disposition", {"type": "string", "enum": ["attachment", "inline"], "default": "attachment"}, "Save or view."
)
_PATTERNS = [
    query(name, {"type": "array", "items": {"type": "string"}}, f"Glob patterns of what to {verb}.")
    for name, verb in (("include", "take"), ("exclude", "leave out"))
]
_SIDECARS = (
    "Beside each file lie `{path}.sha256`, its digest as sha256sum writes it, and `{path}.meta4`, its Metalink: 503 "
    "with Retry-After until they are computed. Want-Repr-Digest and Want-Digest are waited for up to 32 MiB, "
    "Want-Content-Digest is answered up to 1 MiB."
)
_WANTS = [header(name) for name in ("Want-Repr-Digest", "Want-Content-Digest", "Want-Digest")]
_BYTES = {
    "/download/{path}": ("files", "download", [PATH, _DISPOSITION, *_WANTS]),
    "/archive/{path}.tar": ("archives", "archive_tar", [PATH, *_PATTERNS]),
    "/archive/{path}.zip": ("archives", "archive_zip", [PATH, *_PATTERNS]),
    "/archive.tar": ("archives", "archive_of_all_tar", _PATTERNS),
    "/archive.zip": ("archives", "archive_of_all_zip", _PATTERNS),
}
_REQUEST_FIELDS = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_PAGE_PARAMETERS = (
    query("sort", {"type": "string", "enum": ["name", "size", "modified"], "default": "name"}, "What to sort by."),
    query("order", {"type": "string", "enum": ["asc", "desc"], "default": "asc"}, "Ascending or descending."),
    query("offset", {"type": "integer", "minimum": 0, "default": 0}, "The first entry of the page, counted from 0."),
    query(
        "limit", {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE, "default": PAGE_SIZE}, "Entries on the page."
    ),
)
