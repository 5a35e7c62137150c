"""Digests in fields, beside files and streamed: known ones at once, others when they are computed, never wrong ones."""

import asyncio
import base64
import gc
import hashlib
import json
import logging
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import anyio
import pytest
from starlette.types import Message

from fileserve import Settings
from fileserve.storage.hashing import Pass
from fileserve.web.content import Text
from fileserve.web.digests.indexing import index_all
from tests.asgi import Answer, Client, client_of
from tests.storage.conftest import unprivileged
from tests.web.conftest import AN_HOUR_AGO_NS, DIGITS, LARGE

SHA_256 = base64.b64encode(hashlib.sha256(DIGITS).digest()).decode()
SHA_512 = base64.b64encode(hashlib.sha512(DIGITS).digest()).decode()
LINE = f"{hashlib.sha256(DIGITS).hexdigest()}  digits.txt\n".encode()


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    settings = Settings(root=served_root, weak_etag_ms=0)
    async with client_of(settings) as opened:
        yield opened


async def known(client: Client, path: str = "digits.txt") -> None:
    """Have the digest of *path* computed."""
    assert (await client.get(f"/checksum/{path}")).finished


async def eventually(client: Client, path: str, status: int = 200) -> Answer:
    """Return the answer to *path* once it has *status*."""
    with anyio.fail_after(20):
        while (answer := await client.get(path)).status != status:  # noqa: ASYNC110  nobody tells when it is worth asking again
            await anyio.sleep(0.02)
    return answer


async def digested(client: Client, path: str) -> Answer:
    """Return the answer to *path* once it has a digest."""
    with anyio.fail_after(20):
        while "repr-digest" not in (answer := await client.get(path)).fields:  # noqa: ASYNC110  nobody tells when
            await anyio.sleep(0.05)
    return answer


async def test_a_plain_request_carries_what_is_known_and_waits_for_nothing(client: Client) -> None:
    assert "repr-digest" not in (await client.get("/download/digits.txt")).fields
    await known(client)
    for method, fields in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=2-4"})):
        answer = await client.request(method, "/download/digits.txt", fields)
        assert answer["repr-digest"] == f"sha-256=:{SHA_256}:"
        assert "digest" not in answer.fields


@pytest.mark.parametrize(
    ("field", "value", "name", "expected"),
    [
        pytest.param("Want-Repr-Digest", "sha-256=1", "repr-digest", f"sha-256=:{SHA_256}:", id="sha_256"),
        pytest.param("Want-Repr-Digest", "sha-256=1, sha-512=9", "repr-digest", f"sha-512=:{SHA_512}:", id="sha_512"),
        pytest.param("Want-Digest", "SHA-512;q=0.1, sha-256;q=1", "digest", f"SHA-256={SHA_256}", id="legacy"),
        pytest.param("Want-Content-Digest", "sha-256=1", "content-digest", f"sha-256=:{SHA_256}:", id="of_the_content"),
    ],
)
async def test_a_small_file_s_digest_is_computed_when_it_is_wanted(
    client: Client, field: str, value: str, name: str, expected: str
) -> None:
    answer = await client.get("/download/digits.txt", {field: value})
    assert (answer.status, answer.content) == (200, DIGITS)
    assert answer[name] == expected


async def test_head_starts_nothing(client: Client) -> None:
    for path in ("/download/digits.txt", "/checksum/digits.txt", "/download/digits.txt.sha256"):
        await client.request("HEAD", path, {"Want-Repr-Digest": "sha-256=1"})
    assert "repr-digest" not in (await client.get("/download/digits.txt")).fields


async def test_a_content_digest_is_of_the_range_that_is_sent(client: Client) -> None:
    answer = await client.get("/download/digits.txt", {"Range": "bytes=2-4", "Want-Content-Digest": "sha-256=1"})
    digest = base64.b64encode(hashlib.sha256(b"234").digest()).decode()
    assert (answer.status, answer["content-digest"]) == (206, f"sha-256=:{digest}:")


async def test_none_is_sent_to_a_client_that_wants_another_algorithm_only(client: Client) -> None:
    await known(client)
    answer = await client.get("/download/digits.txt", {"Want-Repr-Digest": "md5=5, sha-256=0"})
    assert "repr-digest" not in answer.fields


