"""What ``Root`` opens and what it refuses: each row in all three ways of resolving a name."""

import asyncio
import fcntl
import shutil
import signal
from pathlib import Path

import pytest

from fileserve.storage.errors import (
    Busy,
    IsDirectory,
    LinkLoop,
    NotDirectory,
    NotFound,
    NotPermitted,
    NotRegular,
    OutsideRoot,
    StorageError,
)
from fileserve.storage.listing import Kind
from fileserve.storage.names import Name, parse_name
from fileserve.storage.root import Root
from tests.hostile import HOSTILE, SECRET
from tests.storage.conftest import AWKWARD, OpenRoot, Served, content, no_descriptors_left, unprivileged


def name_of(path: str) -> Name:
    return tuple(path.encode().split(b"/"))


@pytest.mark.parametrize("name", AWKWARD.values(), ids=AWKWARD.keys())
async def test_a_file_of_any_name_is_opened(root: Root, name: bytes) -> None:
    assert await content(root, (name,)) == name
    assert (await root.stat((name,))).name == name


SERVED_LINKS = [
    pytest.param("link", b"plain.txt", id="beside"),
    pytest.param("link-chain", b"plain.txt", id="link_to_link"),
    pytest.param("directory/link-back", b"plain.txt", id="dots_within_the_root"),
    pytest.param("link-directory/inner.txt", b"inner", id="directory_link"),
    pytest.param("link-directory/deeper/innermost.txt", b"innermost", id="below_a_directory_link"),
    pytest.param("link-directory/link-back", b"plain.txt", id="dots_behind_a_directory_link"),
    pytest.param("link-through-directory", b"inner", id="link_through_a_directory_link"),
    pytest.param("link-dots", b"plain.txt", id="dot_components"),
    pytest.param("link-slashes", b"innermost", id="doubled_slashes"),
    pytest.param("link-absolute", b"inner", id="absolute_into_the_root"),
    pytest.param("link-absolute-dots", b"plain.txt", id="absolute_with_dots_into_the_root"),
    pytest.param("link-root/plain.txt", b"plain.txt", id="link_to_the_root"),
    pytest.param("link-root-absolute/directory/inner.txt", b"inner", id="absolute_link_to_the_root"),
    pytest.param("link-parent-of-directory/plain.txt", b"plain.txt", id="link_that_ends_in_dots"),
    pytest.param("link-slash-at-directory/inner.txt", b"inner", id="link_that_ends_in_a_slash"),
    pytest.param("link-hidden", b"config", id="link_to_a_hidden_file"),
    pytest.param("chain-1", b"plain.txt", id="chain_of_forty_links"),
]


@pytest.mark.parametrize(("path", "expected"), SERVED_LINKS)
async def test_a_link_beneath_the_root_is_followed(root: Root, path: str, expected: bytes) -> None:
    assert await content(root, name_of(path)) == expected
    entry = await root.stat(name_of(path))
    assert (entry.name, entry.kind, entry.size) == (name_of(path)[-1], Kind.FILE, len(expected))


REFUSED = [
    pytest.param("missing", NotFound, id="missing"),
    pytest.param("missing/file", NotFound, id="beneath_what_is_missing"),
    pytest.param("plain.txt/file", NotDirectory, id="beneath_a_file"),
    pytest.param("directory", IsDirectory, id="directory"),
    pytest.param("link-directory", IsDirectory, id="link_to_a_directory"),
    pytest.param("link-root", IsDirectory, id="link_to_the_root"),
    pytest.param("link-root-absolute", IsDirectory, id="absolute_link_to_the_root"),
    pytest.param("link-parent-of-directory", IsDirectory, id="link_that_ends_in_dots"),
    pytest.param("link-slash-at-file", NotDirectory, id="link_with_a_slash_behind_a_file"),
    pytest.param("link-through-file", NotDirectory, id="link_through_a_file"),
    pytest.param("link-dangling", NotFound, id="dangling_link"),
    pytest.param("link-dangling-deep", NotFound, id="dangling_link_in_a_directory"),
    pytest.param("out", OutsideRoot, id="relative_link_out"),
    pytest.param("out-absolute", OutsideRoot, id="absolute_link_out"),
    pytest.param("out-directory/secret.txt", OutsideRoot, id="through_a_directory_link_out"),
    pytest.param("out-directory-absolute/secret.txt", OutsideRoot, id="through_an_absolute_directory_link_out"),
    pytest.param("out-sibling", OutsideRoot, id="sibling_with_the_root's_prefix_cve_2023_29159"),
    pytest.param("out-and-back", OutsideRoot, id="out_and_back_in"),
    pytest.param("out-from-within", OutsideRoot, id="absolute_into_the_root_and_out_again"),
    pytest.param("out-dangling", OutsideRoot, id="out_to_what_is_missing"),
    pytest.param("out-parent", OutsideRoot, id="link_to_the_parent"),
    pytest.param("out-parent/outside/secret.txt", OutsideRoot, id="through_a_link_to_the_parent"),
    pytest.param("out-slash/etc/passwd", OutsideRoot, id="through_a_link_to_slash"),
    pytest.param("out-through-link", OutsideRoot, id="dots_behind_a_directory_link_cve_2024_23334"),
    pytest.param("magic", OutsideRoot, id="magic_link"),
    pytest.param("magic-directory/pyproject.toml", OutsideRoot, id="through_a_magic_link"),
    pytest.param("loop", LinkLoop, id="link_to_itself"),
    pytest.param("loop-a", LinkLoop, id="two_links_in_a_loop"),
    pytest.param("loop-a/file", LinkLoop, id="through_a_loop"),
    pytest.param("chain-0", LinkLoop, id="chain_of_forty_one_links"),
    pytest.param("fifo", NotRegular, id="fifo"),
    pytest.param("fifo-link", NotRegular, id="link_to_a_fifo"),
    pytest.param("socket", NotRegular, id="socket"),
    pytest.param(".hidden", NotFound, id="hidden"),
    pytest.param(".git/config", NotFound, id="beneath_a_hidden_directory"),
    pytest.param("directory/.env", NotFound, id="hidden_in_a_directory"),
]


