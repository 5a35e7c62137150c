"""From content and its representation to the response that sends it: the part that files, archives and texts share."""

import secrets
from http import HTTPStatus
from typing import Literal

from fileserve.semantics.plan import ResponsePlan, plan_download
from fileserve.semantics.representation import Representation
from fileserve.web.content import Content, Text
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.transfer import Transfer

Disposition = Literal["attachment", "inline"]
Fields = tuple[tuple[bytes, bytes], ...]


def deliver(
    request: NameRequest,
    content: Content,
    representation: Representation,
    *,
    disposition: Disposition = "attachment",
    also: Fields = (),
    is_prompt: bool = True,
    route: str = "download",
) -> Transfer:
    """Return the response to *request*, which owns *content*; *also* are further fields of the representation.

    *is_prompt* is `Transfer`'s; *route* is told to who watches.
    """
    try:
        plan = plan_download(
            request.scope["method"],
            request.fields,
            representation,
            boundary=secrets.token_hex(16) if "," in request.fields.get("range", "") else "",
            now_s=request.now_s,
            disposition=disposition,
            cache_control=request.site.settings.cache_control,
            also=also,
        )
    except BaseException:
        content.close()
        raise
    return send_planned(request, plan, content, is_prompt=is_prompt, route=route)


def send_planned(
    request: NameRequest, plan: ResponsePlan, content: Content, *, is_prompt: bool = True, route: str = "download"
) -> Transfer:
    """Return the response that sends *plan*, and owns *content*; *is_prompt* and *route* are `deliver`'s."""
    chunk_size = request.site.settings.chunk_size
    return Transfer(plan, content, chunk_size, is_prompt=is_prompt, origin=(request, route))


def deliver_text(
    request: NameRequest, text: Text, media_type: str, filename: str, last_modified_s: int, *, also: Fields = ()
) -> Transfer:
    """Return the response with *text*, shown rather than saved by a browser; its entity tag is made of its bytes."""
    representation = Representation(len(text), text.tag, last_modified_s, media_type, filename)
    return deliver(request, text, representation, disposition="inline", also=also, route="checksum")


def disposition_of(request: NameRequest) -> Disposition:
    """Return how the client wants the content to be taken: ``?disposition=inline`` views it.

    Raises:
        Problem: 422, it says something else.
    """
    if not request.scope["query_string"]:
        return "attachment"
    match request.query.get("disposition", "attachment"):
        case "attachment":
            return "attachment"
        case "inline":
            return "inline"
        case _:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "disposition is either attachment or inline.")