async def test_a_changed_file_has_no_old_digest(client: Client, served_root: Path) -> None:
    await known(client)
    (served_root / "digits.txt").write_bytes(DIGITS[::-1])
    os.utime(served_root / "digits.txt", ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))  # same size, same mtime: ctime tells
    answer = await client.get("/download/digits.txt")
    assert answer.content == DIGITS[::-1]
    assert "repr-digest" not in answer.fields


async def test_a_checksum_is_streamed_with_comments_and_then_at_once(client: Client) -> None:
    first = await client.get("/checksum/large.bin")
    *comments, last = first.content.splitlines(keepends=True)
    assert first.finished
    assert comments
    assert all(line.startswith(b"# ") for line in comments)
    assert last == f"{hashlib.sha256(LARGE).hexdigest()}  large.bin\n".encode()
    second = await client.get("/checksum/large.bin")
    assert second.content == last
    assert second["content-length"] == str(len(last))


async def test_the_sha256_beside_a_file_comes_when_it_is_known(client: Client) -> None:
    first = await client.get("/download/digits.txt.sha256")
    assert first.status == 503
    assert int(first["retry-after"]) > 0
    assert (await client.get(json.loads(first.content)["checksum"])).content.endswith(LINE)
    assert (await eventually(client, "/download/digits.txt.sha256")).content == LINE


async def test_the_metalink_beside_a_file_names_its_size_digest_and_pieces(client: Client) -> None:
    answer = await eventually(client, "/download/large.bin.meta4")
    assert answer["content-type"] == "application/metalink4+xml"
    spaces = {"m": "urn:ietf:params:xml:ns:metalink"}
    file = ElementTree.fromstring(answer.content).find("m:file", spaces)
    assert file is not None
    assert file.get("name") == "large.bin"
    assert file.findtext("m:size", namespaces=spaces) == str(len(LARGE))
    assert file.findtext("m:hash", namespaces=spaces) == hashlib.sha256(LARGE).hexdigest()
    assert (file.findtext("m:url", namespaces=spaces) or "").endswith("/download/large.bin")
    link = (await client.get("/download/large.bin"))["link"]
    assert link == '<large.bin.meta4>; rel="describedby"; type="application/metalink4+xml"'


