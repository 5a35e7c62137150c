"""/readyz in each state: what it says, what it never says, and what it costs when a disk hangs."""

import asyncio
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings
from fileserve.storage.errors import NotFound, StorageError
from fileserve.web import readiness
from fileserve.web.operations import LEAVING
from fileserve.web.readiness import OK, Check, Readiness
from tests.asgi import Answer, Client, client_of


@pytest.fixture
async def client(served_root: Path, tmp_path: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root, index_file=tmp_path / "index")) as opened:
        yield opened


def said(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(answer.content)
    return told


async def test_a_server_that_can_do_its_work_says_so(client: Client) -> None:
    answer = await client.get("/readyz")
    assert (answer.status, answer["content-type"], answer["cache-control"]) == (200, "application/json", "no-store")
    assert said(answer) == {"status": "ok", "checks": {"root": "ok", "index": "ok"}}
    assert (await client.request("HEAD", "/readyz")).status == 200


async def test_an_index_in_memory_is_a_choice_and_no_fault(served_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(served_root))
    monkeypatch.setenv("HOME", str(served_root))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    async with client_of(Settings(root=served_root)) as client:
        assert (await client.get("/readyz")).status == 200


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the database from everybody else, as a process that was stopped in the middle of a write does."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def failing(client: Client) -> dict[str, Any]:
    """Return what is said once it fails, without what every refusal has."""
    await asyncio.sleep(readiness.FRESH_S)
    answer = await client.get("/readyz")
    assert (answer.status, answer["content-type"]) == (503, "application/problem+json")
    assert int(answer["retry-after"]) > 0
    told = said(answer)
    assert (told["title"], told["status"]) == ("Service Unavailable", 503)
    return told


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_root_that_is_gone(client: Client, served_root: Path, asked_before: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.05)
    if asked_before:
        assert (await client.get("/readyz")).status == 200
    shutil.rmtree(served_root)
    told = await failing(client)
    assert told["checks"]["index"] == OK
    assert told["detail"] == told["checks"]["root"]
    assert "is it there and mounted" in told["detail"]
    assert str(served_root) not in json.dumps(told)


def move(root: Path) -> None:
    root.rename(root.with_name("gone"))


def replace(root: Path) -> None:
    move(root)
    root.mkdir()


def delete_and_make(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()  # with another inode number: the old one is still open


def exchange_by_a_link(root: Path) -> None:
    move(root)
    root.with_name("release").mkdir()
    root.symlink_to("release")


@pytest.mark.parametrize("change", [move, replace, delete_and_make, exchange_by_a_link])
async def test_a_root_that_is_not_what_its_path_leads_to(
    client: Client, served_root: Path, change: Callable[[Path], None], monkeypatch: Any
) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.05)
    change(served_root)
    told = await failing(client)
    assert ("nothing is at its path" if change is move else "another directory now") in told["checks"]["root"]
    assert "restart the server" in told["checks"]["root"]
    assert str(served_root) not in json.dumps(told)


async def test_a_root_that_comes_back_needs_no_restart(client: Client, served_root: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.05)
    replace(served_root)
    await failing(client)
    served_root.rmdir()
    served_root.with_name("gone").rename(served_root)
    await asyncio.sleep(readiness.FRESH_S)
    assert (await client.get("/readyz")).status == 200


async def test_an_index_whose_folder_was_deleted(served_root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.05)
    async with client_of(Settings(root=served_root, index_file=tmp_path / "cache" / "index")) as client:
        assert (await client.get("/readyz")).status == 200
        shutil.rmtree(tmp_path / "cache")
        told = await failing(client)
    assert told["checks"]["root"] == OK
    assert "deleted: restart the server" in told["checks"]["index"]


async def test_an_index_that_cannot_be_written(client: Client, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(readiness, "FRESH_S", 0.05)
    with locked(tmp_path / "index"):
        told = await failing(client)
    assert told["checks"]["root"] == OK
    assert "disk full or read-only" in told["checks"]["index"]
    assert str(tmp_path) not in json.dumps(told)
    await asyncio.sleep(readiness.FRESH_S)
    assert (await client.get("/readyz")).status == 200


async def test_a_server_that_is_about_to_end_asks_no_disk(client: Client, served_root: Path) -> None:
    shutil.rmtree(served_root)
    client.leaving.set()
    answer = await client.get("/readyz")
    assert answer.status == 503
    assert list(said(answer)["checks"]) == ["end"]
    assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize("accept", ["text/plain", "text/html"])
async def test_who_asks_for_text_gets_it(client: Client, accept: str) -> None:
    client.leaving.set()
    answer = await client.get("/readyz", {"accept": accept})
    assert (answer.status, answer["content-type"], answer["vary"]) == (503, f"{accept}; charset=utf-8", "accept")
    assert LEAVING in answer.content.decode()
    assert (await client.request("HEAD", "/readyz", {"accept": accept})).fields == answer.fields


async def test_a_disk_that_hangs_holds_up_one_thread_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "WAIT_S", 0.1)
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    answered, asked = threading.Event(), 0

    def hang() -> None:
        nonlocal asked
        asked += 1
        assert answered.wait(30)

    both = Readiness(hang, lambda: None)
    try:
        for _ in range(5):
            told = await asyncio.gather(*(both.answers() for _ in range(10)))
            assert all("does not answer" in one["root"] and one["index"] == OK for one in told)
        assert asked == 1
    finally:
        answered.set()
    async with asyncio.timeout(30):
        while (await both.answers())["root"] != OK:
            pass


async def test_many_who_ask_cost_one_look_a_second() -> None:
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1

    check = Check(ask, "advice")
    began_s = time.monotonic()
    while time.monotonic() < began_s + 0.2:
        assert await check.answer() == OK
    assert asked == 1


@pytest.mark.parametrize("error", [NotFound(), ZeroDivisionError("/a/path/of/the/server")])
async def test_what_goes_wrong_is_told_in_our_words_and_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> None:
        raise error

    said = await Check(ask, "Do something.").answer()
    assert said.startswith("Do something.")
    assert (str(error) in said) is isinstance(error, StorageError)
    assert "/a/path" not in said
    assert str(error) in caplog.text
