"""``POST /upload/{dir}/``: the files of a form, as ``curl -F`` and a page without JavaScript send them.

Each file goes straight from the request into a staged file in that directory. When the form has ended, the names are
given all together: of a form with a name that is taken and not to be, nothing is stored. Fields may stand before
the files or behind them; ``existing`` says what becomes of a taken name (refuse, rename, replace), the others say
nothing.

A file's name is the base name of what the client says, and is resolved beneath the root like any other; a part without
one is what a browser sends of a file input that was left empty.

Left out: folders. The parts of a form have no paths (RFC 7578 §4.2).
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count, islice

from starlette.responses import Response
from starlette.types import ASGIApp

from fileserve.storage.changes.draft import Committed
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.writer import StagedFile, commit_all
from fileserve.storage.errors import AlreadyExists, StorageError
from fileserve.storage.index import Digests
from fileserve.storage.names import MAX_COMPONENT, Name, display_name
from fileserve.storage.reader import OpenFile
from fileserve.web.access import Action, authorize
from fileserve.web.changes.claims import refuse_coding, refuse_digests
from fileserve.web.changes.multipart import (
    Event,
    Field,
    FileBegins,
    FileData,
    FileEnds,
    FormError,
    FormParser,
    boundary_of,
)
from fileserve.web.changes.noting import note
from fileserve.web.changes.receiving import content_length, next_chunk, settle, too_large
from fileserve.web.problems import HTML, Problem, preferred_form, problem_of
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

MOST_FILES = 256  # each holds a descriptor until the form has ended; of one client no more in all its forms
MOST_NAMES = 100  # that are tried for one file
EXISTING = ("refuse", "rename", "replace")


async def post(request: NameRequest) -> ASGIApp:
    """Store the files of the form in the directory: 201 and what was stored, or 303 to its page for a browser.

    A refusal tells the way back to the page, too: a browser shows it in the page's place.
    """
    try:
        return await _store(request)
    except StorageError as error:
        raise _with_way_back(request, problem_of(error)) from error
    except Problem as problem:
        raise _with_way_back(request, problem) from problem


def _with_way_back(request: NameRequest, problem: Problem) -> Problem:
    page = href(request.scope, "browse", request.name, directory=True)
    return Problem(problem.status, problem.detail, fields=problem.fields, links={**problem.links, "folder": page})


async def _store(request: NameRequest) -> Response:
    boundary, length = boundary_of(request.fields.get("content-type", "")), content_length(request)
    if boundary is None:
        fields = {"accept-post": "multipart/form-data"}
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Files come as multipart/form-data.", fields=fields)
    refuse_coding(request)
    reason = "The digest of a form is not checked; a file that has one is sent by PUT."
    refuse_digests(request, reason)
    settings = request.site.settings
    if settings.form_bytes and length is not None and length > settings.form_bytes:
        raise too_large("form", settings.form_bytes)
    with request.site.taking.places.take(request.client), ExitStack() as drafts:
        await request.site.stores.changes.check_room(request.name, Need(room=length or 0, keep_free=settings.keep_free))
        form = _Form(request, drafts)
        try:
            await _receive(request, FormParser(boundary), form)
        except FormError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        return _answer(request, await form.commit())


async def _receive(request: NameRequest, parser: FormParser, form: "_Form") -> None:
    limit, size, more = request.site.settings.form_bytes, 0, True
    while more:
        chunk, more = await next_chunk(request)
        size += len(chunk)
        if limit and size > limit:
            raise too_large("form", limit)
        for event in parser.feed(chunk):
            await form.take(event)
    if not parser.ended:
        raise FormError("The form is cut off.")


@dataclass(slots=True)
class _File:
    """One file of a form, and its digests once it is whole."""

    staged: StagedFile
    digests: Digests | None = None


class _Form:
    """The files of a form, staged one after the other until all of them get their names. *drafts* owns them."""

    __slots__ = ("_drafts", "_existing", "_files", "_is_nameless", "_request")

    def __init__(self, request: NameRequest, drafts: ExitStack) -> None:
        self._request = request
        self._drafts = drafts
        self._existing: str = request.site.settings.existing
        self._files: list[_File] = []
        self._is_nameless = False

    async def take(self, event: Event) -> None:
        """Take what comes next."""
        match event:
            case FileBegins(filename):
                await self._begin(filename)
            case FileData(data) if self._is_nameless:
                if data:
                    raise FormError("A file has no name.")
            case FileData(data):
                await self._write(data)
            case FileEnds() if not self._is_nameless:
                self._files[-1].digests = await self._files[-1].staged.finish()
            case Field("existing", value):
                self._existing = value.decode("latin-1")
                if self._existing not in EXISTING:
                    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"existing is one of {', '.join(EXISTING)}.")

    async def commit(self) -> list[tuple[Name, Committed, str | None]]:
        """Give all files their names, or none where one is taken and not to be; return them with their entity tags."""
        if self._existing == "replace":
            await authorize(self._request.scope, Action.REPLACE)
        replaces = self._existing == "replace"

        def judge(current: OpenFile | None) -> None:
            if current is not None and not replaces:
                raise AlreadyExists

        others = _names if self._existing == "rename" else None
        stored = await commit_all([file.staged for file in self._files], judge, others)
        names = [(*self._request.name, component) for component, _ in stored]
        for name, (_, committed) in zip(names, stored, strict=True):
            note(self._request, name, f"stored, {committed.status.size} bytes")
        return [
            (name, committed, await settle(self._request, file.staged, committed, file.digests))
            for file, name, (_, committed) in zip(self._files, names, stored, strict=True)
        ]

    async def _begin(self, filename: bytes) -> None:
        self._is_nameless = not filename
        if self._is_nameless:
            return
        most = self._request.site.taking.form_places.most
        if len(self._files) >= most:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A form has {most} files at the most.")
        settings, name = self._request.site.settings, (*self._request.name, filename)
        need = Need(keep_free=settings.keep_free, digests=settings.upload_digests)
        self._drafts.enter_context(self._request.site.taking.form_places.take(self._request.client))
        staged = await self._request.site.stores.changes.stage(name, need)
        self._files.append(_File(self._drafts.enter_context(staged)))

    async def _write(self, data: memoryview) -> None:
        staged, limit = self._files[-1].staged, self._request.site.settings.upload_bytes
        if limit and staged.size + len(data) > limit:
            raise too_large("file", limit)
        await staged.write(data)


def _names(component: bytes) -> Iterator[bytes]:
    return islice(alternatives(component), MOST_NAMES)


def alternatives(component: bytes) -> Iterator[bytes]:
    """Yield the name itself, and then others like it that a file could have instead.

    >>> list(islice(alternatives(b"notes.tar.gz"), 3))
    [b'notes.tar.gz', b'notes (2).tar.gz', b'notes (3).tar.gz']
    """
    yield component
    stem, dot, extension = (component, b"", b"") if component.startswith(b".") else component.partition(b".")
    for number in count(2):
        ending = b" (%d)%b%b" % (number, dot, extension)
        yield _cut(stem, max(1, MAX_COMPONENT - len(ending))) + ending


def _cut(stem: bytes, most: int) -> bytes:
    """Return at most so many bytes of *stem*, and no half character of UTF-8 at their end."""
    end = most
    while most < len(stem) and most - end < 3 and end > 1 and stem[end] & 0xC0 == 0x80:
        end -= 1
    return stem[:end]


def _answer(request: NameRequest, stored: list[tuple[Name, Committed, str | None]]) -> Response:
    """Policy: a browser that sent a plain form is led back to the page (303); programs get the list."""
    if preferred_form(request.fields.get("accept", "*/*")) == HTML:
        page = {"location": href(request.scope, "browse", request.name, directory=True)}
        return Response(status_code=HTTPStatus.SEE_OTHER, headers=page)
    files = [
        {
            "name": display_name(name[-1]),
            "href": href(request.scope, "download", name),
            "size": committed.status.size,
            "etag": etag,
            "replaced": committed.replaced,
        }
        for name, committed, etag in stored
    ]
    fields = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(json.dumps({"files": files}), HTTPStatus.CREATED, headers=fields, media_type="application/json")
