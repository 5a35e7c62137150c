"""``DELETE``, ``MKCOL`` and ``MOVE /api/files/{path}``: each a right of its own, each judged by its preconditions."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings
from tests.asgi import Client, client_of
from tests.hostile import MALFORMED
from tests.web.conftest import DIGITS

STALE = {"if-match": '"stale"'}
TOKEN = "t0ken-of-sixteen-characters"
METHODS = {"DELETE": "delete", "MKCOL": "upload", "MOVE": "move"}


def settings(root: Path, **changed: Any) -> Settings:
    options: dict[str, Any] = {"upload": True, "replace": True, "delete": True, "move": True, "weak_etag_ms": 0}
    return Settings(root=root, **options | changed)


@pytest.fixture
async def changer(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(settings(served_root)) as opened:
        yield opened


@pytest.mark.parametrize("path", ["digits.txt", "new%0Aline.txt", "not-utf8-%FF", "folder/inner.txt", "folder/deeper"])
async def test_a_file_or_an_empty_directory_is_deleted(changer: Client, path: str) -> None:
    assert (await changer.get(f"/api/files/{path}")).status == 200
    assert (await changer.request("DELETE", f"/api/files/{path}")).status == 204
    assert (await changer.get(f"/api/files/{path}")).status == 404
    assert (await changer.request("DELETE", f"/api/files/{path}")).status == 404


async def test_a_directory_is_made_and_listed(changer: Client) -> None:
    answer = await changer.request("MKCOL", "/api/files/folder/new%20one")
    assert (answer.status, answer["location"]) == (201, "/api/files/folder/new%20one")
    assert (await changer.get(answer["location"])).status == 200
    assert (await changer.request("MKCOL", "/api/files/folder/new%20one")).status == 409
    assert (await changer.request("MKCOL", "/api/files/x/y/z")).status == 409
    assert (await changer.request("MKCOL", "/api/files/x/y/z?parents")).status == 201


async def test_a_file_is_moved_and_keeps_its_entity_tag(changer: Client) -> None:
    before = await changer.get("/download/digits.txt")
    fields = {"destination": "/api/files/folder/not-utf8-%FE", "if-match": before["etag"]}
    answer = await changer.request("MOVE", "/api/files/digits.txt", fields)
    assert (answer.status, answer["location"]) == (201, "/api/files/folder/not-utf8-%FE")
    after = await changer.get("/download/folder/not-utf8-%FE")
    assert (after.content, after["etag"]) == (DIGITS, before["etag"])
    assert (await changer.get("/download/digits.txt")).status == 404


async def test_a_directory_is_moved_with_all_that_is_in_it(changer: Client) -> None:
    answer = await changer.request("MOVE", "/api/files/folder", {"destination": "/api/files/moved"})
    assert answer.status == 201
    assert (await changer.get("/download/moved/inner.txt")).content == b"inner"


@pytest.mark.parametrize(
    ("fields", "changed", "status"),
    [
        pytest.param({}, {}, 204, id="overwriting_is_the_default_4918_10_6"),
        pytest.param({"overwrite": "T"}, {}, 204, id="overwriting"),
        pytest.param({"overwrite": "F"}, {}, 412, id="not_overwriting_4918_9_9_4"),
        pytest.param({}, {"replace": False}, 403, id="replacing_is_switched_off"),
        pytest.param({"overwrite": "F"}, {"replace": False}, 412, id="not_overwriting_where_nobody_may"),
    ],
)
async def test_a_move_takes_the_place_of_a_file_where_that_is_allowed(
    served_root: Path, fields: dict[str, str], changed: dict[str, Any], status: int
) -> None:
    async with client_of(settings(served_root, **changed)) as client:
        target = {"destination": "/api/files/folder/inner.txt"}
        assert (await client.request("MOVE", "/api/files/digits.txt", target | fields)).status == status
    assert (served_root / "folder" / "inner.txt").read_bytes() == (DIGITS if status == 204 else b"inner")
    assert (served_root / "digits.txt").exists() == (status != 204)


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"),
    [
        pytest.param("DELETE", "digits.txt", STALE, 412, id="delete_of_another_than_is_meant_9110_13_1_1"),
        pytest.param("DELETE", "folder", {}, 409, id="delete_of_a_directory_with_something_in_it"),
        pytest.param("DELETE", "", {}, 400, id="delete_of_the_root"),
        pytest.param("DELETE", ".hidden", {}, 403, id="delete_of_what_is_hidden"),
        pytest.param("DELETE", "leaving", {}, 404, id="delete_of_a_link_that_leaves"),
        pytest.param("DELETE", "fifo", {}, 403, id="delete_of_a_fifo"),
        pytest.param("DELETE", "digits.txt", {"origin": "https://evil.example"}, 403, id="by_another_site"),
        pytest.param("MKCOL", "digits.txt", {}, 409, id="directory_over_a_file"),
        pytest.param("MKCOL", "new", {"content-length": "1"}, 415, id="directory_with_content_4918_9_3"),
        pytest.param("MKCOL", "", {}, 400, id="directory_over_the_root"),
        pytest.param("MOVE", "digits.txt", {}, 400, id="no_destination"),
        pytest.param("MOVE", "digits.txt", {"destination": "new"}, 400, id="relative_destination"),
        pytest.param("MOVE", "digits.txt", {"destination": "/upload/new"}, 400, id="destination_elsewhere"),
        pytest.param("MOVE", "digits.txt", {"destination": "http://other/api/files/new"}, 400, id="other_host"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/folder"}, 409, id="over_a_directory"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/"}, 400, id="over_the_root"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/a/b"}, 409, id="to_no_directory"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/.new"}, 403, id="to_a_hidden_name"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/leaving/x"}, 409, id="out_of_the_root"),
        pytest.param("MOVE", "digits.txt", {"destination": "/api/files/new"} | STALE, 412, id="move_of_another"),
        pytest.param("MOVE", "absent", {"destination": "/api/files/new"}, 404, id="move_of_nothing"),
        pytest.param("MOVE", "folder", {"destination": "/api/files/folder/deeper/new"}, 400, id="into_itself"),
        pytest.param(
            "MOVE", "folder", {"destination": "/api/files/digits.txt"}, 409, id="directory_over_a_file_by_move"
        ),
    ],
)
async def test_what_is_refused_changes_nothing(
    changer: Client, served_root: Path, method: str, path: str, fields: dict[str, str], status: int
) -> None:
    before = {found: found.lstat().st_ino for found in served_root.rglob("*")}
    answer = await changer.request(method, f"/api/files/{path}", fields)
    assert (answer.status, answer["content-type"]) == (status, "application/problem+json"), answer.content
    assert {found: found.lstat().st_ino for found in served_root.rglob("*")} == before


async def test_a_destination_may_be_a_whole_url_of_this_server(changer: Client, served_root: Path) -> None:
    fields = {"host": "localhost:8000", "destination": "http://localhost:8000/api/files/new"}
    assert (await changer.request("MOVE", "/api/files/digits.txt", fields)).status == 201
    assert (served_root / "new").read_bytes() == DIGITS


async def test_destinations_and_locations_stand_under_the_root_path(changer: Client) -> None:
    changer.root_path = "/files"
    fields = {"destination": "/files/api/files/new"}
    answer = await changer.request("MOVE", "/files/api/files/digits.txt", fields)
    assert (answer.status, answer["location"]) == (201, "/files/api/files/new")


@pytest.mark.parametrize("method", METHODS)
async def test_each_is_switched_on_by_itself_and_asks_who_it_is(served_root: Path, method: str) -> None:
    fields = {"destination": "/api/files/elsewhere"}
    path = "/api/files/new" if method == "MKCOL" else "/api/files/empty"
    others = {"upload": True, "delete": True, "move": True, "replace": False, METHODS[method]: False}
    for changed, known, status in (
        (others, {}, 403),
        ({"token": TOKEN}, {}, 401),
        ({"token": TOKEN}, {"authorization": f"Bearer {TOKEN}"}, 201 if method != "DELETE" else 204),
    ):
        async with client_of(settings(served_root, **changed)) as client:
            assert (await client.request(method, path, fields | known)).status == status


async def test_changes_keep_to_the_folders_that_are_writable(served_root: Path) -> None:
    (served_root / "in coming").mkdir()
    (served_root / "incoming2").mkdir()
    before = {path: path.stat().st_ino for path in served_root.rglob("*") if path.exists()}
    async with client_of(settings(served_root, writable=("in coming", "folder/deeper/"))) as client:
        for path in ("new", "in%20coming", "in%20coming2/x", "incoming2/x", "folder/new", "folder/deeper"):
            refused = await client.request("PUT", f"/upload/{path}", content=[b"x"])
            assert (refused.status, refused.chunks_read) == (403, 0), path
            assert (await client.request("MKCOL", f"/api/files/{path}")).status == 403, path
            assert (await client.request("DELETE", f"/api/files/{path}")).status == 403, path
            fields = {"destination": f"/api/files/{path}"}
            assert (await client.request("MOVE", "/api/files/folder/deeper/new", fields)).status in (403, 404), path
        form = {"content-type": "multipart/form-data; boundary=x"}
        assert (await client.request("POST", "/upload/folder", form, content=[b"x"])).status == 403
        assert {path: path.stat().st_ino for path in served_root.rglob("*") if path.exists()} == before
        for path in ("in%20coming/x", "folder/deeper/x", "folder/deeper/a/b/x?parents"):
            assert (await client.request("PUT", f"/upload/{path}", content=[b"x"])).status == 201, path
        fields = {"destination": "/api/files/new"}
        assert (await client.request("MOVE", "/api/files/folder/deeper/x", fields)).status == 403
        assert (await client.request("DELETE", "/api/files/folder/deeper/x")).status == 204


@pytest.mark.parametrize("method", METHODS)
async def test_a_malformed_name_is_refused(changer: Client, served_root: Path, method: str) -> None:
    before = sorted(served_root.parent.rglob("*"))
    for key, path in MALFORMED.items():
        answer = await changer.request(
            method, f"/api/files/{path.decode('latin-1')}", {"destination": "/api/files/new"}
        )
        assert answer.status in (400, 403, 404), key
        fields = {"destination": f"/api/files/{path.decode('latin-1')}"}
        assert (await changer.request("MOVE", "/api/files/digits.txt", fields)).status in (400, 403, 404), key
    assert sorted(served_root.parent.rglob("*")) == before


async def test_other_methods_are_405_and_say_what_would_do(changer: Client) -> None:
    answer = await changer.request("PUT", "/api/files/digits.txt")
    assert (answer.status, answer["allow"]) == (405, "GET, HEAD, DELETE, MKCOL, MOVE")


@pytest.mark.parametrize(
    ("method", "path", "destination", "status"),
    [
        pytest.param("MKCOL", ".fileserve-put-1", None, 403, id="made"),
        pytest.param("MOVE", "digits.txt", ".fileserve-put-1", 403, id="given_by_a_move"),
        pytest.param("MOVE", ".fileserve-put-1", "new", 404, id="moved_away"),
        pytest.param("DELETE", ".fileserve-put-1", None, 404, id="deleted"),
    ],
)
async def test_the_name_of_a_staged_file_is_not_given_and_not_seen(
    served_root: Path, method: str, path: str, destination: str | None, status: int
) -> None:
    fields = {"destination": f"/api/files/{destination}"} if destination else {}
    async with client_of(settings(served_root, hidden=True)) as client:
        assert (await client.request(method, f"/api/files/{path}", fields)).status == status
