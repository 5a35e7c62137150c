"""Reading a directory into a tree, what becomes of links, and the second look."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserve.storage.archives.recheck import recheck_tree
from fileserve.storage.archives.scan import scan_tree
from fileserve.storage.archives.selection import Selection
from fileserve.storage.archives.tree import Tree
from fileserve.storage.descent import Descent
from fileserve.storage.errors import NotDirectory, NotFound, NotPermitted, StorageError, TooManyMembers
from fileserve.storage.root import Root
from tests.storage.conftest import AWKWARD, OpenRoot, Served, unprivileged

ALL = Selection()


def yes() -> bool:
    return True


def read(root: Root, *name: bytes, selection: Selection = ALL, limit: int = 1000) -> Tree:
    return scan_tree(root, name, selection, limit, yes)


def paths(tree: Tree) -> list[bytes]:
    return [b"/".join(tree.path(member)) for member in range(len(tree))]


def kinds(tree: Tree) -> dict[bytes, str]:
    """Return what each path is archived as."""
    words = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    return {path: words[stat.S_IFMT(tree.statuses.modes[member])] for member, path in enumerate(paths(tree))}


def test_members_stand_depth_first_and_sorted_as_bytes(changing: Served, changing_root: Root) -> None:
    for name in (
        b"order/b/x",
        b"order/b.txt",
        b"order/a",
        b"order/\xff",
        "order/\N{GREEK SMALL LETTER ALPHA}".encode(),
    ):
        changing.write(name, b"")
    (changing.path / "order/empty").mkdir()
    expected = [b"", b"a", b"b", b"b/x", b"b.txt", b"empty", "\N{GREEK SMALL LETTER ALPHA}".encode(), b"\xff"]
    assert paths(read(changing_root, b"order")) == expected


def test_awkward_names_are_members_and_what_is_no_file_is_none(root: Root) -> None:
    found = kinds(read(root))
    assert {name for name in AWKWARD.values() if found.get(name) != "file"} == set()
    assert not {b"fifo", b"socket", b"device", b"fifo-link"} & found.keys()
    assert not [path for path in found if path.startswith(b".") or b"/." in path]


def test_hidden_names_are_members_where_the_root_shows_them(served_root: Served, open_root: OpenRoot) -> None:
    found = kinds(read(open_root(served_root.path, hidden=True)))
    assert found[b".git/config"] == found[b"directory/.env"] == "file"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param(b"link", "link", id="beside_its_target"),
        pytest.param(b"directory/link-back", "link", id="upward_and_still_inside"),
        pytest.param(b"link-chain", "link", id="chain_that_stays_inside"),
        pytest.param(b"link-directory", "link", id="to_a_directory"),
        pytest.param(b"link-slashes", "link", id="doubled_slashes"),
        pytest.param(b"link-root", "link", id="to_the_archived_directory_itself"),
        pytest.param(b"link-through-directory", "file", id="parent_behind_a_component"),
        pytest.param(b"link-dots", "file", id="parent_behind_real_directories"),
        pytest.param(b"link-absolute", "file", id="absolute_beneath_the_root"),
        pytest.param(b"link-hidden", "file", id="to_a_file_that_is_no_member"),
        pytest.param(b"link-root-absolute", None, id="absolute_to_a_directory"),
        pytest.param(b"link-parent-of-directory", None, id="parent_behind_a_directory"),
        pytest.param(b"link-slash-at-file", None, id="a_file_is_no_directory"),
        pytest.param(b"link-dangling", None, id="dangling"),
        pytest.param(b"link-through-file", None, id="through_a_file"),
        pytest.param(b"out", None, id="out"),
        pytest.param(b"out-absolute", None, id="out_absolute"),
        pytest.param(b"out-directory", None, id="out_to_a_directory"),
        pytest.param(b"out-and-back", None, id="out_and_back"),
        pytest.param(b"out-parent", None, id="parent_of_the_root"),
        pytest.param(b"out-through-link", None, id="out_through_a_link"),
        pytest.param(b"magic", None, id="magic_link"),
        pytest.param(b"loop", None, id="loop"),
        pytest.param(b"loop-a", None, id="loop_of_two"),
        pytest.param(b"chain-40", "link", id="end_of_a_long_chain"),
        pytest.param(b"chain-0", None, id="chain_longer_than_40"),
    ],
)
def test_a_link_is_a_link_a_file_or_nothing(root: Root, path: bytes, kind: str | None) -> None:
    assert kinds(read(root)).get(path) == kind


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        pytest.param("inner.txt", "link", id="inside"),
        pytest.param("../plain.txt", "file", id="beneath_the_root_but_not_inside"),
        pytest.param("../directory/inner.txt", "file", id="out_and_in_again"),
        pytest.param("../other", None, id="directory_elsewhere"),
        pytest.param("deeper/sideways/secret", "file", id="through_a_link_that_is_no_member"),
    ],
)
def test_links_of_a_subdirectory(changing: Served, changing_root: Root, target: str, kind: str | None) -> None:
    changing.write(b"other/secret", b"")
    changing.link("directory/deeper/sideways", "../../other")
    changing.link("directory/new", target)
    found = kinds(read(changing_root, b"directory"))
    assert found.get(b"new") == kind
    assert b"deeper/sideways" not in found


@pytest.mark.parametrize("path", [b"link-through-directory", b"link-dots"])
def test_a_parent_behind_a_component_is_not_believed_where_hidden_names_are_shown(
    served_root: Served, open_root: OpenRoot, path: bytes
) -> None:
    assert kinds(read(open_root(served_root.path, hidden=True)))[path] == "file"


def test_a_link_to_what_is_excluded_becomes_the_file(changing: Served, changing_root: Root) -> None:
    changing.link("directory/new", "deeper/innermost.txt")
    found = kinds(read(changing_root, b"directory", selection=Selection(exclude=("deeper",))))
    assert (found[b"new"], b"deeper" in found) == ("file", False)


def test_a_link_counts_with_the_status_of_the_file_that_it_becomes(changing: Served, changing_root: Root) -> None:
    changing.link("directory/new", "../plain.txt")
    tree = read(changing_root, b"directory")
    target = (changing.path / "plain.txt").stat()
    status = tree.status(paths(tree).index(b"new"))
    assert (status.size, status.inode, status.mtime_ns) == (target.st_size, target.st_ino, target.st_mtime_ns)


def test_a_directory_that_is_swapped_for_a_link_is_not_followed(
    changing: Served, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    descend = Descent.descend

    def swap_and_descend(self: Descent, component: bytes) -> os.stat_result:
        if component == b"deeper":
            shutil.rmtree(changing.path / "directory/deeper")
            changing.link("directory/deeper", "../../outside")
        return descend(self, component)

    monkeypatch.setattr(Descent, "descend", swap_and_descend)
    assert not [path for path in paths(read(changing_root, b"directory")) if b"deeper" in path]


def test_a_directory_that_moves_while_it_is_read_is_an_error(
    changing: Served, changing_root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    (changing.path / "directory/deeper/deepest").mkdir()
    descend = Descent.descend

    def descend_and_move(self: Descent, component: bytes) -> os.stat_result:
        status = descend(self, component)
        if component == b"deepest":
            (changing.path / "directory/deeper/deepest").rename(changing.outside / "deepest")
        return status

    monkeypatch.setattr(Descent, "descend", descend_and_move)
    with pytest.raises(StorageError, match="moved"):
        read(changing_root, b"directory")


def test_a_file_that_may_not_be_read_is_an_error_with_its_name(changing: Served, changing_root: Root) -> None:
    (changing.path / "directory/deeper/innermost.txt").chmod(0)
    with unprivileged(), pytest.raises(NotPermitted, match=r"^reading deeper/innermost\.txt is not permitted$"):
        read(changing_root, b"directory")


def test_a_directory_that_may_not_be_read_is_an_error_with_its_name(changing: Served, changing_root: Root) -> None:
    (changing.path / "directory/deeper").chmod(0o100)
    with unprivileged(), pytest.raises(NotPermitted, match=r"^reading deeper is not permitted$"):
        read(changing_root, b"directory")
    (changing.path / "directory/deeper").chmod(0o700)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        pytest.param((b"missing",), NotFound, id="missing"),
        pytest.param((b"plain.txt",), NotDirectory, id="file"),
        pytest.param((b"fifo",), NotDirectory, id="fifo"),
        pytest.param((b".git",), NotFound, id="hidden"),
    ],
)
def test_only_a_directory_that_may_be_seen_is_read(root: Root, name: tuple[bytes, ...], error: type) -> None:
    with pytest.raises(error):
        read(root, *name)


def test_the_limit_counts_files_and_directories(root: Root) -> None:
    assert len(read(root, b"directory", limit=5)) == 5  # itself, deeper, deeper/innermost.txt, inner.txt, link-back
    with pytest.raises(TooManyMembers, match="more than 4 files"):
        read(root, b"directory", limit=4)


def test_patterns_to_include_leave_out_directories_without_a_match(root: Root) -> None:
    assert paths(read(root, b"directory", selection=Selection(("inner*.txt",)))) == [
        b"",
        b"deeper",
        b"deeper/innermost.txt",
        b"inner.txt",
    ]
    assert paths(read(root, b"directory", selection=Selection(("inner.txt",)))) == [b"", b"inner.txt"]


def test_a_scan_that_nobody_waits_for_ends_at_the_next_directory(root: Root) -> None:
    with pytest.raises(StorageError):
        scan_tree(root, (), ALL, 1000, lambda: False)


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A chain of 1,500 directories; taken away here, because it is deeper than what clears temporary folders can go."""
    chain = [tmp_path.joinpath(*["d"] * depth) for depth in range(1, 1501)]
    for directory in chain:
        directory.mkdir()
    yield tmp_path
    for directory in reversed(chain):
        directory.rmdir()


