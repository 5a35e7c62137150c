"""A folder travels as one file, is broken off and goes on, and arrives as the folder that it was.

The folder has what folders have at their worst: awkward names, empty files and directories, a link, and a sparse file
that is larger than 4 GiB, where 32 bits end.
"""

import calendar
import os
import random
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from tests.system.clients import run_client, strong_etag
from tests.system.relay import Fault, relaying
from tests.system.samples import MIB, is_content_of
from tests.tools import Running, tool

pytestmark = [pytest.mark.system, pytest.mark.alone]

FOUR_GIB = 1 << 32
SPARSE_SIZE = FOUR_GIB + 3 * MIB + 17
SPARSE = "album/sparse.img"
CUTS = 20
PATIENT = 600  # seconds for a client to write four gigabytes
AN_HOUR_AGO_NS = 1_700_000_000_123_456_789

AWKWARD = (
    "with space 'single' \"double\" & <angle>.txt",
    "new\nline.txt",
    "back\\slash",
    "-leading-dash",
    "umlaut-äöü-😀.txt",
    "x" * 200 + ".long",
)


@pytest.fixture(scope="module")
def album(served_root: Path) -> Iterator[Path]:
    """The folder, with times of an hour ago and a fraction of a second."""
    top = served_root / "album"
    (top / "nested" / "deeper").mkdir(parents=True)
    (top / "empty directory").mkdir()
    chance = random.Random(4)
    for name in AWKWARD:
        (top / "nested" / name).write_bytes(chance.randbytes(chance.randrange(1, 5000)))
    (top / "nested" / "deeper" / "empty file").touch()
    (top / "photo.raw").write_bytes(chance.randbytes(5 * MIB + 1))
    (top / "link to photo").symlink_to("photo.raw")
    with (top / "sparse.img").open("wb") as file:
        file.truncate(SPARSE_SIZE)
        for place in (0, FOUR_GIB - 5, SPARSE_SIZE - 10):
            file.seek(place)
            file.write(chance.randbytes(10))
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS), follow_symlinks=False)
    yield top
    shutil.rmtree(top)


def cuts(length: int) -> list[Fault]:
    """Return faults that cut a download of *length* bytes at random offsets: each counts from the one before."""
    offsets = sorted(random.Random(length).sample(range(1, length), CUTS))
    return [Fault(stop - start) for start, stop in zip([0, *offsets], offsets, strict=False)]


WGET = ("wget", "-c", "--tries=1", "-nv")
CURL = ("curl", "-sSf", "-C", "-", "-O")


def fetch_with_cuts(url: str, faults: list[Fault], folder: Path) -> None:
    """Download by wget, and go on after each cut with curl and wget in turn."""
    with relaying(url, *faults) as relay:
        for attempt in range(CUTS + 1):
            ended = run_client(*(CURL if attempt % 2 else WGET), relay.url, folder=folder, timeout_s=PATIENT)
            assert (ended.returncode == 0) == (attempt == CUTS), ended.stderr
    assert len(relay.ranges) == CUTS + 1
    assert None not in relay.ranges[1:], "it started over"


