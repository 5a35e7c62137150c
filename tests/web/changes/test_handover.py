"""A request that has fallen silent lets go of its upload when the client comes back; one that is sending does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fileserve.storage.changes.uploads import Uploads
from fileserve.web.changes import handover
from tests.asgi import Client, client_of
from tests.web.conftest import DIGITS
from tests.web.uploading import MIB, Swallowed, ask, begin, offset_of, patch, settings

pytestmark = pytest.mark.usefixtures("nothing_else_changes")


@pytest.fixture(params=["one_worker", "two_workers"])
async def clients(request: pytest.FixtureRequest, served_root: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Whoever holds the upload, and whoever comes back."""
    async with client_of(settings(served_root)) as first, client_of(settings(served_root)) as second:
        yield first, first if request.param == "one_worker" else second


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has to wait for a chunk is silent at once."""
    monkeypatch.setattr(handover, "SILENT_S", 0)


@pytest.mark.parametrize("size", [6, MIB], ids=["not_written_yet", "some_written"])
async def test_who_comes_back_goes_on_from_all_that_has_arrived(
    clients: tuple[Client, Client], served_root: Path, soon: None, size: int
) -> None:
    holding, back = clients
    content = DIGITS * (MIB // 5)
    url = await begin(holding, len(content))
    silent = Swallowed(holding, url, content[:size])
    await silent.is_silent.wait()
    answer = await patch(back, url, 0, content)
    assert (answer.status, answer["upload-offset"], answer.chunks_read) == (409, str(size), 0)
    await silent.ended
    assert silent.was_hung_up
    assert await offset_of(back, url) == size
    assert (await patch(back, url, size, content[size:])).status == 204
    assert (served_root / "new").read_bytes() == content


async def test_an_offset_that_is_asked_for_is_that_of_all_that_has_arrived(
    clients: tuple[Client, Client], soon: None
) -> None:
    holding, back = clients
    url = await begin(holding, 10)
    silent = Swallowed(holding, url, DIGITS[:6])
    await silent.is_silent.wait()
    assert await offset_of(back, url) == 6
    assert silent.was_hung_up
    assert (await patch(back, url, 6, DIGITS[6:])).status == 204
    await silent.ended


async def test_who_ends_an_upload_ends_the_request_that_holds_it(
    clients: tuple[Client, Client], served_root: Path, soon: None
) -> None:
    holding, back = clients
    url = await begin(holding, 10)
    silent = Swallowed(holding, url, DIGITS[:6])
    await silent.is_silent.wait()
    assert (await ask(back, "DELETE", url)).status == 204
    await silent.ended
    assert not list(served_root.glob(".fileserve-*"))


@pytest.mark.parametrize("can_hang_up", [True, False], ids=["heard_lately", "under_another_server"])
async def test_who_is_not_silent_or_cannot_be_ended_goes_on(
    clients: tuple[Client, Client], served_root: Path, can_hang_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SILENT_S", 1000 if can_hang_up else 0)
    holding, back = clients
    url = await begin(holding, 10)
    sending = Swallowed(holding, url, DIGITS[:6], rest=DIGITS[6:], can_hang_up=can_hang_up)
    await sending.is_silent.wait()
    assert (await patch(back, url, 0, DIGITS)).status == 423
    assert (await ask(back, "DELETE", url)).status == 423
    assert await offset_of(back, url) in (0, 6)
    sending.goes_on.set()
    await sending.ended
    assert (sending.status, (served_root / "new").read_bytes()) == (204, DIGITS)


async def test_who_has_sent_all_is_not_silent_while_the_file_gets_its_name(
    clients: tuple[Client, Client], soon: None, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding, back = clients
    url = await begin(holding, 10)
    is_storing, may_end = asyncio.Event(), asyncio.Event()
    store = Uploads.set_stored

    async def wait(uploads: Any, session: Any) -> None:
        is_storing.set()
        await may_end.wait()
        await store(uploads, session)

    monkeypatch.setattr(Uploads, "set_stored", wait)
    sending = Swallowed(holding, url, DIGITS[:6], rest=DIGITS[6:])
    sending.goes_on.set()
    await is_storing.wait()
    assert (await patch(back, url, 0, DIGITS)).status == 423
    may_end.set()
    await sending.ended
    assert (sending.status, sending.was_hung_up) == (204, False)


async def test_content_that_was_to_be_compared_with_a_checksum_is_not_kept(
    clients: tuple[Client, Client], served_root: Path, soon: None
) -> None:
    holding, back = clients
    url = await begin(holding, 10)
    await patch(holding, url, 0, DIGITS[:2])
    scope_of = holding._scope

    def with_checksum(method: str, path: str, fields: Any) -> dict[str, Any]:
        return scope_of(method, path, {**fields, "upload-offset": "2", "upload-checksum": "sha1 " + "A" * 27 + "="})

    holding._scope = with_checksum  # type: ignore[method-assign]
    silent = Swallowed(holding, url, DIGITS[2:6])
    holding._scope = scope_of  # type: ignore[method-assign]
    await silent.is_silent.wait()
    assert (await patch(back, url, 2, DIGITS[2:])).status == 204
    await silent.ended
    assert (served_root / "new").read_bytes() == DIGITS


async def test_who_leaves_while_other_workers_are_asked_spoils_no_answer(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of somebody who still waits, and what was said before is none to who asks later."""
    monkeypatch.setattr(handover, "ANSWER_S", 1000)
    async with client_of(settings(served_root)) as client, asyncio.timeout(10):
        asking = client.state["site"].taking.handover
        for is_alone in (False, True):
            leaving = asyncio.ensure_future(asking.free("id"))
            staying = [] if is_alone else [asyncio.ensure_future(asking.free("id"))]
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait((leaving,))
            asking._hear(b'{"kept": "id"}')
            await asyncio.gather(*staying)
            later = asyncio.ensure_future(asking.free("id"))
            await asyncio.sleep(0.01)
            assert not later.done()
            asking._hear(b'{"kept": "id"}')
            await later
