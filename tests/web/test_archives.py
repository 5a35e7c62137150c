"""``/archive/{dir}.tar`` and ``.zip`` in process: as much of a file as a file is."""

import base64
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserve import Settings
from tests.asgi import Client, client_of
from tests.storage.conftest import unprivileged
from tests.web.conftest import AN_HOUR_AGO_NS, DIGITS

BOTH = pytest.mark.parametrize("extension", ["tar", "zip"])


def members(extension: str, content: bytes) -> dict[str, bytes]:
    """Return the regular files of an archive."""
    if extension == "tar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return {item.name: archive.extractfile(item).read() for item in archive if item.isfile()}  # type: ignore[union-attr]
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}


@BOTH
async def test_a_folder_is_one_file(client: Client, extension: str) -> None:
    answer = await client.get(f"/archive/folder.{extension}")
    assert (answer.status, answer.finished) == (200, True)
    assert int(answer["content-length"]) == len(answer.content)
    assert answer["accept-ranges"] == "bytes"
    assert answer["content-disposition"] == f'attachment; filename="folder.{extension}"'
    assert answer["content-type"] == {"tar": "application/x-tar", "zip": "application/zip"}[extension]
    assert members(extension, answer.content) == {"folder/inner.txt": b"inner"}


@BOTH
async def test_head_announces_what_get_sends(client: Client, extension: str) -> None:
    answer = await client.get(f"/archive/folder.{extension}")
    head = await client.request("HEAD", f"/archive/folder.{extension}")
    assert (head.status, head.content, head.fields) == (200, b"", answer.fields)


@BOTH
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_range_is_the_slice_of_the_whole(client: Client, extension: str, data: st.DataObject) -> None:
    whole = (await client.get(f"/archive.{extension}")).content
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first, len(whole) - 1))
    answer = await client.get(f"/archive.{extension}", {"Range": f"bytes={first}-{last}"})
    assert answer.status == 206
    assert answer["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert answer.content == whole[first : last + 1]


@BOTH
async def test_the_root_is_an_archive_without_its_real_name(client: Client, served_root: Path, extension: str) -> None:
    answer = await client.get(f"/archive.{extension}")
    found = members(extension, answer.content)
    assert found["files/digits.txt"] == DIGITS
    assert not [name for name in found if "hidden" in name or "fifo" in name or "leaving" in name]
    assert served_root.name.encode() + b"/" not in answer.content.replace(b"files/", b"")


@BOTH
async def test_its_tag_resumes_it_and_its_date_does_not(client: Client, extension: str) -> None:
    url = f"/archive/folder.{extension}"
    answer = await client.get(url)
    tag, date = answer["etag"], answer["last-modified"]
    assert not tag.startswith("W/")
    assert (await client.get(url, {"Range": "bytes=10-", "If-Range": tag})).status == 206
    assert (await client.get(url, {"Range": "bytes=10-", "If-Range": date})).status == 200
    assert (await client.get(url, {"If-None-Match": tag})).status == 304
    assert (await client.get(url, {"If-Match": '"other"'})).status == 412


@BOTH
async def test_replicas_of_a_tree_have_one_tag_when_it_is_portable(
    served_root: Path, tmp_path: Path, extension: str
) -> None:
    shutil.copytree(served_root / "folder", tmp_path / "replica" / "folder")
    tags = []
    for root, made_of in ((served_root, "portable"), (tmp_path / "replica", "portable"), (served_root, "inode")):
        for path in (*(root / "folder").rglob("*"), root / "folder"):
            os.utime(path, ns=(0, AN_HOUR_AGO_NS))
        async with client_of(Settings(root=root, etag=made_of, weak_etag_ms=0)) as client:
            tags.append((await client.get(f"/archive/folder.{extension}"))["etag"])
    assert tags[0] == tags[1] != tags[2]


CHANGES = {
    "grown": lambda folder: (folder / "inner.txt").write_bytes(b"inner and more"),
    "touched": lambda folder: os.utime(folder / "inner.txt", ns=(0, AN_HOUR_AGO_NS + 1)),
    "added": lambda folder: (folder / "new").write_bytes(b""),
    "removed": lambda folder: (folder / "inner.txt").unlink(),
    "replaced_with_the_same_times": lambda folder: replace(folder / "inner.txt"),
    "permissions": lambda folder: (folder / "inner.txt").chmod(0o600),
    "renamed": lambda folder: (folder / "inner.txt").rename(folder / "other.txt"),
    "a_directory_within": lambda folder: (folder / "deeper" / "new").mkdir(),
}


def replace(path: Path) -> None:
    path.with_name("copy").write_bytes(path.read_bytes())
    os.utime(path.with_name("copy"), ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))
    path.with_name("copy").replace(path)


