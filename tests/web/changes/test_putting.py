"""``PUT /upload/{path}`` in process: what is judged before a byte is read, what is stored, what is left of the rest."""

import base64
import errno
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings, disk
from fileserve.storage.changes import draft, placing
from tests.asgi import Answer, Client, client_of, record
from tests.hostile import HOSTILE
from tests.pool import settle
from tests.web.conftest import DIGITS
from tests.web.uploading import MIB, NEW, open_beneath, put, settings

pytestmark = pytest.mark.usefixtures("nothing_is_left")

SHA_256 = base64.b64encode(hashlib.sha256(NEW).digest()).decode()
SHA_512 = base64.b64encode(hashlib.sha512(NEW).digest()).decode()
OTHER = base64.b64encode(bytes(32)).decode()


async def test_a_new_file_is_201_and_can_be_had_as_it_was_announced(uploader: Client, served_root: Path) -> None:
    answer = await put(uploader, "/upload/folder/new%20file.txt")
    assert (answer.status, answer.content) == (201, b"")
    assert answer["location"] == "/download/folder/new%20file.txt"
    download = await uploader.get(answer["location"])
    assert (download.status, download.content) == (200, NEW)
    assert download["etag"] == answer["etag"]
    assert answer["etag"].startswith('"')
    assert download["repr-digest"] == f"sha-256=:{SHA_256}:"


async def test_a_replaced_file_is_204_and_has_another_entity_tag(uploader: Client) -> None:
    before = await uploader.get("/download/digits.txt")
    answer = await put(uploader, "/upload/digits.txt")
    assert (answer.status, answer.content) == (204, b"")
    assert answer["etag"] != before["etag"]
    assert (await uploader.get("/download/digits.txt"))["etag"] == answer["etag"]


async def test_the_entity_tag_of_an_answer_is_good_for_the_next_request(uploader: Client) -> None:
    answer = await put(uploader, "/upload/new")
    for content in (b"second", b"third"):
        answer = await put(uploader, "/upload/new", content, {"if-match": answer["etag"]})
        assert answer.status == 204


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        pytest.param("new", {"if-none-match": "*"}, 201, id="create_only_and_it_is_new_9110_13_1_2"),
        pytest.param("digits.txt", {"if-none-match": "*"}, 412, id="create_only_and_it_is_there"),
        pytest.param("digits.txt", {"if-none-match": '"other"'}, 204, id="another_than_this_is_there"),
        pytest.param("digits.txt", {"if-none-match": "garbage"}, 412, id="invalid_if_none_match_protects"),
        pytest.param("new", {"if-match": "*"}, 412, id="replace_only_and_it_is_new_9110_13_1_1"),
        pytest.param("digits.txt", {"if-match": "*"}, 204, id="replace_only_and_it_is_there"),
        pytest.param("digits.txt", {"if-match": '"stale"'}, 412, id="not_the_one_that_is_meant"),
        pytest.param(
            "digits.txt", {"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412, id="changed_since_9110_13_1_4"
        ),
        pytest.param("digits.txt", {"if-unmodified-since": "Wed, 01 Jan 2200 00:00:00 GMT"}, 204, id="unchanged_since"),
        pytest.param("digits.txt", {"if-unmodified-since": "yesterday"}, 204, id="invalid_date_is_none"),
        pytest.param("digits.txt", {"if-modified-since": "Wed, 01 Jan 2200 00:00:00 GMT"}, 204, id="for_reading_only"),
    ],
)
async def test_preconditions_are_judged_before_the_content_is_read(
    served_root: Path, path: str, fields: dict[str, str], status: int
) -> None:
    async with client_of(settings(served_root, weak_etag_ms=0)) as client:
        etag = (await client.get("/download/digits.txt"))["etag"]
        answer = await put(client, f"/upload/{path}", fields=fields)
    assert answer.status == status
    if status == 412:
        assert answer.chunks_read == 0
        assert answer.fields.get("etag") == (etag if path == "digits.txt" else None)
        assert (served_root / "digits.txt").read_bytes() == DIGITS


