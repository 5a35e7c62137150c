"""The tar layout, read back by three independent programs."""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from fileserve.storage.archives.archive import Format
from fileserve.storage.root import Root
from tests.storage.archiving import archives_of, opened, span_of, whole
from tests.storage.conftest import AWKWARD, Served
from tests.tools import tool

GIB = 1 << 30


def unpack(program: str, archive: bytes, folder: Path) -> None:
    """Unpack with *program*, which must not have anything to say."""
    (folder / "archive.tar").write_bytes(archive)
    done = subprocess.run(
        [tool(program), "-x", "-p", "-f", "archive.tar"],
        cwd=folder,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def contents(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Return what lies beneath *folder*: kind and permissions, mtime, and content or target."""
    found: dict[bytes, tuple[object, ...]] = {}
    for top, directories, files in os.walk(os.fsencode(folder)):
        for path in (os.path.join(top, name) for name in (*directories, *files)):
            status = os.lstat(path)
            data: bytes | None = None
            if os.path.islink(path):
                data = os.readlink(path)
            elif not os.path.isdir(path):
                with open(path, "rb") as file:
                    data = hashlib.sha256(file.read()).digest()
            found[os.path.relpath(path, os.fsencode(folder))] = (oct(status.st_mode), status.st_mtime_ns, data)
    return found


@pytest.fixture
def awkward(changing: Served) -> Served:
    """A directory of which every member is archived as what it is."""
    folder = changing.path / "awkward"
    (folder / "nested/empty").mkdir(parents=True)
    for name in AWKWARD.values():
        changing.write(b"awkward/" + name, name)
    for path in (b"nested/" * 20 + b"file", b"\xe9" * 60 + b"/" + b"\xe8" * 60, b"u/" + "\xe9".encode() * 80):
        changing.write(b"awkward/" + path, path)
    changing.write(b"awkward/nothing", b"")
    changing.write(b"awkward/block", b"x" * 512)
    changing.write(b"awkward/large", os.urandom(300_000))
    changing.link("awkward/nested/link", "../large")
    changing.link("awkward/long-link", "nested/" * 20 + "file")
    (folder / os.fsdecode(b"no-utf8-link")).symlink_to(os.fsdecode(b"\xe9" * 60 + b"/" + b"\xe8" * 60))
    (folder / "block").chmod(0o751)
    for path_, when in (("nothing", -1_500_000_000), ("block", 10_000_000_000 * 10**9 + 1), ("large", 5 * 10**9)):
        os.utime(folder / path_, ns=(when, when))
    return changing


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
async def test_a_program_restores_each_member(
    awkward: Served, changing_root: Root, tmp_path: Path, program: str
) -> None:
    (tmp_path / "unpacked").mkdir()
    folder = awkward.path / "awkward"
    if program == "tar":  # it warns of times before 1970 and of those to come
        os.utime(folder / "nothing", ns=(0, 1))
        os.utime(folder / "block", ns=(0, 1))
    else:  # it takes the fraction of a time before 1970 as added, and composes what is decomposed
        os.utime(folder / "nothing", ns=(0, -2 * 10**9))
        (folder / os.fsdecode(AWKWARD["decomposed"])).unlink()
    content = await whole(changing_root, b"awkward")
    unpack(program, content, tmp_path / "unpacked")
    assert contents(tmp_path / "unpacked/awkward") == contents(awkward.path / "awkward")


async def test_python_reads_each_member(awkward: Served, changing_root: Root) -> None:
    content = await whole(changing_root, b"awkward")
    expected = contents(awkward.path / "awkward")
    with tarfile.open(fileobj=io.BytesIO(content), errorlevel=2) as archive:
        found = {os.fsencode(item.name)[len("awkward/") :]: item for item in archive if item.name != "awkward"}
        assert found.keys() == expected.keys()
        for path, item in found.items():
            assert (item.uid, item.gid, item.uname, item.gname) == (0, 0, "", ""), path
            file = archive.extractfile(item) if item.isreg() else None
            if file is not None:
                assert hashlib.sha256(file.read()).digest() == expected[path][2], path
    assert found[b"nothing"].mtime == -1.5
    assert os.fsencode(found[b"no-utf8-link"].linkname) == b"\xe9" * 60 + b"/" + b"\xe8" * 60


async def test_members_of_the_root_lie_under_a_folder_of_another_name(root: Root) -> None:
    with tarfile.open(fileobj=io.BytesIO(await whole(root))) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"files"}


async def test_special_permissions_are_dropped(changing: Served, changing_root: Root) -> None:
    (changing.path / "directory/inner.txt").chmod(0o6755)
    with tarfile.open(fileobj=io.BytesIO(await whole(changing_root, b"directory"))) as archive:
        assert oct(archive.getmember("directory/inner.txt").mode) == oct(0o755)


async def test_an_archive_is_whole_records_and_ends_with_zeros(root: Root) -> None:
    content = await whole(root, b"directory")
    assert len(content) % 10_240 == 0
    assert content[-1024:] == bytes(1024)


@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 9 * GIB + 1])
async def test_a_file_of_8_gib_has_its_size_in_a_record(changing: Served, changing_root: Root, size: int) -> None:
    """Only what is not content is read: the file is a hole."""
    changing.write(b"big/a-file", b"")
    os.truncate(changing.path / "big/a-file", size)
    changing.write(b"big/b-file", b"behind")
    async with opened(archives_of(changing_root), b"big", form=Format.TAR) as archive:
        head = await span_of(archive, 0, 4 * 1536)
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as read:
            assert read.next() is not None
            item = read.next()
        assert item is not None
        assert (item.size, archive.length > size) == (size, True)
        behind = item.offset_data + -(-size // 512) * 512
        assert behind % 512 == 0
        tail = await span_of(archive, behind, archive.length)
    with tarfile.open(fileobj=io.BytesIO(tail)) as read:
        assert read.getnames() == ["big/b-file"]
        file = read.extractfile("big/b-file")
        assert file is not None
        assert file.read() == b"behind"
