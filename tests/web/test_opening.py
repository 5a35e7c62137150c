"""Where a running application keeps what it keeps."""

import asyncio
from pathlib import Path

import psutil
import pytest

from fileserve import Settings
from fileserve.web.digests.indexing import index_all
from tests.asgi import client_of


def place(folder: Path) -> list[str]:
    """Return what was made for events in *folder*, by the beginnings and ends of the names."""
    found = folder.glob("fileserve/events-*.sqlite")
    return [f"{path.name[:7]}{path.suffix}" for path in found]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A served directory that holds the user's home, cache included."""
    root = tmp_path / "root"
    (root / "home").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(root / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "home" / "cache"))
    for variable in ("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(variable, raising=False)
    return root


async def test_events_lie_beside_the_index(served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    async with client_of(Settings(root=served)):
        assert place(tmp_path / "cache") == ["events-.sqlite"]
    async with client_of(Settings(root=served, index_file=tmp_path / "fileserve" / "index")):
        assert place(tmp_path) == ["events-.sqlite"]
    assert place(tmp_path / "run") == []


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"])
async def test_where_the_cache_would_be_served_they_are_in_the_runtime_directory(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """So that the workers of one machine share them all the same."""
    monkeypatch.setenv(variable, str(tmp_path / "run"))
    async with client_of(Settings(root=served)) as one, client_of(Settings(root=served)) as other:
        assert place(tmp_path / "run") == ["events-.sqlite"]
        assert one.state["site"].stores.bus.boot == other.state["site"].stores.bus.boot
        assert [client.state["site"].stores.bus.is_elected for client in (one, other)] == [True, False]


async def test_where_all_of_it_would_be_served_they_are_in_memory(
    served: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(served / "run"))
    async with client_of(Settings(root=served)) as client:
        assert client.state["site"].stores.bus.is_elected
    assert "events are kept in memory only" in caplog.text
    assert list(served.rglob("*")) == [served / "home"]


async def test_what_was_opened_is_closed_when_opening_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(bus: object) -> None:
        raise RuntimeError("no more")

    settings = Settings(root=tmp_path, index_file=tmp_path.parent / f"{tmp_path.name}-kept" / "index")
    async with client_of(settings):
        pass  # threads, and what the process opens once, are there from here on
    monkeypatch.setattr("fileserve.web.opening.recording", fail)
    before, tasks = psutil.Process().num_fds(), asyncio.all_tasks()
    with pytest.raises(RuntimeError, match="no more"):
        async with client_of(settings):
            pass
    assert (psutil.Process().num_fds(), asyncio.all_tasks()) == (before, tasks)


async def test_what_ends_beside_the_requests_by_a_fault_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("ours")

    async def end(*_: object) -> None:
        """End at once, which is no fault."""

    for name, work in (("sweep_all", fail), ("end_expired", end)):
        monkeypatch.setattr(f"fileserve.web.opening.{name}", work)
    async with client_of(Settings(root=tmp_path, upload=True)), asyncio.timeout(10):
        while not caplog.records:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "ours"


async def test_digests_whose_lock_is_not_to_be_had_are_not_computed_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(Settings(root=tmp_path)) as client:
        await index_all(client.state["site"], tmp_path / "missing" / "lock")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