def test_a_deep_tree_takes_few_descriptors(deep: Path, open_root: OpenRoot) -> None:
    tree = read(open_root(deep), limit=2000)
    assert len(tree) == 1501
    assert recheck_tree(open_root(deep), tree, yes) is not None


def _grow(served: Served) -> None:
    (served.path / "directory/inner.txt").write_bytes(b"longer than before")


def _rewrite(served: Served) -> None:
    path = served.path / "directory/inner.txt"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _replace(served: Served) -> None:
    path = served.path / "directory/inner.txt"
    status = path.stat()
    path.with_name("new").write_bytes(b"inner")
    path.with_name("new").replace(path)
    os.utime(path, ns=(0, status.st_mtime_ns))


def _chmod(served: Served) -> None:
    (served.path / "directory/inner.txt").chmod(0o600)


def _add(served: Served) -> None:
    served.write(b"directory/deeper/added", b"")


def _remove(served: Served) -> None:
    (served.path / "directory/deeper/innermost.txt").unlink()


def _retarget(served: Served) -> None:
    (served.path / "directory/kept").unlink()
    served.link("directory/kept", "deeper")


def _change_behind_a_link(served: Served) -> None:
    served.write(b"plain.txt", b"something else")


def _let_a_stray_lead_somewhere(served: Served) -> None:
    served.write(b"missing-yet", b"")


