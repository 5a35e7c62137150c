"""How many uploads there may be at once, and how many files forms may hold open: for one client, and in all."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fileserve.web.changes import forms
from tests.asgi import Answer, Client, client_of
from tests.pool import settle
from tests.web.uploading import FORM, Parts, ask, begin, form, open_beneath, post, settings

pytestmark = pytest.mark.usefixtures("nothing_is_left")
FILES: Parts = [(b"new-%d" % number, b"%d" % number) for number in range(4)]


class Pausing:
    """A form that waits before its end until it may go on; *is_there* once all files before have come."""

    def __init__(self, client: Client, parts: Parts, address: str | None = "127.0.0.1") -> None:
        self.is_there, self.go_on = asyncio.Event(), asyncio.Event()
        self._content = form(parts)
        self._given = 0
        self._scope = client._scope("POST", "/upload/", FORM)
        self._scope["client"] = (address, 1) if address else None
        self._answer = Answer()
        self.ended = asyncio.ensure_future(client.app(self._scope, self._receive, self._send))

    async def status(self) -> int:
        self.go_on.set()
        await self.ended
        return self._answer.status

    async def _receive(self) -> dict[str, Any]:
        self._given += 1
        if self._given == 1:
            return {"type": "http.request", "body": self._content[:-11], "more_body": True}
        self.is_there.set()
        await self.go_on.wait()
        return {"type": "http.request", "body": self._content[-11:], "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._answer.status = message["status"]


def unnamed_in(root: Path) -> list[str]:
    return [path for path in open_beneath(root) if path.endswith(" (deleted)")]


@pytest.mark.parametrize(
    ("changed", "per_client", "status"),
    [
        pytest.param({"form_files": 5}, 256, 503, id="in_all"),
        pytest.param({}, 5, 429, id="of_one_client"),
    ],
)
async def test_files_that_forms_hold_open_are_bounded_over_all_of_them(
    served_root: Path, changed: dict[str, Any], per_client: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them takes a descriptor, which whoever downloads needs, too."""
    monkeypatch.setattr("fileserve.web.opening.MOST_FILES", per_client)
    async with client_of(settings(served_root, **changed)) as client:
        held = Pausing(client, FILES)
        await held.is_there.wait()
        assert len(unnamed_in(served_root)) == 4
        refused = await post(client, "/upload/", [(b"a", b""), (b"b", b"")])
        assert (refused.status, "retry-after" in refused.fields) == (status, True)
        settle()
        assert len(unnamed_in(served_root)) == 4
        assert (await post(client, "/upload/", [(b"one", b"fits")])).status == 201
        assert await held.status() == 201
        assert (await post(client, "/upload/", [(b"%d" % number, b"") for number in range(5)])).status == 201
    assert {path.name for path in served_root.glob("new-*")} == {"new-0", "new-1", "new-2", "new-3"}
    assert not (served_root / "a").exists()


async def test_forms_hold_no_more_than_a_share_of_the_descriptors(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda kind: (20, 20))
    async with client_of(settings(served_root)) as client:
        parts: Parts = [(b"%d" % number, b"") for number in range(6)]
        assert (await post(client, "/upload/", parts[:5])).status == 201
        assert (await post(client, "/upload/", [(None, b"existing=replace"), *parts])).status == 413


async def test_a_client_is_what_the_server_counts_as_one(served_root: Path) -> None:
    """The server tells: of an IPv6 address the /64, which one subscriber has."""
    async with client_of(settings(served_root, uploads_per_client=1)) as client:
        held = Pausing(client, FILES)
        await held.is_there.wait()
        neighbour, stranger = (Pausing(client, [(name, b"x")], "127.0.0.2") for name in (b"neighbour", b"stranger"))
        neighbour._scope["extensions"]["fileserve"]["client"] = lambda: "127.0.0.1"
        stranger._scope["extensions"]["fileserve"]["client"] = lambda: "127.0.0.2"
        assert [await neighbour.status(), await stranger.status(), await held.status()] == [429, 201, 201]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 429), ("POST", 429), ("DELETE", 429), ("PATCH", 204)])
async def test_questions_of_uploads_at_once_are_bounded_and_do_not_take_the_places_of_uploads(
    served_root: Path, method: str, status: int
) -> None:
    async with client_of(settings(served_root, uploads_per_client=1)) as client:
        url = await begin(client, 1)
        with client.state["site"].taking.asking_places.take("127.0.0.1"):
            content = b"x" if method == "PATCH" else None
            answer = await ask(client, method, "/uploads" if method == "POST" else url, content, upload_offset="0")
        assert (answer.status, answer["tus-resumable"]) == (status, "1.0.0")
        await ask(client, "DELETE", url)


def test_one_form_alone_may_have_as_many_files_as_a_client() -> None:
    assert forms.MOST_FILES == 256
