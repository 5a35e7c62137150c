"""Errors as answers: one table from error to status, and one document for all of them.

Implements RFC 9457 (problem details), with RFC 9110 §12.5.1 (Accept) choosing between ``application/problem+json``,
plain text and HTML. A problem never contains a path of the server or a traceback; it tells the id of its request, which
its reader can quote, and by which the log tells more.
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from html import escape
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Scope

from fileserve.records import request_id
from fileserve.semantics.fields import combine_fields
from fileserve.storage import errors

STATUS_OF: Mapping[type[errors.StorageError], HTTPStatus] = {
    errors.InvalidName: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    # Policy: a name that leads out of the root is answered like one that does not exist: what lies outside is
    # nobody's business.
    errors.OutsideRoot: HTTPStatus.NOT_FOUND,
    errors.IsDirectory: HTTPStatus.NOT_FOUND,
    errors.NotDirectory: HTTPStatus.NOT_FOUND,
    errors.NameTooLong: HTTPStatus.NOT_FOUND,
    errors.LinkLoop: HTTPStatus.NOT_FOUND,
    errors.NotRegular: HTTPStatus.FORBIDDEN,
    errors.NotPermitted: HTTPStatus.FORBIDDEN,
    errors.TooManyMembers: HTTPStatus.FORBIDDEN,
    errors.AlreadyExists: HTTPStatus.CONFLICT,
    errors.NoDirectory: HTTPStatus.CONFLICT,
    errors.NotEmpty: HTTPStatus.CONFLICT,
    errors.OtherDevice: HTTPStatus.CONFLICT,
    errors.Locked: HTTPStatus.LOCKED,
    errors.NoSpace: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Occupied: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ContentChanged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unreadable: HTTPStatus.INTERNAL_SERVER_ERROR,
}
RETRY_AFTER_S = 1  # what is short now, descriptors or a calm moment of a file, is rarely short for long

JSON, HTML, PLAIN = "application/problem+json", "text/html", "text/plain"


_HOW_TO_MAKE = "; MKCOL under /api/files/ makes one, and so does an upload whose URL ends in ?parents"


class OtherStatus(IntEnum):
    """Statuses that are not HTTP's own."""

    CHECKSUM_MISMATCH = 460  # tus 1.0.0, checksum

    @property
    def phrase(self) -> str:
        """What the status is called."""
        return self.name.replace("_", " ").title()


class Problem(Exception):
    """An error for the client, raised where it is found and turned into a response where the request came in.

    *links* are extension members of the document (RFC 9457 §3.2): other resources that the client may have meant.
    *members* are others, for programs: what people are to know of them stands in *detail*.
    """

    def __init__(
        self,
        status: HTTPStatus | OtherStatus,
        detail: str,
        *,
        fields: Mapping[str, str] | None = None,
        links: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = fields or {}
        self.links = links or {}
        self.members = members or {}

    def response(self, scope: Scope) -> Response:
        """Return the document in the form that the client prefers; for HEAD, its fields alone."""
        media_type = preferred_form(combine_fields(scope["headers"]).get("accept", "*/*"))
        links, id = dict(self.links), request_id.get()
        if media_type == HTML:
            links["all files"] = scope.get("root_path", "") + "/"
        content = _RENDERERS[media_type](self, links, id).encode()
        charset = "" if media_type == JSON else "; charset=utf-8"
        fields = {
            "content-type": media_type + charset,
            "content-length": str(len(content)),
            "cache-control": "no-store",
            "vary": "accept",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
            **({"x-request-id": id} if id else {}),
            **self.fields,
        }
        if self.status is HTTPStatus.SERVICE_UNAVAILABLE:
            fields.setdefault("retry-after", str(RETRY_AFTER_S))
        return Response(b"" if scope["method"] == "HEAD" else content, int(self.status), fields)


def problem_of(error: errors.StorageError) -> Problem:
    """Return the problem that tells a client of *error*."""
    detail = errors.NotFound.sentence if isinstance(error, errors.OutsideRoot) else str(error)
    if isinstance(error, errors.NoDirectory):
        detail += _HOW_TO_MAKE
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return Problem(status, f"{detail[0].upper()}{detail[1:]}.")


def allow_only(*methods: str) -> Problem:
    """Return 405 with the Allow field that RFC 9110 §15.5.6 demands."""
    allowed = ", ".join(methods)
    return Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"This resource answers {allowed}.", fields={"allow": allowed})


def failure() -> Problem:
    """Return the problem that tells of a fault of ours; what it was stands in the log alone."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed to answer. The failure was logged.")


def preferred_form(accept: str) -> str:
    """Return the media type of ours that an Accept field value prefers (RFC 9110 §12.5.1).

    Policy: ties go to problem+json, then plain text; a client that accepts none of them gets problem+json all the
    same, because an error without a text helps nobody.
    """
    ranges = [_media_range(member) for member in accept.split(",")]
    return max((JSON, PLAIN, HTML), key=lambda form: _quality(form, ranges))


def _media_range(member: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in member.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_range, float(parameter[2:])
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(form: str, ranges: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that covers *form*."""
    weights = dict(ranges)
    covering = [form, "application/json"] if form == JSON else [form]
    for media_range in (*covering, form.split("/")[0] + "/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return -1.0


def _as_json(problem: Problem, links: Mapping[str, str], id: str) -> str:
    document = {"title": problem.status.phrase, "status": int(problem.status), "detail": problem.detail}
    further = {**problem.members, **({"request_id": id} if id else {}), **links}
    return json.dumps(document | further, ensure_ascii=False) + "\n"


def _as_text(problem: Problem, links: Mapping[str, str], id: str) -> str:
    lines = "".join(f"{name}: {href}\n" for name, href in links.items())
    told = f"request_id: {id}\n" if id else ""
    return f"{int(problem.status)} {problem.status.phrase}: {problem.detail}\n{lines}{told}"


def _as_html(problem: Problem, links: Mapping[str, str], id: str) -> str:
    title = f"{int(problem.status)} {problem.status.phrase}"
    told = f"<p><small>Request {escape(id)}</small></p>" if id else ""
    items = "".join(f'<li><a href="{escape(href)}">{escape(name)}</a></li>' for name, href in links.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>:root{{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}}"
        "body{max-width:40rem;margin:4rem auto;padding:0 1rem}</style>"
        f"<h1>{title}</h1><p>{escape(problem.detail)}</p><ul>{items}</ul>{told}</html>\n"
    )


_RENDERERS = {JSON: _as_json, PLAIN: _as_text, HTML: _as_html}
