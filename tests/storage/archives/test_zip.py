"""The zip layout, read back by three independent programs (PKWARE APPNOTE)."""

import io
import os
import stat
import struct
import subprocess
import time
import zipfile
from pathlib import Path

import pytest

from fileserve.storage.archives.archive import Archive, Format
from fileserve.storage.archives.zipping import zip_name
from fileserve.storage.root import Root
from tests.storage.archiving import Sums, archives_of, opened, span_of, whole
from tests.storage.conftest import AWKWARD, OpenRoot, Served
from tests.tools import tool

GIB = 1 << 30
ZIP = Format.ZIP


def run(folder: Path, program: str, *arguments: str) -> None:
    """Run a program on ``archive.zip`` in *folder*; it must not find any fault."""
    environment = os.environ | {"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"}
    command = [tool(program), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check(content: bytes, folder: Path, *command: str) -> None:
    """Let a program test the archive."""
    (folder / "archive.zip").write_bytes(content)
    run(folder, *command, "archive.zip")


@pytest.fixture
def awkward(changing: Served) -> Served:
    for name in AWKWARD.values():
        changing.write(b"awkward/" + name, name)
    (changing.path / "awkward/nested/empty").mkdir(parents=True)
    changing.write(b"awkward/nothing", b"")
    changing.write(b"awkward/large", os.urandom(300_000))
    changing.link("awkward/nested/link", "../large")
    return changing


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("unzip", "-tq"), id="unzip"),
        pytest.param(("7z", "t"), id="7z"),
        pytest.param(("bsdtar", "-tf"), id="bsdtar"),
    ],
)
async def test_a_program_finds_no_fault(
    awkward: Served, changing_root: Root, tmp_path: Path, command: tuple[str, ...]
) -> None:
    check(await whole(changing_root, b"awkward", form=ZIP), tmp_path, *command)


async def test_unzip_restores_names_modes_links_and_times(awkward: Served, changing_root: Root, tmp_path: Path) -> None:
    (awkward.path / "awkward/large").chmod(0o751)
    os.utime(awkward.path / "awkward/large", (0, 1_000_000_001))
    (tmp_path / "archive.zip").write_bytes(await whole(changing_root, b"awkward", form=ZIP))
    run(tmp_path, "unzip", "-q", "archive.zip")
    unpacked = tmp_path / "awkward"
    status = (unpacked / "large").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o751, 1_000_000_001)
    assert (unpacked / "large").read_bytes() == (awkward.path / "awkward/large").read_bytes()
    assert (unpacked / "nested/link").readlink() == Path("../large")
    assert (unpacked / "nested/empty").is_dir()
    assert (unpacked / os.fsdecode(AWKWARD["emoji"])).read_bytes() == AWKWARD["emoji"]


async def test_python_reads_each_member(awkward: Served, changing_root: Root) -> None:
    with zipfile.ZipFile(io.BytesIO(await whole(changing_root, b"awkward", form=ZIP))) as archive:
        assert archive.testzip() is None
        expected = {zip_name(b"awkward/" + name).decode(): name for name in AWKWARD.values()}
        assert {name: archive.read(name) for name in expected} == expected
        assert all(item.flag_bits & 0x800 and item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())
        assert {"awkward/nested/empty/", "awkward/nothing", "awkward/nested/link"} <= set(archive.namelist())


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        pytest.param(0, (1980, 1, 1, 0, 0, 0), id="before_dos"),
        pytest.param(951_782_399, (2000, 2, 28, 23, 59, 58), id="utc"),
        pytest.param(9_000_000_000, (2107, 12, 31, 23, 59, 58), id="after_dos"),
    ],
)
async def test_dos_times_are_in_utc(
    changing: Served, changing_root: Root, when: int, shown: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    os.utime(changing.path / "directory/inner.txt", (0, when))
    with zipfile.ZipFile(io.BytesIO(await whole(changing_root, b"directory", form=ZIP))) as archive:
        item = archive.getinfo("directory/inner.txt")
    monkeypatch.undo()
    time.tzset()
    assert item.date_time == shown
    assert (b"UT\5\0\1" + struct.pack("<L", when & 0xFFFFFFFF) in item.extra) == (when < 1 << 31)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(b"plain", "plain", id="ascii"),
        pytest.param("\xe9".encode(), "\xe9", id="utf8"),
        pytest.param(b"a\xe9\xff", "a\ufffdE9\ufffdFF", id="no_utf8"),
        pytest.param("a\ufffdE9\ufffdFF".encode(), "a\ufffdEF\ufffdBF\ufffdBDE9\ufffdEF\ufffdBF\ufffdBDFF", id="alike"),
    ],
)
def test_a_name_that_is_no_utf8_has_a_name_of_its_own(path: bytes, name: str) -> None:
    assert zip_name(path).decode() == name


