"""What the site tells in JSON, read with the doubt that something on the way has changed it."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fileserve.checkproxy.client import Answer
from fileserve.checkproxy.reasons import Unlike, refused

_ARRIVED: dict[str, type | tuple[type, ...]] = {
    "path": str,
    "scheme": str,
    "host": (str, type(None)),
    "http_version": str,
    "connection": (str, type(None)),
    "hops": int,
    "client": (str, type(None)),
    "is_forwarded_proto": bool,
    "request_id": (str, type(None)),
}
_CALLED = {dict: "object", list: "array", str: "string", int: "number"}
_TAG = re.compile(r'(W/)?"[!#-~]*"')


@dataclass(frozen=True)
class File:
    """A file of the site, as its own description says: the document is content, which no proxy changes."""

    path: str
    size: int
    etag: str


@dataclass(frozen=True)
class Listed:
    """A file in a listing; *path* is below ``/download/``."""

    path: str
    size: int
    modified: datetime
    media_type: str


def is_document(answer: Answer) -> bool:
    """Tell whether fileserve has answered, and not a proxy with a page of its own."""
    return answer.status == 200 and (answer["content-type"] or "").startswith("application/json")


def document(answer: Answer, path: str) -> dict[str, Any]:
    """Return the document that answers *path*. Raises ``NotChecked``, as all functions here do: there is none."""
    if answer.status != 200:
        raise refused(answer.status, answer.fields, path)
    if coding := answer["content-encoding"]:
        raise Unlike(path, f"it comes with the content coding {coding}, which nobody asked for")
    if not is_document(answer):
        raise Unlike(path, f"it is {answer['content-type'] or 'of no type'}")
    try:
        value = json.loads(answer.content)
    except (ValueError, RecursionError):
        raise Unlike(path, "it is no JSON document, or cut off") from None
    told: dict[str, Any] = _typed(value, dict, path)
    return told


def listed(answer: Answer, path: str) -> list[Listed]:
    """Return the files of a listing."""
    entries = _typed(document(answer, path).get("entries"), list, path)
    files = (_typed(entry, dict, path) for entry in entries)
    return [_listed(file, path) for file in files if file.get("kind") == "file"]


def described(answer: Answer, path: str) -> File | None:
    """Return the file at *path* below ``/api/files/``; ``None`` where it is none."""
    value = document(answer, path)
    if "etag" not in value:
        return None
    tag = _typed(value["etag"], str, path)
    if not _TAG.fullmatch(tag):
        raise Unlike(path, "its entity tag is none")
    return File(path.replace("/api/files/", "/download/", 1), _typed(value.get("size"), int, path), tag)


def arrived(answer: Answer, path: str) -> dict[str, Any]:
    """Return how a request has arrived."""
    value = document(answer, path)
    for name, kind in _ARRIVED.items():
        if name not in value or not isinstance(value[name], kind):
            raise Unlike(path, f"{name} is none, or of another version of fileserve")
    return value


def _listed(value: dict[str, Any], path: str) -> Listed:
    try:
        modified = datetime.fromisoformat(_typed(value.get("modified"), str, path))
    except ValueError:
        raise Unlike(path, "a date is none") from None
    if modified.tzinfo is None:
        raise Unlike(path, "a date has no zone")
    href = _typed(value.get("href"), str, path).partition("/download/")[2]
    kind = _typed(value.get("media_type") or "", str, path)
    return Listed(href, _typed(value.get("size"), int, path), modified, kind)


def _typed(value: Any, kind: type, path: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Unlike(path, f"a value is no {_CALLED[kind]}")
    return value