@BOTH
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_whatever_changes_in_the_folder_changes_the_tag(
    client: Client, served_root: Path, extension: str, change: object
) -> None:
    url = f"/archive/folder.{extension}"
    tag = (await client.get(url))["etag"]
    assert (await client.get(url))["etag"] == tag
    change(served_root / "folder")  # type: ignore[operator]
    assert (await client.get(url))["etag"] != tag
    assert (await client.get(url, {"Range": "bytes=10-", "If-Range": tag})).status == 200
    assert (await client.get(url, {"If-Match": tag})).status == 412


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/archive/absent.tar", 404, id="absent"),
        pytest.param("/archive/digits.txt.tar", 404, id="of_a_file"),
        pytest.param("/archive/folder", 404, id="without_extension"),
        pytest.param("/archive/folder.tar/", 404, id="trailing_slash"),
        pytest.param("/archive/folder.rar", 404, id="another_extension"),
        pytest.param("/archive/.tar", 404, id="no_name"),
        pytest.param("/archive/", 404, id="nothing"),
        pytest.param("/archive.tar/folder", 404, id="beneath_the_root_s"),
        pytest.param("/archive.tar/", 404, id="the_root_s_with_a_slash"),
        pytest.param("/archive.tar?include=nothing", 404, id="patterns_that_choose_nothing"),
        pytest.param("/archive.tar?include=", 400, id="an_empty_pattern"),
        pytest.param("/archive/..%2f.tar", 400, id="dots_and_slash"),
        pytest.param("/archive/%2e%2e/folder.tar", 400, id="dots"),
        pytest.param("/archive/leaving.tar", 404, id="a_link_that_leaves"),
        pytest.param("/archive/fifo.tar", 404, id="a_fifo"),
    ],
)
async def test_what_is_no_archive_is_refused(client: Client, path: str, status: int) -> None:
    assert (await client.get(path)).status == status


async def test_patterns_choose_the_members(client: Client) -> None:
    chosen = await client.get("/archive.tar?include=*.txt&exclude=folder")
    found = members("tar", chosen.content)
    assert "files/digits.txt" in found
    assert not [name for name in found if not name.endswith(".txt") or name.startswith("files/folder/")]
    assert chosen["etag"] != (await client.get("/archive.tar"))["etag"]


async def test_more_members_than_allowed_are_refused_with_the_number(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, archive_members=3)) as client:
        answer = await client.get("/archive.tar")
    assert answer.status == 403
    assert b"3" in answer.content


async def test_a_member_that_cannot_be_read_is_named_before_the_first_byte(client: Client, served_root: Path) -> None:
    (served_root / "folder" / "inner.txt").chmod(0)
    with unprivileged():
        answer = await client.get("/archive/folder.tar")
    assert answer.status == 403
    assert b"inner.txt" in answer.content