@pytest.mark.parametrize(("path", "error"), REFUSED)
async def test_everything_else_is_refused_without_a_word_of_the_server(
    root: Root, served_root: Served, path: str, error: type[StorageError]
) -> None:
    with pytest.raises(StorageError) as caught:
        await root.open(name_of(path))
    assert type(caught.value) is error
    assert str(served_root.path.parent) not in str(caught.value)


async def test_the_root_itself_is_a_directory(root: Root) -> None:
    entry = await root.stat(())
    assert (entry.name, entry.kind, entry.size) == (b"", Kind.DIRECTORY, 0)
    with pytest.raises(IsDirectory):
        await root.open(())


async def test_a_device_is_refused(root: Root, served_root: Served) -> None:
    if not (served_root.path / "device").exists():
        pytest.skip("only root may make a device")
    with pytest.raises(NotRegular):
        await root.open((b"device",))
    with pytest.raises(NotRegular):
        await root.stat((b"device",))


async def test_sixty_fifos_at_once_are_refused_and_nobody_waits(root: Root) -> None:
    """A FIFO without a writer blocks a plain open for ever; the test's own timeout would end it."""
    refusals = await asyncio.gather(*(root.open((b"fifo",)) for _ in range(60)), return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [NotRegular] * 60


@pytest.mark.parametrize("encoded", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_name_reaches_nothing(served_root: Served, open_root: OpenRoot, encoded: bytes) -> None:
    root = open_root(served_root.path, hidden=True)
    for ask in (root.open, root.stat, root.list):
        with pytest.raises(StorageError):
            await ask(parse_name(encoded)[0])


async def test_hidden_files_are_served_where_they_are_wanted(served_root: Served, open_root: OpenRoot) -> None:
    root = open_root(served_root.path, hidden=True)
    assert await content(root, (b".hidden",)) == b"hidden"
    assert await content(root, (b".git", b"config")) == b"config"
    assert await content(root, (b"directory", b".env")) == b"env"


async def test_the_root_may_be_a_link_and_links_may_lead_through_it(changing: Served, open_root: OpenRoot) -> None:
    entrance = changing.path.parent / "entrance"
    entrance.symlink_to("served")
    changing.link("through-entrance", f"{entrance}/plain.txt")
    root = open_root(entrance)
    assert await content(root, (b"plain.txt",)) == b"plain.txt"
    assert await content(root, (b"link-absolute",)) == b"inner"
    assert await content(root, (b"through-entrance",)) == b"plain.txt"


async def test_everything_is_beneath_the_root_of_all(served_root: Served, open_root: OpenRoot) -> None:
    root = open_root(Path("/"))
    assert await content(root, name_of(f"{served_root.path}/out-absolute"[1:])) == SECRET


async def test_a_relative_path_is_opened_once(
    served_root: Served, open_root: OpenRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(served_root.path.parent)
    root = open_root(Path("served"))
    monkeypatch.chdir("/")
    assert await content(root, (b"link-absolute",)) == b"inner"


async def test_a_deleted_root_has_no_files(changing: Served, changing_root: Root) -> None:
    shutil.rmtree(changing.path)
    changing.path.mkdir()
    changing.write(b"plain.txt", b"of another directory with the same path")
    for ask in (changing_root.open, changing_root.stat):
        with pytest.raises(NotFound):
            await ask((b"plain.txt",))
    with pytest.raises(NotFound):
        await changing_root.list(())


async def test_a_moved_root_is_still_served(changing: Served, changing_root: Root) -> None:
    changing.path.rename(changing.path.parent / "moved")
    assert await content(changing_root, (b"directory", b"inner.txt")) == b"inner"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("missing", NotFound, id="missing"),
        pytest.param("served/plain.txt", NotDirectory, id="file"),
        pytest.param("served/loop", LinkLoop, id="link_loop"),
    ],
)
def test_a_root_that_is_no_directory_is_refused(served_root: Served, path: str, error: type[StorageError]) -> None:
    with pytest.raises(error):
        Root(served_root.path.parent / path)


async def test_a_file_without_permission_is_seen_and_not_opened(changing: Served, changing_root: Root) -> None:
    (changing.path / "plain.txt").chmod(0)
    with unprivileged():
        with pytest.raises(NotPermitted):
            await changing_root.open((b"plain.txt",))
        assert (await changing_root.stat((b"plain.txt",))).size == len(b"plain.txt")


async def test_nothing_is_seen_in_a_directory_without_permission(changing: Served, changing_root: Root) -> None:
    (changing.path / "directory").chmod(0)
    with unprivileged():
        for ask in (changing_root.open, changing_root.stat):
            with pytest.raises(NotPermitted):
                await ask((b"directory", b"inner.txt"))
        with pytest.raises(NotPermitted):
            await changing_root.list((b"directory",))


async def test_used_up_descriptors_are_busy(root: Root) -> None:
    for ask, name in ((root.open, b"plain.txt"), (root.open, b"link-absolute"), (root.list, b"directory")):
        with no_descriptors_left(), pytest.raises(Busy):
            await ask((name,))


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="leases are Linux's")
async def test_a_file_under_a_lease_is_busy(
    changing: Served, changing_root: Root, request: pytest.FixtureRequest
) -> None:
    """EAGAIN for another reason than a race: whoever holds the lease is asked to give it up, which takes time."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the kernel asks
    request.addfinalizer(lambda: signal.signal(signal.SIGIO, before))
    with (changing.path / "plain.txt").open("rb+") as held:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(Busy):
            await changing_root.open((b"plain.txt",))
    assert await content(changing_root, (b"plain.txt",)) == b"plain.txt"


async def test_a_closed_root_opens_nothing(served_root: Served, open_root: OpenRoot) -> None:
    root = open_root(served_root.path)
    root.close()
    root.close()
    with pytest.raises(ValueError, match="closed"):
        await root.open((b"plain.txt",))


@pytest.mark.parametrize("name", AWKWARD.values(), ids=AWKWARD.keys())
async def test_an_open_file_has_the_name_that_it_was_asked_by(root: Root, name: bytes) -> None:
    assert await resolved(root, (name,)) == (name,)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("directory/link-back", "plain.txt", id="link"),
        pytest.param("link-root-absolute/link-directory/link-back", "plain.txt", id="links_on_the_way"),
        pytest.param("link-absolute", "directory/inner.txt", id="absolute_link"),
        pytest.param("link-hidden", ".git/config", id="link_to_a_hidden_file"),
    ],
)
async def test_of_a_link_it_is_the_name_that_it_leads_to(root: Root, path: str, expected: str) -> None:
    assert await resolved(root, name_of(path)) == name_of(expected)


async def test_the_name_is_that_of_now(changing: Served, changing_root: Root) -> None:
    opened = await changing_root.open((b"plain.txt",))
    try:
        (changing.path / "plain.txt").rename(changing.path / "renamed.txt")
        assert changing_root.resolved(opened) == (b"renamed.txt",)
        (changing.path / "renamed.txt").rename(changing.outside / "renamed.txt")
        assert changing_root.resolved(opened) is None
        (changing.outside / "renamed.txt").rename(f"{changing.path}-sibling/renamed.txt")
        assert changing_root.resolved(opened) is None
        Path(f"{changing.path}-sibling/renamed.txt").unlink()
        assert changing_root.resolved(opened) is None
    finally:
        opened.close()


async def test_a_deleted_file_has_no_name(changing: Served, changing_root: Root) -> None:
    changing.write(b"plain.txt (deleted)", b"another")
    opened = await changing_root.open((b"plain.txt",))
    (changing.path / "plain.txt").unlink()
    assert changing_root.resolved(opened) is None
    opened.close()


async def test_beneath_a_root_that_was_moved_nothing_has_a_name(changing: Served, changing_root: Root) -> None:
    changing.path.rename(changing.path.parent / "moved")
    assert await resolved(changing_root, (b"plain.txt",)) is None


async def resolved(root: Root, name: Name) -> Name | None:
    opened = await root.open(name)
    try:
        return root.resolved(opened)
    finally:
        opened.close()