@pytest.mark.parametrize(
    ("changed", "path", "fields", "status"),
    [
        pytest.param({}, "folder", {}, 409, id="directory"),
        pytest.param({}, "folder/", {}, 409, id="trailing_slash"),
        pytest.param({}, "", {}, 409, id="root"),
        pytest.param({}, "digits.txt/new", {}, 409, id="beneath_a_file"),
        pytest.param({}, "absent/new", {}, 409, id="in_no_directory"),
        pytest.param({}, "leaving", {}, 409, id="link_that_leaves"),
        pytest.param({}, "fifo", {}, 403, id="fifo"),
        pytest.param({}, ".new", {}, 403, id="hidden"),
        pytest.param({}, ".fileserve-put-1", {}, 403, id="name_of_a_staged_file"),
        pytest.param(
            {"hidden": True}, ".fileserve-put-1", {}, 403, id="name_of_a_staged_file_where_hidden_ones_are_seen"
        ),
        pytest.param({}, "a/../b", {}, 400, id="dots"),
        pytest.param({}, "new?parents=maybe", {}, 422, id="parameter_that_cannot_be_used"),
        pytest.param({}, "new", {"content-range": "bytes 0-10/11"}, 400, id="content_range_9110_14_5"),
        pytest.param({}, "new", {"content-encoding": "gzip"}, 415, id="content_coding_9110_8_4"),
        pytest.param({}, "new", {"content-digest": "sha-256=:AAAA:"}, 400, id="digest_of_another_length"),
        pytest.param({}, "new", {"repr-digest": "sha-256"}, 400, id="digest_that_is_none"),
        pytest.param({}, "new", {"repr-digest": "?"}, 400, id="malformed_digest_field"),
        pytest.param(
            {},
            "new",
            {"repr-digest": f"sha-256=:{OTHER}:", "content-digest": f"sha-256=:{SHA_256}:"},
            400,
            id="digests_that_differ",
        ),
        pytest.param({"upload_bytes": 10}, "new", {}, 413, id="too_large"),
        pytest.param({}, "new", {"content-length": "9" * 30}, 413, id="larger_than_any_disk"),
        pytest.param({}, "new", {"content-length": "-1"}, 400, id="length_that_is_none"),
        pytest.param({}, "new", {"content-length": str(1 << 59)}, 507, id="larger_than_this_disk"),
        pytest.param({"keep_free": 1 << 59}, "new", {}, 507, id="more_is_to_be_kept_free"),
        pytest.param({"replace": False}, "digits.txt", {}, 403, id="replacing_is_switched_off"),
        pytest.param({"replace": False}, "digits.txt", {"if-none-match": "*"}, 412, id="replacing_is_not_meant"),
        pytest.param({"upload": False, "replace": False}, "new", {}, 403, id="uploading_is_switched_off"),
        pytest.param({"token": "t0ken-of-sixteen-characters"}, "new", {}, 401, id="unknown_client"),
        pytest.param({}, "new", {"sec-fetch-site": "cross-site"}, 403, id="page_of_another_site"),
    ],
)
async def test_what_is_refused_is_refused_before_the_content_is_read(
    served_root: Path, changed: dict[str, Any], path: str, fields: dict[str, str], status: int
) -> None:
    before = snapshot(served_root)
    async with client_of(settings(served_root, **changed)) as client:
        answer = await put(client, f"/upload/{path}", fields=fields)
    assert (answer.status, answer.chunks_read) == (status, 0), answer.content
    assert answer["content-type"] == "application/problem+json"
    assert json.loads(answer.content)["status"] == status
    assert snapshot(served_root) == before


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.lstat().st_ino, path.lstat().st_size) for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"repr-digest": f"sha-256=:{SHA_256}:"}, 201, id="repr_digest_9530_3"),
        pytest.param({"content-digest": f"sha-256=:{SHA_256}:"}, 201, id="content_digest_9530_2"),
        pytest.param({"repr-digest": f"sha-512=:{SHA_512}:"}, 201, id="sha_512"),
        pytest.param({"repr-digest": f"sha-256=:{SHA_256}:, sha-512=:{SHA_512}:"}, 201, id="both"),
        pytest.param({"repr-digest": "md5=:AAAA:"}, 201, id="unknown_algorithm"),
        pytest.param({"repr-digest": f"sha-256=:{OTHER}:"}, 400, id="wrong"),
        pytest.param({"content-digest": f"sha-256=:{OTHER}:"}, 400, id="wrong_content_digest"),
        pytest.param({"repr-digest": f"sha-256=:{SHA_256}:, sha-512=:{OTHER}{OTHER}:"}, 400, id="malformed_second"),
        pytest.param({"repr-digest": f"sha-512=:{base64.b64encode(bytes(64)).decode()}:"}, 400, id="wrong_sha_512"),
    ],
)
@pytest.mark.parametrize("digests", [True, False], ids=["with_digests", "without_digests"])
async def test_a_digest_that_is_sent_is_compared_before_the_file_gets_its_name(
    served_root: Path, fields: dict[str, str], status: int, digests: bool
) -> None:
    async with client_of(settings(served_root, upload_digests=digests)) as client:
        assert (await put(client, "/upload/new", fields=fields)).status == status
    assert (served_root / "new").exists() == (status == 201)


async def test_without_digests_none_is_known(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_digests=False)) as client:
        answer = await put(client, "/upload/new")
        assert "repr-digest" not in (await client.get(answer["location"])).fields


