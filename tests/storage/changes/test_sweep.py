"""``sweep``: what a crash has left goes, what somebody still writes stays."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fileserve.storage.changes.hiding import LEFT_BEHIND, LEFT_OPEN
from fileserve.storage.changes.placing import alone_in
from fileserve.storage.changes.sweep import sweep
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from fileserve.storage.space import reserve
from tests.storage.conftest import OpenRoot, Served, unprivileged

LEFT = f"{LEFT_BEHIND}{'0f' * 16}"
flock = fcntl.flock
OPEN = f"{LEFT_OPEN}{'0f' * 16}"


@pytest.fixture
def swept_root(changing: Served, plain_root: OpenRoot) -> Root:
    return plain_root(changing.path)


def nobodys(place: Name, inode: int, age_s: float) -> bool:
    """Say that a file which stays between requests is left when it is an hour old."""
    return age_s > 3600


def names(served: Served) -> set[str]:
    return {os.path.join(folder, name) for folder, _, found in os.walk(served.path) for name in found}


def test_what_is_left_goes_wherever_it_is_and_all_else_stays(changing: Served, swept_root: Root) -> None:
    before = names(changing)
    for folder in (b"", b"directory/", b"directory/deeper/", b".git/", b"new\nline-folder/\xff/"):
        changing.write(folder + LEFT.encode(), b"half")
    changing.write(b".fileserve-session-1", b"not of this kind")
    (changing.outside / LEFT).write_bytes(b"not ours")
    assert sweep(swept_root, lambda: True, nobodys) == 5
    assert names(changing) == before | {str(changing.path / ".fileserve-session-1")}
    assert (changing.outside / LEFT).exists()


def test_what_somebody_still_writes_stays(changing: Served, swept_root: Root) -> None:
    changing.write(LEFT.encode(), b"half")
    with (changing.path / LEFT).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert sweep(swept_root, lambda: True, nobodys) == 0
        assert (changing.path / LEFT).exists()
    assert sweep(swept_root, lambda: True, nobodys) == 1


def as_over_nfs(fd: int, operation: int) -> None:
    """Lock as NFS and CIFS do, where only what is open for writing can be locked against all others."""
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY and not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.EBADF, "not open for writing")
    flock(fd, operation)


def test_what_is_left_goes_where_only_what_is_open_for_writing_can_be_locked(
    changing: Served, swept_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing.write(LEFT.encode(), b"half")
    monkeypatch.setattr(fcntl, "flock", as_over_nfs)
    assert sweep(swept_root, lambda: True, nobodys) == 1
    assert not (changing.path / LEFT).exists()


def test_what_may_not_be_written_goes_where_it_may_be_deleted(changing: Served, swept_root: Root) -> None:
    changing.write(b"directory/" + LEFT.encode(), b"half")
    (changing.path / "directory" / LEFT).chmod(0o444)
    (changing.path / "directory").chmod(0o777)
    with unprivileged():
        assert sweep(swept_root, lambda: True, nobodys) == 1
    assert not (changing.path / "directory" / LEFT).exists()


def test_links_and_directories_of_such_a_name_are_not_what_is_meant(changing: Served, swept_root: Root) -> None:
    changing.link(LEFT, "plain.txt")
    (changing.path / "folder").mkdir()
    (changing.path / "folder" / LEFT).mkdir()
    assert sweep(swept_root, lambda: True, nobodys) == 0
    assert (changing.path / "plain.txt").exists()


def test_a_sweep_ends_when_nobody_wants_it(changing: Served, swept_root: Root) -> None:
    changing.write(b"directory/" + LEFT.encode(), b"half")
    assert sweep(swept_root, lambda: False, nobodys) == 0


@pytest.mark.parametrize("beginning", [LEFT_BEHIND, LEFT_OPEN])
@pytest.mark.parametrize("ending", ["0123", "0f" * 16 + "0", "0F" * 16, "0f" * 15 + "xy", "0f" * 16 + "\n", "notes"])
def test_names_that_only_begin_alike_are_somebody_s(
    changing: Served, swept_root: Root, beginning: str, ending: str
) -> None:
    changing.write(f"{beginning}{ending}".encode(), b"mine")
    assert sweep(swept_root, lambda: True, lambda place, inode, age_s: True) == 0


def test_what_is_replaced_at_the_moment_stays(changing: Served, swept_root: Root) -> None:
    """It has a hidden name, and nobody has it open, while the directory is locked."""
    changing.write(b"directory/" + LEFT.encode(), b"old")
    fd = os.open(changing.path / "directory", os.O_RDONLY)
    with alone_in(fd):
        assert sweep(swept_root, lambda: True, nobodys) == 0
    os.close(fd)
    assert sweep(swept_root, lambda: True, nobodys) == 1


def test_a_file_that_vanishes_meanwhile_hides_no_other(
    changing: Served, swept_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    @contextmanager
    def scan_in_order(directory: int) -> Iterator[list[os.DirEntry[str]]]:
        with scan(directory) as found:
            yield sorted(found, key=lambda item: item.name)

    def end_and_keep(place: Name, inode: int, age_s: float) -> bool:
        (changing.path / f"{LEFT_OPEN}{'1f' * 16}").unlink()
        return False

    for name in (OPEN, f"{LEFT_OPEN}{'1f' * 16}", f"directory/{LEFT}"):
        changing.write(name.encode(), b"half")
    monkeypatch.setattr(os, "scandir", scan_in_order)
    assert sweep(swept_root, lambda: True, end_and_keep) == 1
    assert not (changing.path / "directory" / LEFT).exists()
    assert (changing.path / OPEN).exists()


def test_what_was_reserved_for_a_killed_process_is_given_back(changing: Served, swept_root: Root) -> None:
    changing.write(OPEN.encode(), b"half")
    path = changing.path / OPEN
    with path.open("r+b") as file:
        if not reserve(file.fileno(), 8 << 20):
            pytest.skip("this file system reserves nothing")
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(swept_root, lambda: True, nobodys)
        assert path.stat().st_blocks * 512 >= 8 << 20  # somebody still writes
    sweep(swept_root, lambda: True, nobodys)
    assert path.stat().st_blocks * 512 < 1 << 20
    assert path.read_bytes() == b"half"
