"""Making, deleting and moving: what is judged is what is changed, and nothing is overwritten unasked."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fileserve.storage.changes import placing
from fileserve.storage.changes.changes import Changes
from fileserve.storage.errors import (
    AlreadyExists,
    Busy,
    ContentChanged,
    InvalidName,
    IsDirectory,
    NoDirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    StorageError,
)
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.storage.conftest import Served, unprivileged


def name_of(path: str) -> Name:
    return tuple(path.encode().split(b"/")) if path else ()


def agree(current: OpenFile | None) -> None:
    """Judge that whatever it is may be changed."""


def object_to(current: OpenFile | None) -> None:
    """Judge that it is not what the client means."""
    raise ContentChanged


@pytest.fixture(params=["pool", "walker"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def changes(way: str, changing_root: Root, monkeypatch: pytest.MonkeyPatch) -> Changes:
    """Changes where the system itself refuses used names to a rename, and where a look before has to do."""
    if way == "walker":
        monkeypatch.setattr(placing, "_renameat2", None)
    return Changes(changing_root)


async def test_a_directory_is_made(changing: Served, changes: Changes) -> None:
    await changes.make_directory(name_of("new"))
    assert (changing.path / "new").is_dir()
    await changes.make_directory(name_of("link-directory/a/b"), parents=True)
    assert (changing.path / "directory" / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("directory", AlreadyExists, id="directory"),
        pytest.param("plain.txt", AlreadyExists, id="file"),
        pytest.param("out-dangling", AlreadyExists, id="dangling_link"),
        pytest.param("missing/new", NoDirectory, id="in_no_directory"),
        pytest.param("out-directory/new", NoDirectory, id="through_a_link_out"),
        pytest.param(".new", NotPermitted, id="hidden"),
        pytest.param("", InvalidName, id="root"),
    ],
)
async def test_a_directory_that_cannot_be_made_is_refused(
    changes: Changes, path: str, error: type[StorageError]
) -> None:
    with pytest.raises(error):
        await changes.make_directory(name_of(path))


async def test_too_many_missing_directories_are_none_that_anybody_means(changes: Changes) -> None:
    with pytest.raises(NoDirectory):
        await changes.make_directory((b"d",) * 100, parents=True)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("plain.txt", id="file"),
        pytest.param("link", id="link_to_a_file"),
        pytest.param("link-directory", id="link_to_a_directory"),
        pytest.param("empty", id="empty_directory"),
    ],
)
async def test_what_is_deleted_is_the_name_and_not_what_it_leads_to(
    changing: Served, changes: Changes, path: str
) -> None:
    (changing.path / "empty").mkdir()
    led_to = Path(os.path.realpath(changing.path / path))
    is_link = (changing.path / path).is_symlink()
    await changes.delete(name_of(path), agree)
    assert not os.path.lexists(changing.path / path)
    assert led_to.exists() == is_link


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("missing", NotFound, id="missing"),
        pytest.param("directory", NotEmpty, id="directory_with_something_in_it"),
        pytest.param("out", NotFound, id="link_out"),
        pytest.param("link-dangling", NotFound, id="dangling_link"),
        pytest.param("out-directory/secret.txt", NoDirectory, id="through_a_link_out"),
        pytest.param(".hidden", NotPermitted, id="hidden"),
        pytest.param("", InvalidName, id="root"),
    ],
)
async def test_what_cannot_be_deleted_stays(
    changing: Served, changes: Changes, path: str, error: type[StorageError]
) -> None:
    with pytest.raises(error):
        await changes.delete(name_of(path), agree)
    assert os.path.lexists(changing.path / path) == (path != "missing")


async def test_what_the_judge_objects_to_stays(changing: Served, changes: Changes) -> None:
    for change in (
        lambda: changes.delete(name_of("plain.txt"), object_to),
        lambda: changes.move(name_of("plain.txt"), name_of("new"), object_to, replace=False),
        lambda: changes.move(name_of("directory"), name_of("new"), object_to, replace=False),
    ):
        with pytest.raises(ContentChanged):
            await change()
    assert (changing.path / "plain.txt").exists()
    assert (changing.path / "directory").is_dir()


@pytest.mark.parametrize(
    ("path", "new"),
    [
        pytest.param("plain.txt", "new", id="file"),
        pytest.param("plain.txt", "directory/new", id="file_to_another_directory"),
        pytest.param("directory", "new", id="directory"),
        pytest.param("link", "directory/new", id="link"),
    ],
)
async def test_what_is_moved_is_the_very_same_under_its_new_name(
    changing: Served, changes: Changes, path: str, new: str
) -> None:
    before = (changing.path / path).lstat().st_ino
    assert not await changes.move(name_of(path), name_of(new), agree, replace=False)
    assert (changing.path / new).lstat().st_ino == before
    assert not os.path.lexists(changing.path / path)


@pytest.mark.parametrize(("fails_first", "path"), [(True, "directory"), (False, "directory"), (False, "plain.txt")])
async def test_what_is_moved_and_what_follows_are_one(
    changing: Served, changes: Changes, fails_first: bool, path: str
) -> None:
    @contextmanager
    def following(name: Name, new: Name) -> Iterator[None]:
        if fails_first:
            raise Busy
        yield
        assert (changing.path / "new").exists()
        raise Busy

    with pytest.raises(Busy):
        await changes.move(name_of(path), name_of("new"), agree, replace=False, following=following)
    assert (changing.path / path).exists()
    assert not (changing.path / "new").exists()


async def test_a_file_is_moved_over_another_only_when_that_is_asked_for(changing: Served, changes: Changes) -> None:
    source, target = name_of("plain.txt"), name_of("directory/inner.txt")
    with pytest.raises(AlreadyExists):
        await changes.move(source, target, agree, replace=False)
    assert (changing.path / "directory" / "inner.txt").read_bytes() == b"inner"
    assert await changes.move(source, target, agree, replace=True)
    assert (changing.path / "directory" / "inner.txt").read_bytes() == b"plain.txt"


async def test_of_two_names_of_one_file_the_moved_one_is_gone(changing: Served, changes: Changes) -> None:
    """rename(2) leaves both."""
    os.link(changing.path / "plain.txt", changing.path / "directory" / "other.txt")
    assert await changes.move(name_of("plain.txt"), name_of("directory/other.txt"), agree, replace=True)
    assert not (changing.path / "plain.txt").exists()
    assert (changing.path / "directory" / "other.txt").read_bytes() == b"plain.txt"


async def test_what_is_moved_onto_itself_stays(changing: Served, changes: Changes) -> None:
    await changes.move(name_of("plain.txt"), name_of("plain.txt"), agree, replace=True)
    assert (changing.path / "plain.txt").read_bytes() == b"plain.txt"


@pytest.mark.parametrize(
    ("path", "new", "error"),
    [
        pytest.param("missing", "new", NotFound, id="missing"),
        pytest.param("plain.txt", "missing/new", NoDirectory, id="to_no_directory"),
        pytest.param("plain.txt", "out-directory/new", NoDirectory, id="out_of_the_root"),
        pytest.param("plain.txt", ".new", NotPermitted, id="to_a_hidden_name"),
        pytest.param("plain.txt", "", InvalidName, id="over_the_root"),
        pytest.param("plain.txt", "directory", IsDirectory, id="file_over_a_directory"),
        pytest.param("directory", "plain.txt", AlreadyExists, id="directory_over_a_file"),
        pytest.param("directory", "empty", AlreadyExists, id="directory_over_an_empty_one"),
        pytest.param("directory", "directory/deeper/new", InvalidName, id="directory_into_itself"),
        pytest.param("out", "new", NotFound, id="link_out"),
        pytest.param("plain.txt", "out-dangling", AlreadyExists, id="over_a_link_that_leads_nowhere"),
    ],
)
async def test_what_cannot_be_moved_stays(
    changing: Served, changes: Changes, path: str, new: str, error: type[StorageError]
) -> None:
    (changing.path / "empty").mkdir()
    with pytest.raises(error):
        await changes.move(name_of(path), name_of(new), agree, replace=True)
    assert os.path.lexists(changing.path / path) == (path != "missing")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda changes: changes.make_directory(name_of("closed/new")), id="make"),
        pytest.param(lambda changes: changes.delete(name_of("closed/file"), agree), id="delete"),
        pytest.param(
            lambda changes: changes.move(name_of("closed/file"), name_of("closed/new"), agree, replace=False), id="move"
        ),
    ],
)
async def test_what_the_server_may_not_change_is_not_permitted(
    changing: Served, changes: Changes, change: Callable[[Changes], object]
) -> None:
    closed = changing.path / "closed"
    closed.mkdir()
    (closed / "file").touch()
    for path in (closed, changing.path, *list(changing.path.parents)[:3]):
        path.chmod(0o755)
    with unprivileged(), pytest.raises(NotPermitted, match="changing this is not permitted"):
        await change(changes)  # type: ignore[misc]