@BOTH
async def test_a_member_that_changes_under_way_leaves_the_archive_unfinished(served_root: Path, extension: str) -> None:
    """The table is made when the response is planned; what is opened later has to be what the table says."""
    second = served_root / "folder" / "second.bin"
    second.write_bytes(bytes(3_000_000))
    async with client_of(Settings(root=served_root, weak_etag_ms=0)) as client:
        opened = client.state["site"].digests.archives.open
        sizes = []

        async def open_and_change(*arguments: object, **options: object) -> object:
            archive = await opened(*arguments, **options)
            second.write_bytes(bytes(2_999_999))
            sizes.append(archive.length)
            return archive

        client.state["site"].digests.archives.open = open_and_change
        answer = await client.get(f"/archive/folder.{extension}")
    assert answer.status == 200
    assert not answer.finished
    assert len(answer.content) < sizes[0]


@BOTH
@pytest.mark.parametrize("form", ["folder", "file"])
async def test_names_as_long_as_they_may_be_have_archives_and_digests(
    client: Client, served_root: Path, extension: str, form: str
) -> None:
    name = "n" * 255
    if form == "folder":
        (served_root / name).mkdir()
        assert (await client.get(f"/archive/{name}.{extension}")).status == 200
        return
    (served_root / name).write_bytes(b"long")
    await client.get(f"/checksum/{name}")
    assert (await client.get(f"/download/{name}.sha256")).status == 200
    assert (await client.get(f"/download/{name}nnnnnn")).status == 404


async def test_a_name_that_was_added_is_seen_although_the_directory_s_mtime_was_set_back(
    client: Client, served_root: Path
) -> None:
    """As rsync and tar do, which set the times of directories last."""
    folder = served_root / "folder"
    os.utime(folder, ns=(0, AN_HOUR_AGO_NS))
    tag = (await client.get("/archive/folder.tar"))["etag"]
    (folder / "new").write_bytes(b"new")
    os.utime(folder, ns=(0, AN_HOUR_AGO_NS))
    answer = await client.get("/archive/folder.tar")
    assert answer["etag"] != tag
    assert "folder/new" in members("tar", answer.content)


@BOTH
@pytest.mark.parametrize("change", ["replaced_by_a_longer_one", "emptied_one_gets_content", "empty_one_is_deleted"])
async def test_whatever_changes_under_way_leaves_the_archive_unfinished(
    served_root: Path, extension: str, change: str
) -> None:
    folder = served_root / "folder"
    (folder / "a.bin").write_bytes(b"A" * 3_000_000)
    (folder / "z.empty").touch()
    async with client_of(Settings(root=served_root, weak_etag_ms=0)) as client:

        def interfere() -> None:
            if change == "replaced_by_a_longer_one":
                (folder / "a.bin").write_bytes(b"Z" * 3_500_000)
            elif change == "emptied_one_gets_content":
                (folder / "z.empty").write_bytes(b"no longer")
            else:
                (folder / "z.empty").unlink()

        answer = await client.request("GET", f"/archive/folder.{extension}", meanwhile=(100_000, interfere))
    assert answer.status == 200
    assert not answer.finished


async def test_a_content_digest_of_an_archive_is_of_the_range(client: Client) -> None:
    answer = await client.get("/archive/folder.tar", {"Range": "bytes=0-511", "Want-Content-Digest": "sha-256=1"})
    digest = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
    assert (answer.status, answer["content-digest"]) == (206, f"sha-256=:{digest}:")


async def test_a_client_that_leaves_stops_the_archive_at_once(served_root: Path) -> None:
    """Members that are read and joined tell nobody that the client is gone; the server has to listen."""
    for number in range(3000):
        (served_root / "folder" / f"{number}").write_bytes(bytes(1000))
    opened = 0
    async with client_of(Settings(root=served_root, weak_etag_ms=0), zero_copy=True) as client:
        root = client.state["site"].root
        open_file = root.open

        async def count(name: object) -> object:
            nonlocal opened
            opened += 1
            return await open_file(name)

        root.open = count
        await client.request("GET", "/archive/folder.tar", leave_after=100_000)
    assert opened < 2000  # some, until the loop has turned often enough for the news to arrive; never all