@pytest.mark.parametrize("size", [0, 1, 255 * 1024, 3 * MIB + 7])
async def test_content_of_unknown_length_is_stored_whole(uploader: Client, served_root: Path, size: int) -> None:
    content = os.urandom(size)
    chunks = [content[at : at + 70_000] for at in range(0, size, 70_000)] or [b""]
    answer = await uploader.request("PUT", "/upload/new", {"transfer-encoding": "chunked"}, content=chunks)
    assert answer.status == 201
    assert (served_root / "new").read_bytes() == content


async def test_content_of_unknown_length_that_grows_too_large_is_413_and_gone(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_bytes=MIB)) as client:
        chunks = [bytes(100_000)] * 100
        answer = await client.request("PUT", "/upload/new", {"transfer-encoding": "chunked"}, content=chunks)
    assert (answer.status, answer.chunks_read) == (413, 11)
    assert not (served_root / "new").exists()


async def test_a_request_without_content_makes_an_empty_file(uploader: Client, served_root: Path) -> None:
    assert (await uploader.request("PUT", "/upload/new")).status == 201
    assert (served_root / "new").read_bytes() == b""


@pytest.mark.parametrize("chunks", [[], [b"x"], [bytes(MIB)] * 3], ids=["at_once", "soon", "later"])
async def test_a_client_that_leaves_leaves_nothing(uploader: Client, served_root: Path, chunks: list[bytes]) -> None:
    before = snapshot(served_root)
    fields = {"content-length": str(10 * MIB)}
    await uploader.request("PUT", "/upload/digits.txt", fields, content=chunks, breaks_off=True)
    settle()
    assert snapshot(served_root) == before
    assert not open_beneath(served_root)


async def test_a_full_disk_is_507_and_leaves_nothing(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, chunks: list[bytes]) -> int:
        raise OSError(28, "No space left on device", "/a/path/of/the/server")

    before = snapshot(served_root)
    monkeypatch.setattr(os, "writev", fail)
    answer = await put(uploader, "/upload/new")
    assert answer.status == 507
    assert b"/a/path" not in answer.content
    assert snapshot(served_root) == before


async def test_missing_directories_are_made_for_who_asks(uploader: Client, served_root: Path) -> None:
    for query in ("?parents", "?parents=1", "?parents=true"):
        assert (await put(uploader, f"/upload/a/b/{query[1:]}/new{query}")).status == 201
    assert len(list(served_root.rglob("a/b/*/new"))) == 3


