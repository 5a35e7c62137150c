"""A folder travels as one file, is broken off and goes on, and arrives as the folder that it was.

The folder has what folders have at their worst: awkward names, empty files and directories, a link, and a sparse file
that is larger than 4 GiB, where 32 bits end.
"""

import filecmp
import hashlib
import os
import random
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.clients import run_client, strong_etag
from tests.system.relay import Fault, relaying
from tests.system.samples import MIB
from tests.tools import Running, tool

pytestmark = pytest.mark.system

FOUR_GIB = 1 << 32
SPARSE_SIZE = FOUR_GIB + 3 * MIB + 17
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
@pytest.mark.parametrize(
    ("extension", "unpack"),
    [
        pytest.param("tar", ("tar", "-xf"), id="tar"),
        pytest.param("zip", ("unzip", "-q", "-^"), id="zip"),  # -^: newlines in names stay
    ],
)
def test_a_folder_that_is_cut_twenty_times_arrives_whole(
    extension: str,
    unpack: tuple[str, ...],
    server: Running,
    album: Path,
    folder: Path,
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
    ended = subprocess.run([tool(unpack[0]), *unpack[1:], archive], cwd=unpacked, capture_output=True, timeout=PATIENT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == b""
    compare(album, unpacked / "album", exact_times=extension == "tar")


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
    read = read_tar if extension == "tar" else read_zip
    assert read(folder / f"album.{extension}") == digests_of(album)


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
    """Assert that *arrived* is the same tree: kinds, content, permissions of files, times."""
    names = sorted(path.relative_to(source) for path in source.rglob("*"))
    assert sorted(path.relative_to(arrived) for path in arrived.rglob("*")) == names
    for name in names:
        one, other = (source / name).lstat(), (arrived / name).lstat()
        assert stat.S_IFMT(one.st_mode) == stat.S_IFMT(other.st_mode), name
        if stat.S_ISLNK(one.st_mode):
            assert (source / name).readlink() == (arrived / name).readlink()
        elif stat.S_ISREG(one.st_mode):
            assert filecmp.cmp(source / name, arrived / name, shallow=False), name
            assert stat.S_IMODE(one.st_mode) == stat.S_IMODE(other.st_mode), name
            unit_ns = 1 if exact_times else 10**9
            assert one.st_mtime_ns // unit_ns == other.st_mtime_ns // unit_ns, name


def digests_of(source: Path) -> dict[str, str]:
    found = {}
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                found[str(path.relative_to(source.parent))] = hashlib.file_digest(file, "sha1").hexdigest()
    return found


def read_tar(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            member.name: hashlib.file_digest(content, "sha1").hexdigest()  # type: ignore[arg-type]
            for member in archive
            if member.isfile() and (content := archive.extractfile(member))
        }


def read_zip(path: Path) -> dict[str, str]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if stat.S_ISREG(member.external_attr >> 16):
                with archive.open(member) as content:
                    found[member.filename] = hashlib.file_digest(content, "sha1").hexdigest()  # type: ignore[arg-type]
    return found
