"""Pieces that descriptions of routes are made of (OpenAPI 3.1): parameters, answers and problems."""

from collections.abc import Mapping
from typing import Any

REFERENCE = "#/components/schemas/{model}"
PATH = {
    "name": "path",
    "in": "path",
    "required": True,
    "description": "Percent-encoded bytes of the name, components separated by `/`.",
    "schema": {"type": "string"},
}
_PROBLEMS = {
    "400": "The path is no name, or a pattern is none.",
    "401": "This is for the operator; WWW-Authenticate says that a bearer token is wanted.",
    "403": "The name is not a regular file, or may not be read; or the directory has too many members for an archive.",
    "404": "There is no such name, or it is not of the kind asked for.",
    "422": "A parameter cannot be used.",
    "429": "This client asks for too much at once; try again after Retry-After seconds.",
    "503": "The server is out of some resource, or about to end; try again after Retry-After seconds.",
}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}}


def query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def header(name: str, *, required: bool = False) -> dict[str, Any]:
    """Return a field of the request."""
    return {"name": name, "in": "header", "required": required, "schema": {"type": "string"}}


def response(description: str, content: dict[str, Any] | None) -> dict[str, Any]:
    """Return an answer, with its content by media type."""
    return {"description": description} | ({"content": content} if content else {})


def problems(*statuses: str, told: Mapping[str, str] = _PROBLEMS) -> dict[str, Any]:
    """Return the answers that are problem documents, by status; *told* has the description of each."""
    return {name: answer for status in statuses for name, answer in problem(status, told[status]).items()}


def problem(status: str, description: str) -> dict[str, Any]:
    """Return one such answer, with a *description* of its own."""
    return {status: {"description": description, "content": _PROBLEM_CONTENT}}


#: What each route that tells of the files answers to who may not read them.
PRIVATE = problem("401", "With --private, the server wants to know who asks.")
