"""``sweep``: what a crash has left goes, what somebody still writes stays."""

import fcntl
import os

import pytest

from fileserve.storage.changes.hiding import LEFT_BEHIND
from fileserve.storage.changes.sweep import sweep
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from tests.storage.conftest import OpenRoot, Served

LEFT = f"{LEFT_BEHIND}0123"


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


def test_links_and_directories_of_such_a_name_are_not_what_is_meant(changing: Served, swept_root: Root) -> None:
    changing.link(LEFT, "plain.txt")
    (changing.path / f"{LEFT}-directory").mkdir()
    assert sweep(swept_root, lambda: True, nobodys) == 0
    assert (changing.path / "plain.txt").exists()


def test_a_sweep_ends_when_nobody_wants_it(changing: Served, swept_root: Root) -> None:
    changing.write(b"directory/" + LEFT.encode(), b"half")
    assert sweep(swept_root, lambda: False, nobodys) == 0
