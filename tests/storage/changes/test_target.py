"""Directories that are made for a name: there when it has it, and gone again when it comes to nothing."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fileserve.storage.changes.target import Target
from fileserve.storage.errors import NoDirectory, NoSpace
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from tests.storage.conftest import Served

DEEP: Name = (b"directory", b"a", b"b", b"c", b"name")


def there(served: Served) -> list[str]:
    """Return the directories below the one that the tests make theirs in."""
    below = served.path / "directory"
    return sorted(str(path.relative_to(below)) for path in below.rglob("*") if path.is_dir())


class Refused(Exception):
    """What a block may end in."""


def make_in_vain(root: Root, meanwhile: Callable[[], object]) -> None:
    with pytest.raises(Refused), Target(root, DEEP, parents=True).directory():
        refuse_after(meanwhile)


def refuse_after(meanwhile: Callable[[], object]) -> None:
    meanwhile()
    raise Refused


def test_directories_that_were_made_stay_when_all_went_well(changing: Served, changing_root: Root) -> None:
    before = there(changing)
    with Target(changing_root, DEEP, parents=True).directory() as directory:
        os.close(os.open(b"name", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    assert there(changing) == sorted([*before, "a", "a/b", "a/b/c"])


@pytest.mark.parametrize("present", [0, 1, 3], ids=["none_was_there", "one_was_there", "all_were_there"])
def test_directories_that_were_made_in_vain_are_taken_away(changing: Served, changing_root: Root, present: int) -> None:
    base = changing.path.joinpath("directory", *[os.fsdecode(name) for name in DEEP[1 : 1 + present]])
    base.mkdir(parents=True, exist_ok=True)
    before = there(changing)
    make_in_vain(changing_root, lambda: None)
    assert there(changing) == before


@pytest.mark.parametrize("place", ["a/b/c/theirs", "a/theirs"])
def test_where_somebody_else_has_put_something_it_stays(changing: Served, changing_root: Root, place: str) -> None:
    theirs = changing.path / "directory" / place
    make_in_vain(changing_root, lambda: theirs.write_bytes(b"theirs"))
    assert theirs.read_bytes() == b"theirs"
    assert (changing.path / "directory" / "a" / "b").exists() == ("b" in place)


def test_what_was_made_before_the_disk_was_full_is_taken_away(
    changing: Served, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, mkdir = there(changing), os.mkdir

    def fail(name: bytes, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if name == b"c":
            raise OSError(errno.ENOSPC, "full")
        mkdir(name, mode, dir_fd=dir_fd)

    with monkeypatch.context() as full:
        full.setattr(os, "mkdir", fail)
        with pytest.raises(NoSpace), Target(changing_root, DEEP, parents=True).directory():
            pass
    assert there(changing) == before


def test_without_being_asked_none_is_made(changing: Served, changing_root: Root) -> None:
    before = there(changing)
    with pytest.raises(NoDirectory), Target(changing_root, DEEP).directory():
        pass
    assert there(changing) == before


def test_a_link_in_the_place_of_what_was_made_is_left_alone(
    changing: Served, changing_root: Root, tmp_path: Path
) -> None:
    other = changing.path / "other"
    (other / "b" / "c").mkdir(parents=True)
    made = changing.path / "directory" / "a"

    def replace() -> None:
        made.rename(tmp_path / "moved")
        made.symlink_to("../other")

    make_in_vain(changing_root, replace)
    assert made.is_symlink()
