"""``POST /upload/{dir}/`` in process: all files of a form or none, fields before and behind, taken names."""

import errno
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from fileserve.storage.changes import draft, placing
from fileserve.web.changes import forms
from fileserve.web.changes.forms import MOST_FILES
from tests.asgi import Client, client_of
from tests.hostile import HOSTILE
from tests.pool import settle
from tests.web.conftest import DIGITS
from tests.web.uploading import FORM, MIB, Parts, form, post, settings

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_the_files_of_a_form_are_stored_and_told(uploader: Client, served_root: Path, size: int) -> None:
    first, second = os.urandom(2000), b"two"
    parts: Parts = [(None, b"comment=x"), (b"a.bin", first), (b"b b.txt", second), (b"", b""), (None, b"more=y")]
    answer = await post(uploader, "/upload/folder/", parts, size=size)
    assert (answer.status, answer["content-type"]) == (201, "application/json")
    files = json.loads(answer.content)["files"]
    assert [file["href"] for file in files] == ["/download/folder/a.bin", "/download/folder/b%20b.txt"]
    for file, content in zip(files, (first, second), strict=True):
        download = await uploader.get(file["href"])
        assert (download.content, download["etag"], file["size"]) == (content, file["etag"], len(content))
        assert "repr-digest" in download.fields
    assert set(os.listdir(served_root / "folder")) == {"deeper", "inner.txt", "a.bin", "b b.txt"}


async def test_a_large_file_passes_in_large_chunks(uploader: Client, served_root: Path) -> None:
    content = os.urandom(3 * MIB)
    assert (await post(uploader, "/upload", [(b"large", content)], size=300_000)).status == 201
    assert (served_root / "large").read_bytes() == content


async def test_a_browser_is_led_back_to_the_page(uploader: Client) -> None:
    accept = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = await post(uploader, "/upload/folder/", [(b"a", b"1")], accept)
    assert (answer.status, answer["location"]) == (303, "/browse/folder/")
    answer = await post(uploader, "/upload/", [(b"a", b"1")], accept)
    assert (answer.status, answer["location"]) == (303, "/browse/")
    assert (await uploader.get(answer["location"])).status == 200


@pytest.mark.parametrize("place", ["setting", "field_before", "field_behind"])
@pytest.mark.parametrize(
    ("existing", "status", "stored"),
    [
        pytest.param("refuse", 409, {"digits.txt": DIGITS}, id="refuse"),
        pytest.param("rename", 201, {"digits.txt": DIGITS, "digits (2).txt": b"new", "x": b"x"}, id="rename"),
        pytest.param("replace", 201, {"digits.txt": b"new", "x": b"x"}, id="replace"),
    ],
)
async def test_a_taken_name_is_refused_or_avoided_or_replaced(
    served_root: Path, place: str, existing: str, status: int, stored: dict[str, bytes]
) -> None:
    files: Parts = [(b"x", b"x"), (b"digits.txt", b"new")]
    told: Parts = [(None, f"existing={existing}".encode())]
    parts = {"setting": files, "field_before": told + files, "field_behind": files + told}[place]
    options = {"existing": existing} if place == "setting" else {}
    async with client_of(settings(served_root, replace=True, **options)) as client:
        assert (await post(client, "/upload/", parts)).status == status
    for name in ("digits.txt", "digits (2).txt", "x"):
        path = served_root / name
        assert (path.read_bytes() if path.exists() else None) == stored.get(name)


async def test_where_one_name_cannot_be_replaced_none_is(served_root: Path) -> None:
    parts: Parts = [(None, b"existing=replace"), (b"digits.txt", b"new"), (b"folder", b"a directory has this name")]
    async with client_of(settings(served_root, replace=True)) as client:
        assert (await post(client, "/upload/", parts)).status == 409
    assert (served_root / "digits.txt").read_bytes() == DIGITS


@pytest.mark.parametrize(
    ("existing", "status", "names"),
    [
        pytest.param(b"refuse", 409, set(), id="refuse"),
        pytest.param(b"rename", 201, {"a.tar.gz", "a (2).tar.gz", "a (3).tar.gz"}, id="rename"),
    ],
)
async def test_files_of_one_name_in_one_form(
    uploader: Client, served_root: Path, existing: bytes, status: int, names: set[str]
) -> None:
    files: Parts = [(b"a.tar.gz", b"%d" % number) for number in range(3)]
    answer = await post(uploader, "/upload/folder/", [*files, (None, b"existing=" + existing)])
    assert answer.status == status
    assert {path.name for path in (served_root / "folder").glob("a*")} == names


async def test_of_two_forms_at_once_with_one_name_both_files_are_there_when_they_may_be_renamed(
    uploader: Client, served_root: Path
) -> None:
    for number in (b"1", b"2"):
        assert (await post(uploader, "/upload/", [(b"x" * 255, number), (None, b"existing=rename")])).status == 201
    (renamed,) = [path for path in served_root.iterdir() if path.name.endswith(" (2)")]
    assert (len(renamed.name), renamed.read_bytes()) == (255, b"2")


