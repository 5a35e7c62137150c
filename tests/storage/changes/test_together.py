"""Drafts that get their names all together: whatever fails on the way, none of them has its name then."""

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserve.storage.changes import draft as draft_module
from fileserve.storage.changes import together
from fileserve.storage.changes.draft import Draft, Judge, open_draft
from fileserve.storage.changes.room import Need
from fileserve.storage.changes.target import Target
from fileserve.storage.changes.together import commit_together
from fileserve.storage.errors import AlreadyExists, NoDirectory, NoSpace
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.storage.conftest import Served

MANY = [b"new-a", b"new-b", b"new-c"]


def take_any(current: OpenFile | None) -> None:
    """Judge that whatever has the name may be replaced."""


def take_nothing(current: OpenFile | None) -> None:
    """Judge that nothing may be replaced."""
    if current is not None:
        raise AlreadyExists


def numbered(component: bytes) -> Iterator[bytes]:
    """Yield three names for a file."""
    yield from itertools.islice(itertools.chain([component], (b"%b-%d" % (component, n) for n in itertools.count())), 3)


@pytest.fixture(params=[True, False], ids=["unnamed", "hidden_names"])
def unnamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[True, False], ids=["hard_links", "no_hard_links"])
def links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is replaced can be kept meanwhile."""
    if not request.param:
        monkeypatch.setattr(together, "_keep", lambda directory, component: None)
    return bool(request.param)


class Folder:
    """An empty directory, and drafts for it that are closed in the end."""

    def __init__(self, root: Root, path: Path, unnamed: bool) -> None:
        self._root = root
        self._unnamed = unnamed
        self._drafts: list[Draft] = []
        self.path = path / "folder"
        self.path.mkdir()

    def put(self, *names: bytes, judge: Judge = take_nothing, rename: bool = False) -> list[bytes]:
        drafts = [open_draft(Target(self._root, (b"folder", name)), Need(), unnamed=self._unnamed) for name in names]
        self._drafts += drafts
        for draft in drafts:
            draft.write([b"new " + draft.target.component])
        return [name for name, _ in commit_together(drafts, judge, numbered if rename else None)]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if not path.name.startswith(".fileserve-"))

    def content(self) -> dict[str, bytes]:
        return {name: (self.path / name).read_bytes() for name in self.names()}

    def close(self) -> None:
        for draft in self._drafts:
            draft.discard()


@pytest.fixture
def folder(changing: Served, changing_root: Root, unnamed: bool) -> Iterator[Folder]:
    opened = Folder(changing_root, changing.path, unnamed)
    yield opened
    opened.close()
    assert not list(opened.path.glob(".fileserve-*"))


def test_all_get_their_names(folder: Folder) -> None:
    assert folder.put(*MANY) == MANY
    assert folder.content() == {"new-a": b"new new-a", "new-b": b"new new-b", "new-c": b"new new-c"}
    assert folder.put() == []


def test_what_they_replace_is_replaced(folder: Folder, links: bool) -> None:
    (folder.path / "new-b").write_bytes(b"old")
    (folder.path / "new-b").chmod(0o600)
    assert folder.put(*MANY, judge=take_any) == MANY
    assert folder.content()["new-b"] == b"new new-b"
    assert (folder.path / "new-b").stat().st_mode & 0o777 == 0o600


def test_they_take_the_first_names_that_are_free(folder: Folder) -> None:
    (folder.path / "same").mkdir()
    assert folder.put(b"same", b"other", b"same", rename=True) == [b"same-0", b"other", b"same-1"]


def test_where_one_finds_no_name_none_has_one(folder: Folder) -> None:
    with pytest.raises(AlreadyExists, match="the name same is taken"):
        folder.put(b"first", *[b"same"] * 4, rename=True)
    assert folder.content() == {}


@pytest.mark.parametrize(
    ("kind", "judge"),
    [
        pytest.param("file", take_nothing, id="file"),
        *(pytest.param(kind, take_nothing, id=kind) for kind in ("directory", "dangling_link", "twice")),
        *(pytest.param(kind, take_any, id=f"{kind}_to_replace") for kind in ("directory", "dangling_link", "twice")),
    ],
)
def test_where_one_name_is_not_to_be_had_none_is(folder: Folder, judge: Judge, kind: str) -> None:
    names = [*MANY, b"new-a"] if kind == "twice" else MANY
    taken = folder.path / "new-c"
    if kind == "file":
        taken.write_bytes(b"old")
    elif kind == "directory":
        taken.mkdir()
    elif kind == "dangling_link":
        taken.symlink_to("nowhere")
    before = folder.names()
    with pytest.raises(AlreadyExists, match=r"the name new-[ac] is taken"):
        folder.put(*names, judge=judge)
    assert folder.names() == before


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_fails_in_the_middle_is_undone(
    folder: Folder, links: bool, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has no room for one name more; what was replaced by then is there again, where it could be kept."""
    (folder.path / "new-a").write_bytes(b"old a")
    (folder.path / "new-c").write_bytes(b"old c")
    take_name, names = Draft.take_name, itertools.count()

    def fail(*arguments: object) -> bool:
        if next(names) == failing:
            raise OSError(errno.ENOSPC, "full")
        return take_name(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as full:
        full.setattr(Draft, "take_name", fail)
        with pytest.raises(NoSpace):
            folder.put(*MANY, judge=take_any)
    kept = b"old a" if links or not failing else b"new new-a"
    assert folder.content() == {"new-a": kept, "new-c": b"old c"}


@pytest.mark.parametrize("rename", [True, False])
def test_a_name_that_another_program_takes_at_the_last_moment_ends_it_for_all(
    folder: Folder, rename: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows nothing of our locks."""
    for call in ("link_new", "rename_new"):
        given = getattr(draft_module, call)

        def overtake(*arguments: object, given: object = given) -> None:
            component = arguments[-1]
            assert isinstance(component, bytes)
            if component.startswith(b"new-b"):
                (folder.path / os.fsdecode(component)).write_bytes(b"theirs")
            given(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(draft_module, call, overtake)
    with pytest.raises(AlreadyExists):
        folder.put(*MANY, rename=rename)
    assert set(folder.content().values()) == {b"theirs"}


def test_what_is_not_ours_any_more_is_not_taken_away(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    take_name = Draft.take_name

    def overtake(draft: Draft, fd: int, directory: int, judge: Judge, component: bytes | None = None) -> bool:
        if draft.target.component == b"new-b":
            (folder.path / "theirs").write_bytes(b"theirs")
            os.replace(folder.path / "theirs", folder.path / "new-a")
            raise AlreadyExists
        return take_name(draft, fd, directory, judge, component)

    monkeypatch.setattr(Draft, "take_name", overtake)
    with pytest.raises(AlreadyExists):
        folder.put(*MANY)
    assert folder.content() == {"new-a": b"theirs"}


def test_a_directory_that_is_gone_is_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "take_name", lambda *arguments: os.stat(folder.path / "gone"))
    with pytest.raises(NoDirectory):
        folder.put(*MANY)
