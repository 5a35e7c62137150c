"""What stands between a request to change a name and the change: its preconditions, and the right to replace.

The same questions are asked twice: before the first byte of content is read, so that nobody sends a gigabyte in vain,
and once more when the name is given, under a lock (RFC 9110 §13.2.2).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from fileserve.semantics.conditional import Verdict, evaluate
from fileserve.storage.errors import AlreadyExists, IsDirectory
from fileserve.storage.reader import OpenFile
from fileserve.web.access import Action, authorize
from fileserve.web.describe import NS_PER_S, describe
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

__all__ = [
    *("check_before", "check_of_directory", "check_preconditions"),
    *("is_asked", "precondition_failed", "refusing_taken"),
]


async def check_before(request: NameRequest, *, parents: bool) -> None:
    """Judge what has the name now, before the content is read: the preconditions, then the right to replace it.

    Policy: in this order, although others ask for rights first. Who sends If-None-Match: * does not want to replace
    anything, and gets 412. With *parents* the directory may be missing.
    """
    with refusing_taken(request):  # by a link that leads nowhere
        current = await request.site.stores.changes.look(request.name, parents=parents)
    try:
        check_preconditions(request, current)
    finally:
        if current is not None:
            current.close()
    if current is not None:
        await authorize(request.scope, Action.REPLACE)


def check_preconditions(request: NameRequest, current: OpenFile | None, *, may_replace: bool = True) -> None:
    """Return if the preconditions of *request* hold for the file *current*, or for none. Raises the 412 ``Problem``.

    Raises ``AlreadyExists`` where there is a file and *may_replace* is false. Blocks for as long as a clock takes.
    """
    now_ns = time.time_ns()
    representation = describe(current, request.name, request.site.settings, now_ns) if current is not None else None
    verdict = evaluate(request.scope["method"], request.fields, representation, now_ns // NS_PER_S)
    if verdict is not Verdict.PROCEED:
        raise precondition_failed(str(representation.etag) if representation is not None else None)
    if current is not None and not may_replace:
        raise AlreadyExists


@contextmanager
def refusing_taken(request: NameRequest) -> Iterator[None]:
    """Say what it means that something else has the name, perhaps only since a moment ago: a directory, or a file.

    Raises:
        Problem: 409 for a directory; 412 for a file where *request* asks for none.
    """
    try:
        yield
    except IsDirectory:
        raise Problem(HTTPStatus.CONFLICT, "This is a directory.") from None
    except AlreadyExists:
        if "if-none-match" in request.fields:
            raise precondition_failed(None) from None
        raise


def check_of_directory(request: NameRequest) -> None:
    """Do the same for a directory: it is there (``*``), and has no entity tag. RFC 9110 §13.1.1, §13.1.2."""
    if request.fields.get("if-none-match") == "*":
        raise precondition_failed(None)
    fields = {name: value for name, value in request.fields.items() if (name, value) != ("if-match", "*")}
    verdict = evaluate(request.scope["method"], fields, None, time.time_ns() // NS_PER_S)
    if verdict is not Verdict.PROCEED:
        raise precondition_failed(None)


def precondition_failed(etag: str | None) -> Problem:
    """Return 412, with the entity tag of what is there: the client learns what it has missed without asking again."""
    fields = {"etag": etag} if etag is not None else {}
    return Problem(HTTPStatus.PRECONDITION_FAILED, "The file is not the one that the request means.", fields=fields)


def is_asked(request: NameRequest, switch: str) -> bool:
    """Return whether the query has the parameter *switch*, as ``?parents``, ``?parents=1`` or ``?parents=true``.

    Raises:
        Problem: 422, it has another value.
    """
    value = request.query.get(switch, "0")
    if value not in ("", "1", "true", "0", "false"):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{switch} is 1 or 0.")
    return value in ("", "1", "true")