@pytest.mark.parametrize(
    ("changed", "path", "fields", "status"),
    [
        pytest.param({}, "absent/", {}, 409, id="no_directory"),
        pytest.param({}, "digits.txt", {}, 409, id="file_for_a_directory"),
        pytest.param({}, "leaving/", {}, 409, id="link_that_leaves"),
        pytest.param({}, "", {"content-type": "text/plain"}, 415, id="no_form"),
        pytest.param({}, "", {"content-type": "multipart/form-data"}, 415, id="no_boundary"),
        pytest.param({"form_bytes": 10}, "", {}, 413, id="form_too_large"),
        pytest.param({}, "", {"content-length": str(1 << 59)}, 507, id="no_space"),
        pytest.param({"upload": False, "replace": False}, "", {}, 403, id="switched_off"),
        pytest.param({"token": "t0ken-of-sixteen-characters"}, "", {}, 401, id="unknown_client"),
        pytest.param({}, "", {"sec-fetch-site": "cross-site"}, 403, id="form_of_another_site"),
        pytest.param({}, "", {"origin": "https://evil.example"}, 403, id="origin_of_another_site"),
    ],
)
async def test_what_is_refused_is_refused_before_the_content_is_read(
    served_root: Path, changed: dict[str, Any], path: str, fields: dict[str, str], status: int
) -> None:
    async with client_of(settings(served_root, **changed)) as client:
        answer = await post(client, f"/upload/{path}", [(b"new", b"1")], fields)
    assert (answer.status, answer.chunks_read) == (status, 0), answer.content
    assert not (served_root / "new").exists()


@pytest.mark.parametrize(
    ("changed", "parts", "status"),
    [
        pytest.param({"upload_bytes": 5}, [(b"new", b"1"), (b"other", bytes(6))], 413, id="file_too_large"),
        pytest.param({}, [(b"new", b"1"), (b"", b"data")], 400, id="file_without_a_name"),
        pytest.param({}, [(b"new", b"1"), (b".hidden-new", b"1")], 403, id="hidden_name"),
        pytest.param({"hidden": True}, [(b"new", b"1"), (b".fileserve-put-1", b"1")], 403, id="name_of_a_staged_file"),
        pytest.param({}, [(b"new", b"1"), (b"..", b"1")], 400, id="dots"),
        pytest.param({}, [(b"new", b"1"), (b"folder", b"1")], 409, id="name_of_a_directory"),
        pytest.param({}, [(b"new", b"1"), (None, b"existing=ignore")], 422, id="unknown_way"),
        pytest.param(
            {"replace": False}, [(b"new", b"1"), (None, b"existing=replace")], 403, id="replacing_is_switched_off"
        ),
        pytest.param({}, [(b"new%d" % number, b"") for number in range(MOST_FILES + 1)], 413, id="too_many_files"),
        pytest.param({"form_bytes": 50_000}, [(b"new", b"1"), (b"other", bytes(60_000))], 413, id="form_too_large"),
    ],
)
async def test_of_a_form_that_is_refused_nothing_is_stored(
    served_root: Path, changed: dict[str, Any], parts: Parts, status: int
) -> None:
    before = sorted(served_root.rglob("*"))
    async with client_of(settings(served_root, **changed)) as client:
        chunked = {"transfer-encoding": "chunked"}
        answer = await post(client, "/upload/", parts, chunked, size=20_000)
    assert answer.status == status, answer.content
    settle()
    assert sorted(served_root.rglob("*")) == before


@pytest.mark.parametrize("breaks_off", [True, False], ids=["client_leaves", "content_ends"])
async def test_a_form_that_is_cut_off_leaves_nothing(uploader: Client, served_root: Path, breaks_off: bool) -> None:
    content = form([(b"first", b"whole"), (b"second", bytes(MIB))])[:-100]
    answer = await uploader.request("POST", "/upload/", FORM, content=[content], breaks_off=breaks_off)
    assert answer.status == (503 if breaks_off else 400)
    assert not (served_root / "first").exists()


async def test_where_one_file_finds_no_other_name_nothing_is_stored(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "MOST_NAMES", 3)
    before = sorted(served_root.rglob("*"))
    parts: Parts = [(b"first", b"1"), *[(b"same.txt", b"x")] * 4, (None, b"existing=rename")]
    answer = await post(uploader, "/upload/", parts)
    assert (answer.status, json.loads(answer.content)["detail"]) == (409, "The name same.txt is taken.")
    settle()
    assert sorted(served_root.rglob("*")) == before


@pytest.mark.parametrize("existing", [b"refuse", b"rename"])
async def test_a_disk_that_fills_up_among_the_names_stores_nothing(
    uploader: Client, served_root: Path, existing: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, before = placing.link_new, sorted(served_root.rglob("*"))

    def fail(fd: int, directory: int, component: bytes) -> None:
        if component == b"third":
            raise OSError(errno.ENOSPC, "full")
        link(fd, directory, component)

    monkeypatch.setattr(draft, "link_new", fail)
    parts: Parts = [(b"first", b"1"), (b"second", b"2"), (b"third", b"3"), (None, b"existing=" + existing)]
    assert (await post(uploader, "/upload/", parts)).status == 507
    settle()
    assert sorted(served_root.rglob("*")) == before


async def test_a_form_without_files_stores_nothing(uploader: Client) -> None:
    answer = await post(uploader, "/upload/", [(None, b"a=b")])
    assert (answer.status, json.loads(answer.content)) == (201, {"files": []})


async def test_a_hostile_name_stays_in_the_directory_as_its_base_name(served_root: Path) -> None:
    target = served_root / "folder" / "deeper"
    async with client_of(settings(served_root, replace=True, existing="replace", weak_etag_ms=0)) as client:
        for key, path in HOSTILE.items():
            for filename in (path, unquote_to_bytes(path)):
                if b"\r" in filename or b"\n" in filename or b'"' in filename:
                    continue  # would be another header; the parser's tests have them
                answer = await post(client, "/upload/folder/deeper/", [(filename, b"x")], size=100_000)
                assert answer.status in (201, 400, 403, 404, 409), key
    assert len(list(target.iterdir())) > 20
    assert {path.name for path in (served_root / "folder").iterdir()} == {"deeper", "inner.txt"}
    assert all(path.is_file() for path in target.iterdir())