def _swap_a_directory_for_a_link(served: Served) -> None:
    (served.path / "directory/deeper").rename(served.outside / "deeper")
    served.link("directory/deeper", "../../outside/deeper")


@pytest.mark.parametrize(
    "change",
    [
        _grow,
        _rewrite,
        _replace,
        _chmod,
        _add,
        _remove,
        _retarget,
        _change_behind_a_link,
        _let_a_stray_lead_somewhere,
        _swap_a_directory_for_a_link,
    ],
)
def test_a_second_look_sees_each_change(changing: Served, changing_root: Root, change: object) -> None:
    changing.link("directory/kept", "inner.txt")
    changing.link("directory/followed", "../plain.txt")
    changing.link("directory/stray", "../missing-yet")
    tree = read(changing_root, b"directory")
    for path in (changing.path / "directory", changing.path / "directory/deeper"):
        os.utime(path, ns=(0, 0))  # the clock's granularity must not hide a change
    tree = read(changing_root, b"directory")
    assert recheck_tree(changing_root, tree, yes) is not None
    assert callable(change)
    change(changing)
    assert recheck_tree(changing_root, tree, yes) is None


def test_a_hard_link_elsewhere_only_renews_the_ctime(changing: Served, changing_root: Root) -> None:
    tree = read(changing_root, b"directory")
    (changing.outside / "hard").hardlink_to(changing.path / "directory/inner.txt")
    again = recheck_tree(changing_root, tree, yes)
    assert again is not None
    assert again.identity(b"") == tree.identity(b"")
    member = paths(tree).index(b"inner.txt")
    assert again.status(member).ctime_ns == (changing.path / "directory/inner.txt").stat().st_ctime_ns


def test_a_file_that_may_no_longer_be_read_is_seen(changing: Served, changing_root: Root) -> None:
    tree = read(changing_root, b"directory")
    os.chown(changing.path / "directory/inner.txt", 0, 0)
    (changing.path / "directory/inner.txt").chmod(0o600)
    tree.statuses.modes[paths(tree).index(b"inner.txt")] = 0o100600  # as if only the ctime told
    with unprivileged():
        assert recheck_tree(changing_root, tree, yes) is None


@pytest.mark.parametrize("version", [b"1", b"2"])
def test_the_identity_tells_trees_and_versions_apart(root: Root, version: bytes) -> None:
    tree, other = read(root, b"directory"), read(root, b"directory", b"deeper")
    assert tree.identity(version) == read(root, b"directory").identity(version) != other.identity(version)
    assert tree.identity(version) != tree.identity(b"other")
    assert len(tree.identity(version)) >= 32