@pytest.mark.timeout(PATIENT)
@pytest.mark.parametrize("extension", ["tar", "zip"])
def test_a_folder_that_is_cut_twenty_times_arrives_whole(
    extension: str, server: Running, album: Path, folder: Path
) -> None:
    url = f"{server.url}/archive/album.{extension}"
    strong_etag(url)
    length = int(
        run_client("curl", "-sI", "-w", "%header{content-length}", "-o", "/dev/null", url, folder=folder).stdout
    )
    fetch_with_cuts(url, cuts(length), folder)
    archive = folder / f"album.{extension}"
    assert archive.stat().st_size == length
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    unpack, unpack_sparse = UNPACK[extension]
    ended = subprocess.run([tool(unpack[0]), *unpack[1:]], cwd=unpacked, capture_output=True, timeout=PATIENT)
    assert (ended.returncode, ended.stderr) == (0, b"")
    compare(album, unpacked / "album", exact_times=extension == "tar")
    with subprocess.Popen(
        [tool(unpack_sparse[0]), *unpack_sparse[1:]], cwd=unpacked, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as unpacking:
        assert unpacking.stdout
        assert unpacking.stderr
        assert is_content_of(album / "sparse.img", unpacking.stdout)
        assert unpacking.stderr.read() == b""
    assert unpacking.returncode == 0


#: What unpacks all but the sparse file, and what writes that one to its output: on the disk it would be four gigabytes.
UNPACK = {
    "tar": (
        ("tar", "-xf", "../album.tar", f"--exclude={SPARSE}"),
        ("tar", "-xOf", "../album.tar", SPARSE),
    ),
    "zip": (
        ("unzip", "-q", "-^", "../album.zip", "-x", SPARSE),  # -^: newlines in names stay
        ("unzip", "-p", "../album.zip", SPARSE),
    ),
}


@pytest.mark.timeout(PATIENT)
@pytest.mark.parametrize("extension", ["tar", "zip"])
def test_aria2c_fetches_a_folder_in_eight_pieces(extension: str, server: Running, album: Path, folder: Path) -> None:
    url = f"{server.url}/archive/album.{extension}"
    strong_etag(url)
    options = ("-x", "8", "-s", "8", "--file-allocation=none", "--console-log-level=warn")
    with relaying(url) as relay:
        ended = run_client("aria2c", *options, relay.url, folder=folder, timeout_s=PATIENT)
    assert ended.returncode == 0, ended.stdout
    assert len(set(relay.ranges)) >= 8
    names = set()
    for member in (tar_members if extension == "tar" else zip_members)(folder / f"album.{extension}"):
        source = album.parent / member.name
        status = source.stat()
        assert member.permissions == stat.S_IMODE(status.st_mode), member.name
        assert member.mtime_s // 2 == status.st_mtime_ns // 10**9 // 2, member.name  # zip has every other second
        assert is_content_of(source, member.content), member.name
        names.add(source)
    assert names == {path for path in album.rglob("*") if path.is_file() and not path.is_symlink()}


def test_a_folder_that_changed_meanwhile_is_not_glued_together(
    server: Running, served_root: Path, folder: Path
) -> None:
    """The one with a validator hears of it; wget and curl send none, and see another size or a changed tag."""
    top = served_root / "changing"
    top.mkdir()
    (top / "a").write_bytes(b"a" * 5000)
    url = f"{server.url}/archive/changing.tar"
    tag = strong_etag(url)
    (top / "b").write_bytes(b"b")
    for fields, status in ((("-H", f"If-Range: {tag}", "-r", "100-"), "200"), (("-H", f"If-Match: {tag}"), "412")):
        told = run_client("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *fields, url, folder=folder)
        assert told.stdout == status
    shutil.rmtree(top)


def compare(source: Path, arrived: Path, *, exact_times: bool) -> None:
    """Assert that *arrived* is the same tree without the sparse file: kinds, content, permissions of files, times."""
    names = sorted(path.relative_to(source) for path in source.rglob("*") if path != source / "sparse.img")
    assert sorted(path.relative_to(arrived) for path in arrived.rglob("*")) == names
    for name in names:
        one, other = (source / name).lstat(), (arrived / name).lstat()
        assert stat.S_IFMT(one.st_mode) == stat.S_IFMT(other.st_mode), name
        if stat.S_ISLNK(one.st_mode):
            assert (source / name).readlink() == (arrived / name).readlink()
        elif stat.S_ISREG(one.st_mode):
            assert (source / name).read_bytes() == (arrived / name).read_bytes(), name
            assert stat.S_IMODE(one.st_mode) == stat.S_IMODE(other.st_mode), name
            unit_ns = 1 if exact_times else 10**9
            assert one.st_mtime_ns // unit_ns == other.st_mtime_ns // unit_ns, name


class Member(NamedTuple):
    """A file of an archive, as Python reads it."""

    name: str
    permissions: int
    mtime_s: int
    content: IO[bytes]


def tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for item in archive:
            if item.isfile() and (content := archive.extractfile(item)):
                yield Member(item.name, item.mode, int(item.mtime), content)


def zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            mode = item.external_attr >> 16
            if stat.S_ISREG(mode):
                with archive.open(item) as content:
                    yield Member(
                        item.filename, stat.S_IMODE(mode), calendar.timegm((*item.date_time, 0, 0, 0)), content
                    )
