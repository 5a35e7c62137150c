"""Digests with the tools that check them: sha256sum, aria2c's Digest and Metalink."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.system.clients import head, run_client
from tests.system.conftest import LARGE_SIZE
from tests.system.relay import Cut, Fault, relaying
from tests.system.samples import MIB, Sample, digest
from tests.tools import Running, tool, wait_until

pytestmark = pytest.mark.system

ARIA2C = ("aria2c", "--file-allocation=none", "--console-log-level=warn")
FLIPPED = Fault(100_000_003, Cut.FLIP)


@pytest.fixture
def hashed(server: Running, large: Sample, folder: Path) -> Sample:
    """The large file, with its digest known to the server."""
    url = f"{server.url}/checksum/{large.name}"
    assert run_client("curl", "-sS", "-f", url, folder=folder).stdout.splitlines()[-1].startswith(large.digest)
    return large


def test_sha256sum_takes_the_whole_answer_with_its_progress(server: Running, medium: Sample, folder: Path) -> None:
    run_client("curl", "-sS", "-f", "-O", f"{server.url}/download/{medium.name}", folder=folder)
    for _ in range(2):  # computed, and known
        answer = run_client("curl", "-sS", "-f", f"{server.url}/checksum/{medium.name}", folder=folder).stdout
        checked = subprocess.run(
            [tool("sha256sum"), "-c", "--strict"], input=answer, cwd=folder, capture_output=True, text=True
        )
        assert (checked.returncode, checked.stdout) == (0, f"{medium.name}: OK\n"), checked.stderr


def test_a_folder_s_sums_check_the_unpacked_folder(server: Running, served_root: Path, folder: Path) -> None:
    top = served_root / "summed"
    (top / "within").mkdir(parents=True)
    for name in ("plain", "within/new\nline", "within/back\\slash", "ümlaut"):
        (top / name).write_bytes(os.urandom(1000))
    sums = folder / "SHA256SUMS"
    arguments = ("-sS", "-f", "-o", str(sums), f"{server.url}/checksum/summed/SHA256SUMS")
    assert wait_until(lambda: run_client("curl", *arguments, folder=folder).returncode == 0, timeout_s=30)
    archive = run_client("curl", "-sS", "-f", "-O", f"{server.url}/archive/summed.tar", folder=folder)
    assert archive.returncode == 0
    subprocess.run([tool("tar"), "-xf", "summed.tar"], cwd=folder, check=True)
    checked = subprocess.run([tool("sha256sum"), "-c", "--strict", sums], cwd=folder / "summed", capture_output=True)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(b": OK\n") == 4


def test_aria2c_refuses_a_file_that_was_corrupted_under_way(server: Running, hashed: Sample, folder: Path) -> None:
    with relaying(server.url, FLIPPED) as relay:
        ended = run_client(*ARIA2C, f"{relay.url}/download/{hashed.name}", folder=folder)
    assert "want-digest" in relay.downloads[0].fields
    assert ended.returncode == 32, ended.stdout  # checksum validation failed


def test_aria2c_accepts_the_file_as_it_is(server: Running, hashed: Sample, folder: Path) -> None:
    ended = run_client(*ARIA2C, f"{server.url}/download/{hashed.name}", folder=folder)
    assert ended.returncode == 0, ended.stdout
    assert digest(folder / hashed.name) == hashed.digest


def test_aria2c_repairs_a_corrupted_piece_by_the_metalink(server: Running, hashed: Sample, folder: Path) -> None:
    """What arrived damaged is fetched again, and not the whole: the Metalink has a digest for each piece."""
    saved = folder / "file.meta4"
    with relaying(server.url, FLIPPED) as relay:
        host = f"Host: {relay.url.partition('//')[2]}"
        ask = ("-sS", "-f", "-o", str(saved), "-H", host, f"{server.url}/download/{hashed.name}.meta4")
        assert wait_until(lambda: run_client("curl", *ask, folder=folder).returncode == 0, timeout_s=30)
        ended = run_client(*ARIA2C, "-x", "1", "-s", "1", str(saved), folder=folder)
    assert ended.returncode == 0, ended.stdout
    assert digest(folder / hashed.name) == hashed.digest
    assert len(relay.downloads) > 1, "nothing was repaired"


def test_a_changed_file_loses_its_digest_at_once(server: Running, medium: Sample, folder: Path) -> None:
    url = f"{server.url}/download/{medium.name}"
    run_client("curl", "-sS", "-f", f"{server.url}/checksum/{medium.name}", folder=folder)
    before = medium.path.stat()
    assert "sha-256" in head(url)["repr-digest"]
    with medium.path.open("r+b") as file:
        file.write(b"changed")
    os.utime(medium.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert head(url)["repr-digest"] is None


def test_the_digest_is_that_of_hashlib(server: Running, hashed: Sample, folder: Path) -> None:
    """Of a file with more than one piece and a last piece that is not full."""
    assert LARGE_SIZE % MIB
    with hashed.path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == hashed.digest
