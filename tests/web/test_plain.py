"""What is remembered of plain downloads says the same as what is planned for each request."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fileserve.storage.reader import OpenFile
from fileserve.web.plain import plain_download
from fileserve.web.routes import NameRequest
from fileserve.web.transfer import Transfer
from tests.asgi import Client

AN_HOUR_NS = 3600 * 10**9


def nothing_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fileserve.web.downloads.plain_download", lambda request, opened: None)


def count_plain(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that grows with each download: whether it was a plain one."""
    asked: list[bool] = []

    def counting(request: NameRequest, opened: OpenFile) -> Transfer | None:
        plain = plain_download(request, opened)
        asked.append(plain is not None)
        return plain

    monkeypatch.setattr("fileserve.web.downloads.plain_download", counting)
    return asked


@pytest.mark.parametrize("name", ["digits.txt", "large.bin", "empty", "emoji-%F0%9F%98%80.txt", "not-utf8-%FF"])
async def test_the_answer_is_the_same_the_long_way(client: Client, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    await client.get(f"/download/{name}")  # from now on it is known that there are no digests
    asked = count_plain(monkeypatch)
    plain = [await client.get(f"/download/{name}") for _ in range(2)]
    nothing_is_plain(monkeypatch)
    planned = await client.get(f"/download/{name}")
    assert asked == [True, True]
    for response in plain:
        assert (response.status, response.fields, response.content) == (200, planned.fields, planned.content)


@pytest.mark.parametrize(
    "field",
    [
        *("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("want-digest", "want-repr-digest", "want-content-digest"),
    ],
)
async def test_a_request_that_asks_for_more_is_planned(
    client: Client, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    await client.get("/download/digits.txt")
    asked = count_plain(monkeypatch)
    await client.get("/download/digits.txt", {field: "x"})
    await client.get("/download/digits.txt?disposition=inline")
    await client.request("HEAD", "/download/digits.txt")
    assert asked == [False, False, False]


def _rewrite(path: Path) -> None:
    path.write_bytes(b"ABCDEFGHIJ")
    os.utime(path, ns=(0, time.time_ns() - AN_HOUR_NS))


def _rename(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"ABCDEFGHIJ")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [_rewrite, _rename])
async def test_a_changed_file_is_planned_anew(
    client: Client, served_root: Path, change: Callable[[Path], None]
) -> None:
    before = [await client.get("/download/digits.txt") for _ in range(2)][1]
    change(served_root / "digits.txt")
    await client.get("/download/digits.txt")
    after = await client.get("/download/digits.txt")
    assert after.content == b"ABCDEFGHIJ"
    assert after.fields["etag"] != before.fields["etag"]


async def test_a_date_in_the_future_is_capped_for_each_request(
    client: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 §8.8.2.1: the instant of the message takes its place, which is another each time."""
    await client.get("/download/digits.txt")
    future_ns = time.time_ns() + AN_HOUR_NS
    os.utime(served_root / "digits.txt", ns=(future_ns, future_ns))
    asked = count_plain(monkeypatch)
    for _ in range(2):
        await client.get("/download/digits.txt")
    assert asked == [False, False]