async def test_directories_that_were_made_for_an_upload_that_is_refused_are_taken_away(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, directory: int, component: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    before = snapshot(served_root)
    monkeypatch.setattr(draft, "link_new", fail)
    assert (await put(uploader, "/upload/folder/a/b/new?parents")).status == 507
    settle()
    assert snapshot(served_root) == before


async def test_a_file_that_appears_while_the_content_comes_is_not_replaced_against_the_preconditions(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds before the first byte may not hold behind the last."""
    write = draft.Draft.write

    def write_and_be_overtaken(self: draft.Draft, chunks: list[bytes]) -> None:
        write(self, chunks)
        (served_root / "new").write_bytes(b"theirs")

    monkeypatch.setattr(draft.Draft, "write", write_and_be_overtaken)
    for changed, fields, status in (
        ({"replace": False}, {}, 409),
        ({"replace": False}, {"if-none-match": "*"}, 412),
        ({}, {"if-none-match": "*"}, 412),
        ({}, {}, 204),
    ):
        (served_root / "new").unlink(missing_ok=True)
        async with client_of(settings(served_root, **changed)) as client:
            assert (await put(client, "/upload/new", fields=fields)).status == status
        assert (served_root / "new").read_bytes() == (NEW if status == 204 else b"theirs")


async def test_a_file_that_vanishes_while_the_content_comes_does_not_match(
    served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = draft.Draft.write

    def write_and_delete(self: draft.Draft, chunks: list[bytes]) -> None:
        write(self, chunks)
        (served_root / "digits.txt").unlink(missing_ok=True)

    monkeypatch.setattr(draft.Draft, "write", write_and_delete)
    async with client_of(settings(served_root, weak_etag_ms=0)) as client:
        etag = (await client.get("/download/digits.txt"))["etag"]
        answer = await put(client, "/upload/digits.txt", fields={"if-match": etag})
    assert (answer.status, answer.chunks_read) == (412, 2)
    assert not (served_root / "digits.txt").exists()


async def test_digests_are_not_kept_of_a_file_that_changes_at_once(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program writes to the file the moment it has its name, perhaps within the same tick of the clock."""
    link = placing.link_new

    def link_and_write(fd: int, directory: int, component: bytes) -> None:
        link(fd, directory, component)
        with (served_root / "new").open("r+b") as file:
            file.write(b"X")

    monkeypatch.setattr(draft, "link_new", link_and_write)
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # in the same tick
    answer = await put(uploader, "/upload/new")
    assert answer.status == 201
    monkeypatch.undo()
    download = await uploader.get("/download/new")
    assert download.content == b"X" + NEW[1:]
    assert "repr-digest" not in download.fields


async def test_where_times_are_coarse_the_answer_has_no_entity_tag(served_root: Path) -> None:
    async with client_of(settings(served_root, weak_etag_ms=5000)) as client:
        began = time.monotonic()
        answer = await put(client, "/upload/new")
        assert (answer.status, "etag" in answer.fields) == (201, False)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        pytest.param({"uploads_per_client": 1}, 429, id="of_one_client"),
        pytest.param({"uploads": 1}, 503, id="in_all"),
    ],
)
async def test_uploads_at_once_are_bounded(
    served_root: Path, changed: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(settings(served_root, **changed)) as client:
        with client.state["site"].taking.places.take("127.0.0.1"):
            answer = await put(client, "/upload/new")
            assert (answer.status, answer.chunks_read) == (status, 0)
            assert "retry-after" in answer.fields
        assert (await put(client, "/upload/new")).status == 201


async def test_other_methods_are_405_and_say_what_would_do(uploader: Client) -> None:
    for method in ("GET", "HEAD", "PATCH", "DELETE"):
        answer = await uploader.request(method, "/upload/digits.txt")
        assert (answer.status, answer["allow"]) == (405, "PUT, POST")


async def test_links_of_an_answer_stand_under_the_root_path(uploader: Client) -> None:
    uploader.root_path = "/files"
    assert (await put(uploader, "/files/upload/new"))["location"] == "/files/download/new"


async def test_a_hostile_name_is_refused_or_names_only_itself(uploader: Client, served_root: Path) -> None:
    for key, path in HOSTILE.items():
        answer = await put(uploader, f"/upload/{path.decode('latin-1')}?parents")
        assert answer.status in (201, 204, 400, 403, 404, 409), key
        if answer.status in (201, 204):
            assert (await uploader.get(f"/download/{path.decode('latin-1')}")).content == NEW, key
        else:
            assert answer.chunks_read == 0, key


async def test_what_a_crash_has_left_is_gone_after_the_start(served_root: Path) -> None:
    left = served_root / "folder" / ".fileserve-put-0123456789abcdef0123456789abcdef"
    left.write_bytes(b"half")
    async with client_of(settings(served_root)):
        for _ in range(1000):
            if not left.exists():
                break
            await disk.run(time.sleep, 0.01)
    assert not left.exists()


async def test_what_a_crash_has_left_is_never_shown(served_root: Path) -> None:
    (served_root / ".fileserve-put-0123456789abcdef0123456789abcdef").write_bytes(b"half")
    async with client_of(Settings(root=served_root, hidden=True)) as client:
        assert b".hidden" in (await client.get("/api/files/")).content
        for path in ("/api/files/", "/", "/archive.tar", "/checksum/SHA256SUMS"):
            assert b".fileserve-" not in (await client.get(path)).content, path
        assert (await client.get("/download/.fileserve-put-0123456789abcdef0123456789abcdef")).status == 404
    (served_root / ".fileserve-put-0123456789abcdef0123456789abcdef").unlink()


async def test_a_transfer_coding_under_the_chunks_is_not_stored_as_it_is(uploader: Client, served_root: Path) -> None:
    """RFC 9112 §6.1: who does not understand it says 501."""
    fields = {"transfer-encoding": "gzip, chunked"}
    answer = await uploader.request("PUT", "/upload/new", fields, content=[b"compressed"])
    assert answer.status == 501
    assert not (served_root / "new").exists()


@pytest.mark.parametrize("field", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
async def test_without_credentials_nothing_is_taken_through_a_proxy(
    uploader: Client, served_root: Path, field: str
) -> None:
    """Everybody behind it looks like this machine, and its Host may be its own."""
    answer = await put(uploader, "/upload/new", fields={field: "192.0.2.1"})
    assert answer.status == 403
    assert not (served_root / "new").exists()


async def test_what_replaces_a_file_is_not_open_to_more_readers(uploader: Client, served_root: Path) -> None:
    (served_root / "digits.txt").chmod(0o600)
    assert (await put(uploader, "/upload/digits.txt")).status == 204
    assert (served_root / "digits.txt").stat().st_mode & 0o777 == 0o600


async def test_a_request_of_http_1_0_without_a_length_is_411(uploader: Client, served_root: Path) -> None:
    """RFC 1945 §7.2.2: what came until the connection ends would be cut off unseen, and an empty file be stored."""
    answer = Answer()

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        record(answer, message)

    scope = uploader._scope("PUT", "/upload/new", {}) | {"http_version": "1.0"}
    await uploader.app(scope, receive, send)
    assert answer.status == 411
    assert not (served_root / "new").exists()
