"""What is done about uploads beside the requests goes on when it could not be done once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from fileserve.storage.changes.room import Need
from fileserve.storage.changes.session import Session
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.uploads import Uploads
from fileserve.storage.errors import NotFound
from fileserve.storage.root import Root
from fileserve.web.changes import sweeping
from fileserve.web.changes.sweeping import end_expired, sweep_all
from fileserve.web.workers.holding import held

LOCK = Path("cache", "lock")  # in a directory that is not there


@pytest.fixture
async def root(served_root: Path) -> AsyncIterator[Root]:
    opened = Root(served_root)
    yield opened
    opened.close()


@pytest.fixture
async def uploads(root: Root) -> AsyncIterator[Uploads]:
    opened = Uploads(root, Sessions(None), -10)
    yield opened
    opened.close()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """What was asked for in each round; they follow at once."""
    asked: list[Path | None] = []

    def note(path: Path | None) -> object:
        asked.append(path)
        return held(path)

    monkeypatch.setattr(sweeping, "held", note)
    monkeypatch.setattr(sweeping, "_SHORTEST_PAUSE_S", 0.01)
    return asked


async def begin(uploads: Uploads) -> Session:
    return await uploads.begin((b"new",), Need(10), {}, "client", (100, 100))


async def wait_for_end(uploads: Uploads, session: Session) -> None:
    async with asyncio.timeout(10):
        with suppress(NotFound):
            while await uploads.find(session.id):  # noqa: ASYNC110  begins nothing
                await asyncio.sleep(0.01)


async def test_uploads_expire_after_their_lock_was_not_to_be_had_which_is_said_once_each_time(
    root: Root, uploads: Uploads, tmp_path: Path, rounds: list[Path | None], caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / LOCK
    ending = asyncio.ensure_future(end_expired(root, uploads, 0.0, lock))
    for number in (1, 2):
        session = await begin(uploads)
        rounds.clear()
        while len(rounds) < 3:
            await asyncio.sleep(0.01)
            assert not ending.done()
        assert [record.levelno for record in caplog.records].count(logging.WARNING) == number
        lock.parent.mkdir()
        await wait_for_end(uploads, session)
        lock.unlink()
        lock.parent.rmdir()
    ending.cancel()
    await asyncio.wait((ending,))


async def test_where_its_lock_is_not_to_be_had_nothing_is_swept_and_that_is_said(
    root: Root, uploads: Uploads, served_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = served_root / (".fileserve-put-" + "0" * 32)
    left.touch()
    await sweep_all(root, uploads, tmp_path / LOCK)
    assert left.exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
