"""Downloads that are left to nginx, in process: what nginx is told, and who gets the bytes from here."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from fileserve import Settings
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.asgi import Answer, Client, client_of
from tests.web.conftest import AN_HOUR_AGO_NS, LARGE

URL = "/download/large.bin"
ASKS = {"x-sendfile-type": "X-Accel-Redirect"}


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    """A client of a site behind nginx; the large file in a folder has a strange name."""
    for name in ("folder/a?b%2e#\n\N{SNOWMAN}.bin", "latin-\udcff.bin"):
        (served_root / name).write_bytes(LARGE)
        os.utime(served_root / name, ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))
    (served_root / "folder" / "link").symlink_to("../large.bin")
    settings = Settings(root=served_root, weak_etag_ms=0, trusted_proxies="127.0.0.1", accel_redirect="/_files/")
    async with client_of(settings) as opened:
        yield replace(opened, is_proxied=True)


def is_left(answer: Answer) -> bool:
    """Tell whether the sending is left to nginx."""
    assert answer.finished
    assert (answer.status == 501) == ("x-accel-redirect" in answer.fields)
    assert len(answer.content) == int(answer["content-length"])
    return answer.status == 501


@pytest.mark.parametrize(
    ("path", "redirect"),
    [
        pytest.param("large.bin", "/_files/large.bin", id="plain"),
        pytest.param("large.bin?disposition=inline", "/_files/large.bin", id="not_plain"),
        pytest.param("folder/link", "/_files/large.bin", id="link_is_resolved"),
        pytest.param(
            "folder/a%3Fb%252e%23%0A%E2%98%83.bin", "/_files/folder/a%3Fb%252e%23%0A%E2%98%83.bin", id="signs"
        ),
        pytest.param("latin-%ff.bin", "/_files/latin-%FF.bin", id="no_utf8"),
    ],
)
async def test_nginx_is_told_the_name_without_links_percent_encoded(client: Client, path: str, redirect: str) -> None:
    answer = await client.get("/download/" + path, ASKS)
    assert is_left(answer)
    assert answer["x-accel-redirect"] == redirect
    assert answer["x-fileserve-file"] == f'"{AN_HOUR_AGO_NS // 10**9:x}-{len(LARGE):x}"'


@pytest.mark.parametrize("range_value", [None, "bytes=5-999999"])
async def test_nginx_is_told_all_fields_that_it_does_not_make_itself(client: Client, range_value: str | None) -> None:
    fields = {"range": range_value} if range_value else {}
    url = URL + "?disposition=inline"
    digest = {"want-repr-digest": "sha-256=1", "want-digest": "sha-256"}
    here, left = await client.get(url, {**fields, **digest}), await client.get(url, {**fields, **digest, **ASKS})
    of_nginx = {"content-length", "content-range", "last-modified", "x-accel-buffering"}
    of_nginx |= set() if range_value else {"accept-ranges"}
    for_nginx = {"x-accel-redirect", "x-fileserve-file", "x-fileserve-transfer"}
    told = {name: value for name, value in left.fields.items() if name not in for_nginx}
    assert (told.pop("content-length"), told.pop("content-type")) == ("0", here.fields.pop("content-type"))
    assert told == {f"x-fileserve-{name}": value for name, value in here.fields.items() if name not in of_nginx}
    assert {"repr-digest", "digest", "content-security-policy", "etag"} <= here.fields.keys()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("digits.txt", {}, id="small"),
        pytest.param("empty", {}, id="empty"),
        pytest.param("large.bin", {"x-sendfile-type": ""}, id="not_asked_for"),
        pytest.param("large.bin", {"x-sendfile-type": "X-Sendfile"}, id="another_way_asked_for"),
        pytest.param("large.bin", {"if-match": "*"}, id="precondition"),
        pytest.param("large.bin", {"range": "bytes=0-600000,700000-800000"}, id="several_ranges"),
    ],
)
async def test_everything_else_is_sent_from_here(client: Client, path: str, fields: Mapping[str, str]) -> None:
    assert not is_left(await client.get("/download/" + path, {**ASKS, **fields}))


async def test_who_is_no_trusted_proxy_gets_the_bytes(client: Client) -> None:
    assert (await replace(client, is_proxied=False).get(URL, ASKS)).content == LARGE


async def test_without_the_setting_nothing_is_left_to_anybody(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, weak_etag_ms=0, trusted_proxies="127.0.0.1")) as opened:
        assert not is_left(await replace(opened, is_proxied=True).get(URL, ASKS))


async def test_an_archive_is_sent_from_here(client: Client) -> None:
    assert not is_left(await client.get("/archive/folder.tar", ASKS))


async def test_a_head_and_an_error_are_answered_here(client: Client) -> None:
    assert (await client.request("HEAD", URL, ASKS)).status == 200
    assert (await client.get("/download/absent", ASKS)).status == 404


async def test_a_name_that_is_too_long_for_the_head_of_a_proxy_is_sent_from_here(
    client: Client, served_root: Path
) -> None:
    folders, name = ["\N{SNOWMAN}" * 80] * 5, "/".join(["%E2%98%83" * 80] * 5)
    deep = served_root.joinpath(*folders)
    deep.mkdir(parents=True)
    (deep / "large").write_bytes(LARGE)
    os.utime(deep / "large", ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))
    assert not is_left(await client.get(f"/download/{name}/large", ASKS))


async def test_a_file_that_is_deleted_meanwhile_is_sent_from_here(
    client: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = Root.resolved

    def too_late(root: Root, opened: OpenFile) -> Name | None:
        (served_root / "large.bin").unlink()
        return resolve(root, opened)

    monkeypatch.setattr(Root, "resolved", too_late)
    assert (await client.get(URL, ASKS)).content == LARGE


async def test_nothing_stays_open(client: Client) -> None:
    assert is_left(await client.get(URL, ASKS))
    before = len(os.listdir("/proc/self/fd"))
    assert is_left(await client.get(URL, ASKS))
    assert len(os.listdir("/proc/self/fd")) == before