@pytest.mark.parametrize("suffix", [".sha256", ".meta4"])
async def test_a_real_file_of_that_name_wins(client: Client, served_root: Path, suffix: str) -> None:
    (served_root / f"digits.txt{suffix}").write_bytes(b"its own")
    assert (await client.get(f"/download/digits.txt{suffix}")).content == b"its own"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param(
            "/archive.zip?include=large.bin",
            {"Range": "bytes=-300", "Want-Content-Digest": "sha-256=1"},
            id="of_an_archive_s_range",
        ),
        pytest.param("/download/large.bin", {"Want-Repr-Digest": "sha-256=1"}, id="of_a_file"),
    ],
)
async def test_a_client_that_leaves_takes_no_place_among_the_digests(
    client: Client, path: str, fields: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does its request go on: a disk that takes its time would have others refused for nobody."""
    hash_now, gone, begun = Pass._hash, asyncio.Event(), threading.Event()

    def hash_when_told(reading: Pass, fd: int) -> object:
        begun.set()
        reading._woken.wait()
        return hash_now(reading, fd)

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    monkeypatch.setattr(Pass, "_hash", hash_when_told)
    request = asyncio.ensure_future(client.app(client._scope("GET", path, fields), receive, send))
    assert await asyncio.to_thread(begun.wait, 20)
    gone.set()
    with anyio.fail_after(20):
        await asyncio.wait((request,))
        while client.state["site"].digests.checksums.figures().running:  # noqa: ASYNC110  nobody tells when
            await anyio.sleep(0.01)


@pytest.mark.parametrize("path", ["absent.sha256", "absent.meta4", "folder.sha256", ".sha256", "digits.txt.sha256/"])
async def test_there_is_nothing_beside_what_is_no_file(client: Client, path: str) -> None:
    assert (await client.get(f"/download/{path}")).status == 404


async def test_a_folder_s_sums_come_when_all_are_known(client: Client, served_root: Path) -> None:
    (served_root / "folder" / "deeper" / "last").write_bytes(b"last")
    assert (await client.get("/checksum/folder/SHA256SUMS")).status == 503
    answer = await eventually(client, "/checksum/folder/SHA256SUMS")
    assert (
        answer.content
        == (
            f"{hashlib.sha256(b'last').hexdigest()}  deeper/last\n{hashlib.sha256(b'inner').hexdigest()}  inner.txt\n"
        ).encode()
    )


async def test_a_folder_s_sums_are_computed_whether_anybody_asks_again_or_not(
    client: Client, served_root: Path
) -> None:
    for number in range(300):  # more than a queue holds
        (served_root / "folder" / f"{number}").write_bytes(b"%d" % number)
    assert (await client.get("/checksum/folder/SHA256SUMS")).status == 503
    with anyio.fail_after(60):
        while (await client.request("HEAD", "/checksum/folder/SHA256SUMS")).status != 200:  # noqa: ASYNC110  begins nothing
            await anyio.sleep(0.05)


async def test_clients_share_a_folder_s_sums_in_memory_for_as_long_as_one_takes_them(client: Client) -> None:
    path = "/checksum/folder/SHA256SUMS"
    await eventually(client, path)
    scope, goes_on = client._scope("GET", path, {}), asyncio.Event()
    begun: asyncio.Queue[Message] = asyncio.Queue()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        begun.put_nowait(message)
        await goes_on.wait()

    taking = [asyncio.ensure_future(client.app(scope, receive, send)) for _ in range(3)]
    for _ in taking:
        assert (await begun.get())["status"] == 200
    await wait_for_texts(1)
    goes_on.set()
    await asyncio.gather(*taking)
    del taking
    await wait_for_texts(0)


async def wait_for_texts(count: int) -> None:
    """Wait until so many are in memory; the thread that has made one has it for a moment longer."""
    with anyio.move_on_after(5):
        while texts() != count:  # noqa: ASYNC110  no garbage tells when it is gone
            await anyio.sleep(0.02)
    assert texts() == count


def texts() -> int:
    gc.collect()
    return sum(isinstance(held, Text) for held in gc.get_objects())


async def test_a_real_file_named_sha256sums_wins(client: Client, served_root: Path) -> None:
    (served_root / "folder" / "SHA256SUMS").write_bytes(b"its own")
    answer = await client.get("/checksum/folder/SHA256SUMS")
    assert answer.content.splitlines()[-1] == f"{hashlib.sha256(b'its own').hexdigest()}  SHA256SUMS".encode()


@pytest.mark.parametrize("path", ["absent", "folder", "absent/SHA256SUMS", "digits.txt/SHA256SUMS", "fifo"])
async def test_there_is_no_checksum_of_what_is_no_file(client: Client, path: str) -> None:
    assert (await client.get(f"/checksum/{path}")).status in (403, 404)


async def test_the_background_pass_fills_the_index(served_root: Path) -> None:
    settings = Settings(root=served_root, weak_etag_ms=0, index=True)
    async with client_of(settings) as client:
        assert "repr-digest" in (await digested(client, "/download/folder/inner.txt")).fields


async def test_the_background_pass_passes_over_what_it_may_not_read(client: Client, served_root: Path) -> None:
    (served_root / "digits.txt").chmod(0)
    (served_root / "another" / "within").mkdir(parents=True)
    (served_root / "another").chmod(0)
    with unprivileged():
        await index_all(client.state["site"], None)
    (served_root / "another").chmod(0o755)
    assert "repr-digest" in (await client.get("/download/folder/inner.txt")).fields
    assert "repr-digest" not in (await client.get("/download/digits.txt")).fields


async def test_the_background_pass_tells_what_it_has_done(
    served_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fileserve.index")
    (tmp_path / "empty").mkdir()
    (served_root / "page.html").chmod(0)
    async with client_of(Settings(root=tmp_path / "empty")) as client:
        await index_all(client.state["site"], None)
    async with client_of(Settings(root=served_root, weak_etag_ms=0)) as client:
        await known(client)
        with unprivileged():
            await index_all(client.state["site"], None)
    assert [record.getMessage() for record in caplog.records if record.message.startswith("digests: ")] == [
        "digests: 0 files hashed, 0 known before, 0 could not be read",
        "digests: 9 files hashed, 1 known before, 1 could not be read",
    ]


async def test_digests_survive_a_restart(served_root: Path, tmp_path: Path) -> None:
    settings = Settings(root=served_root, weak_etag_ms=0, index_file=tmp_path / "index.sqlite")
    async with client_of(settings) as client:
        await known(client)
    async with client_of(settings) as client:
        assert (await client.get("/download/digits.txt"))["repr-digest"] == f"sha-256=:{SHA_256}:"
