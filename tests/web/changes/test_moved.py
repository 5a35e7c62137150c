"""Uploads over tus whose folder is moved, and what nobody comes back for: found, and deleted when its time is over."""

import asyncio
import os
import shutil
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from fileserve.storage import database
from tests.asgi import Client, client_of
from tests.web.conftest import DIGITS
from tests.web.uploading import Swallowed, ask, begin, hidden_in, metadata, offset_of, patch, settings

pytestmark = pytest.mark.usefixtures("nothing_else_changes")


async def move(client: Client, path: str, new: str) -> int:
    return (await client.request("MOVE", f"/api/files/{path}", {"destination": f"/api/files/{new}"})).status


async def hidden_are_gone(root: Path) -> bool:
    end = time.monotonic() + 20
    while hidden_in(root):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("directory", "moved", "new"),
    [
        pytest.param(b"folder", "folder", "other", id="its_folder"),
        pytest.param(b"folder/deeper", "folder", "other", id="the_folder_above"),
        pytest.param(b"folder/deeper", "folder/deeper", "not-utf8-%FE", id="to_a_name_of_bytes"),
        pytest.param(b"folder/deeper", "folder/deeper", "fold", id="to_a_name_that_begins_alike"),
    ],
)
async def test_an_upload_goes_on_where_its_folder_was_moved_to(
    served_root: Path, directory: bytes, moved: str, new: str
) -> None:
    (served_root / "folder2").mkdir()
    async with client_of(settings(served_root, move=True, delete=True)) as client:
        beside = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=b"folder2"))
        url = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=directory))
        await patch(client, url, 0, DIGITS[:4])
        assert await move(client, moved, new) == 201
        assert await offset_of(client, url) == 4
        assert await offset_of(client, beside) == 0
        ended = await patch(client, url, 4, DIGITS[4:])
        assert ended["content-location"].startswith(f"/download/{new}/")
        assert (await client.get(ended["content-location"])).content == DIGITS
        assert (await ask(client, "HEAD", url))["content-location"] == ended["content-location"]
        assert await move(client, new, "again") == 201
        assert (await ask(client, "HEAD", url))["content-location"].startswith("/download/again/")


async def test_where_the_table_of_uploads_cannot_be_had_nothing_is_moved(
    served_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 20)
    index = tmp_path / "index" / "digests.sqlite"
    async with client_of(settings(served_root, move=True, index_file=index)) as client:
        url = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=b"folder"))
        await patch(client, url, 0, DIGITS[:4])
        (table,) = index.parent.glob("uploads-*.sqlite")
        other = sqlite3.connect(table, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await move(client, "folder", "other") == 503
        assert (served_root / "folder").exists()
        other.close()
        assert await offset_of(client, url) == 4
        assert await move(client, "folder", "other") == 201
        assert (await patch(client, url, 4, DIGITS[4:])).status == 204
        assert (served_root / "other" / "x").read_bytes() == DIGITS
    shutil.rmtree(index.parent)


async def test_an_upload_is_there_in_every_moment_of_a_move(served_root: Path, tmp_path: Path) -> None:
    """Two workers, one of which moves the folder to and fro."""
    changed = settings(served_root, move=True, index_file=tmp_path / "index" / "digests.sqlite")
    async with client_of(changed) as moving, client_of(changed) as client:
        url = await begin(client, 1000, upload_metadata=metadata(filename=b"x", dir=b"folder"))
        statuses, is_over = Counter[int](), asyncio.Event()

        async def ask_again_and_again() -> None:
            offset = 0
            while not is_over.is_set():
                statuses[(await ask(client, "HEAD", url)).status] += 1
                statuses[(await patch(client, url, offset, b"x")).status] += 1
                offset += 1

        asking = asyncio.ensure_future(ask_again_and_again())
        for _ in range(20):
            assert await move(moving, "folder", "other") == 201
            await asyncio.sleep(0.02)
            assert await move(moving, "other", "folder") == 201
            await asyncio.sleep(0.02)
        is_over.set()
        await asking
    assert set(statuses) == {200, 204}
    shutil.rmtree(tmp_path / "index")


async def test_what_is_whole_only_after_its_folder_was_moved_has_its_name_there(served_root: Path) -> None:
    async with client_of(settings(served_root, move=True)) as client:
        url = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=b"folder"))
        sending = Swallowed(client, url, DIGITS[:6], rest=DIGITS[6:])
        await sending.is_silent.wait()
        assert await move(client, "folder", "other") == 201
        sending.goes_on.set()
        await sending.ended
        assert sending.status == 204
        assert (served_root / "other" / "x").read_bytes() == DIGITS
        assert (await ask(client, "HEAD", url))["content-location"] == "/download/other/x"


async def test_a_moved_folder_can_be_deleted_once_the_upload_in_it_was_ended(served_root: Path) -> None:
    async with client_of(settings(served_root, move=True, delete=True)) as client:
        url = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=b"folder/deeper"))
        assert await move(client, "folder/deeper", "other") == 201
        assert (await client.request("DELETE", "/api/files/other")).status == 409
        assert (await ask(client, "DELETE", url)).status == 204
        assert (await client.request("DELETE", "/api/files/other")).status == 204


async def test_what_somebody_else_has_moved_is_deleted_when_its_time_is_over(served_root: Path) -> None:
    """Without a restart, and although somebody asked for it meanwhile."""
    async with client_of(settings(served_root, upload_expiry=1)) as client:
        url = await begin(client, 10, upload_metadata=metadata(filename=b"x", dir=b"folder"))
        os.rename(served_root / "folder", served_root / "moved")
        assert (await ask(client, "HEAD", url)).status == 404
        assert len(hidden_in(served_root)) == 1
        assert await hidden_are_gone(served_root)
        assert (served_root / "moved" / "inner.txt").exists()


async def test_what_the_start_found_too_young_is_deleted_when_it_is_old(served_root: Path) -> None:
    (served_root / "folder" / ".fileserve-tus-0123456789abcdef0123456789abcdef").write_bytes(b"half")
    async with client_of(settings(served_root, upload_expiry=1)):
        assert await hidden_are_gone(served_root)


async def test_what_has_expired_is_deleted_where_no_uploads_are_taken_any_more(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_expiry=1)) as client:
        await patch(client, await begin(client, 10), 0, DIGITS[:4])
    async with client_of(settings(served_root, upload=False, replace=False, upload_expiry=1)):
        assert await hidden_are_gone(served_root)