class _Sparse(io.RawIOBase):
    """An archive as a file, of which only what is asked for is read."""

    def __init__(self, parts: dict[int, bytes], length: int) -> None:
        self._parts = parts
        self._length = length
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._length)[whence] + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        begin, data = next((at, part) for at, part in self._parts.items() if at <= self._at < at + len(part) + 1)
        found = data[self._at - begin :][: count if count >= 0 else None]
        self._at += len(found)
        return found


def _known_sums(served: Served) -> Sums:
    """Return sums that need no reading of holes; the numbers are arbitrary."""
    sums = Sums()
    sums.known = {path.stat().st_ino: 0x1234 for path in served.path.glob("big/*") if path.stat().st_size > GIB}
    return sums


async def _ends(archive: Archive) -> _Sparse:
    tail = archive.length - 600
    return _Sparse(
        {0: await span_of(archive, 0, 400), tail: await span_of(archive, tail, archive.length)}, archive.length
    )


@pytest.mark.parametrize("size", [4 * GIB - 2, 4 * GIB - 1, 4 * GIB, 5 * GIB])
async def test_a_file_of_4_gib_has_a_zip64_field(changing: Served, changing_root: Root, size: int) -> None:
    changing.write(b"big/a", b"")
    os.truncate(changing.path / "big/a", size)
    changing.write(b"big/b", b"behind")
    async with opened(archives_of(changing_root, _known_sums(changing)), b"big", form=ZIP) as archive:
        with zipfile.ZipFile(await _ends(archive)) as read:
            item, behind = read.getinfo("big/a"), read.getinfo("big/b")
            assert (item.file_size, item.compress_size, item.CRC) == (size, size, 0x1234)
            assert behind.header_offset > size
            assert read.read("big/b") == b"behind"
            assert item.extract_version == (45 if size >= 4 * GIB - 1 else 20)
        is_wide = size >= 4 * GIB - 1
        descriptor = await span_of(archive, behind.header_offset - (24 if is_wide else 16), behind.header_offset)
    assert descriptor == struct.pack("<4sL2Q" if is_wide else "<4s3L", b"PK\7\x08", 0x1234, size, size)


async def test_unzip_reads_an_archive_beyond_4_gib(changing: Served, changing_root: Root, tmp_path: Path) -> None:
    changing.write(b"big/a", b"")
    os.truncate(changing.path / "big/a", 4 * GIB + 1)
    changing.write(b"big/b", b"behind")
    path = tmp_path / "archive.zip"
    async with opened(archives_of(changing_root, _known_sums(changing)), b"big", form=ZIP) as archive:
        with path.open("wb") as file:
            file.write(await span_of(archive, 0, 400))
            file.truncate(archive.length - 600)
            file.seek(archive.length - 600)
            file.write(await span_of(archive, archive.length - 600, archive.length))
    run(tmp_path, "unzip", "-tq", "archive.zip", "big/b")
    run(tmp_path, "7z", "t", "archive.zip", "big/b")


@pytest.mark.parametrize("count", [65_534, 65_535, 65_540])
async def test_65535_members_need_zip64(tmp_path: Path, plain_root: OpenRoot, count: int) -> None:
    """All are names of two files: as many files that are made and deleted would slow down the disk for other tests."""
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("even", "odd"):  # a file of ext4 has 65,000 names at most
        (tmp_path / name).touch(0o644)
    for number in range(count - 1):
        os.link(tmp_path / ("odd" if number % 2 else "even"), f"{folder}/{number:05}")
    content = await whole(plain_root(tmp_path), b"many", form=ZIP)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.infolist()) == count
    assert (b"PK\6\6" in content) == (count >= 65_535)
    check(content, tmp_path, "unzip", "-tqq")
