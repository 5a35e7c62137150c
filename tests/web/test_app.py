"""The application as a whole: rights in front of each route, mounting, the life of what it opens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.types import Message

from fileserve import Settings, create_app
from fileserve.records import request_id
from fileserve.storage.reader import OpenFile
from fileserve.web import app as app_module
from fileserve.web import delivery, operations, routes
from fileserve.web.problems import Problem
from tests.asgi import Client, client_of

ROUTES = ["/", "/browse/", "/download/digits.txt", "/api/files/", "/healthz", "/readyz"]


@pytest.mark.parametrize("route", ROUTES)
async def test_each_route_asks_for_rights_first(client: Client, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await client.get(route)).status == 200

    def refuse(*_: object) -> None:
        raise Problem(HTTPStatus.FORBIDDEN, "no")

    monkeypatch.setattr(routes, "authorize", refuse)
    monkeypatch.setattr(operations, "authorize", refuse)
    assert (await client.get(route)).status == 403


async def test_the_settings_cache_control_is_sent(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, cache_control="max-age=60")) as client:
        assert (await client.get("/download/digits.txt"))["cache-control"] == "max-age=60"


async def test_a_plan_that_fails_leaves_no_file_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[OpenFile] = []
    close = OpenFile.close

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    def note(opened: OpenFile) -> None:
        closed.append(opened)
        close(opened)

    monkeypatch.setattr(delivery, "plan_download", fail)
    monkeypatch.setattr(OpenFile, "close", note)
    assert (await client.get("/download/digits.txt")).status == 500
    assert len(closed) == 1


async def test_a_mounted_application_serves_once_its_lifespan_is_passed_on(served_root: Path) -> None:
    files = create_app(Settings(root=served_root))
    app = FastAPI(lifespan=lambda _: files.router.lifespan_context(files))  # type: ignore[arg-type]  # both kinds fit
    app.mount("/files", files)
    async with app.router.lifespan_context(app) as state:
        answer = await Client(app, state or {}).get("/files/download/digits.txt")
        page = await Client(app, state or {}).get("/files/")
    assert answer.content == b"0123456789"
    assert b'href="/files/download/digits.txt"' in page.content


async def test_without_its_lifespan_the_log_says_what_is_missing(
    served_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await Client(create_app(Settings(root=served_root)), {}).get("/download/digits.txt")
    assert answer.status == 500
    assert "lifespan" in caplog.text


async def test_no_redirect_leaves_the_host(client: Client) -> None:
    for path in ("/healthz/", "/ui", "/docs/", "/api/files", "/browse"):
        answer = await client.get(path, {"host": "evil.example"})
        assert "evil.example" not in answer.fields.get("location", "")


async def test_readyz_says_no_once_the_server_is_about_to_end(client: Client) -> None:
    assert (await client.get("/readyz")).status == 200
    client.leaving.set()
    answer = await client.get("/readyz")
    assert (answer.status, answer["retry-after"]) == (503, "1")
    assert (await client.get("/healthz")).status == 200


async def test_what_begins_with_the_application_is_of_no_request(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it logs for as long as the server runs would else be told of a request that nobody has sent."""
    ids: list[str] = []

    @asynccontextmanager
    async def note(*_: object) -> AsyncIterator[None]:
        ids.append(request_id.get())
        yield

    async def receive() -> Message:
        return {"type": "lifespan.startup"} if not ids else {"type": "lifespan.shutdown"}

    async def send(_: Message) -> None:
        pass

    monkeypatch.setattr(app_module, "open_site", note)
    await create_app(Settings(root=served_root))({"type": "lifespan", "state": {}}, receive, send)
    assert ids == [""]
