"""What happens to a name, or to its asker, while it is being resolved."""

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileserve.storage import walker
from fileserve.storage.errors import LinkLoop, NotDirectory, NotFound, OutsideRoot, StorageError
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from tests.hostile import SECRET
from tests.storage.conftest import Served, content

Swap = Callable[[Served], None]


def swap_file_and_link(served: Served) -> None:
    """Put a link to the secret in the place of ``swapped/file``, and then the file again; it is never missing."""
    spare, place = served.path / "spare", served.path / "swapped" / "file"
    spare.symlink_to(served.outside / "secret.txt")
    spare.rename(place)
    os.link(served.path / "plain.txt", spare)
    spare.rename(place)


def swap_directory_and_link(served: Served) -> None:
    """Put a link out of the root in the place of the directory ``swapped``, and then the directory again."""
    spare, place = served.path / "spare", served.path / "swapped"
    place.rename(spare)
    place.symlink_to(served.outside)
    place.unlink()
    spare.rename(place)


def move_directory_out(served: Served) -> None:
    """Move the directory that ``up-and-down`` passes out of the root and back: its ``..`` is then elsewhere."""
    inside, moved = served.path / "swapped" / "deep", served.outside / "deep"
    inside.rename(moved)
    moved.rename(inside)


@pytest.mark.parametrize(
    ("swap", "path"),
    [
        pytest.param(swap_file_and_link, "swapped/file", id="file_for_a_link"),
        pytest.param(swap_directory_and_link, "swapped/secret.txt", id="directory_for_a_link"),
        pytest.param(move_directory_out, "up-and-down", id="directory_moved_out_under_dots_cve_2015_1335"),
    ],
)
async def test_nothing_from_outside_is_read_while_names_are_swapped(
    changing: Served, changing_root: Root, swap: Swap, path: str
) -> None:
    changing.write(b"swapped/file", b"plain.txt")
    changing.write(b"swapped/secret.txt", b"plain.txt")
    changing.write(b"swapped/deep/file", b"plain.txt")
    changing.link("up-and-down", "swapped/deep/../secret.txt")
    done = threading.Event()

    def swap_until_done() -> None:
        while not done.is_set():
            swap(changing)

    swapper = threading.Thread(target=swap_until_done)
    swapper.start()
    try:
        name = tuple(path.encode().split(b"/"))
        seen = {await content_or_refusal(changing_root, name) for _ in range(1000)}
    finally:
        done.set()
        swapper.join()
    assert seen <= {b"plain.txt", OutsideRoot, NotFound, NotDirectory, LinkLoop}
    assert await content(changing_root, name) == b"plain.txt"


async def content_or_refusal(root: Root, name: Name) -> bytes | type[StorageError]:
    try:
        return await content(root, name)
    except StorageError as error:
        return type(error)


@pytest.mark.parametrize(
    ("path", "swapped"),
    [
        pytest.param("directory/inner.txt", "directory", id="directory"),
        pytest.param("directory/inner.txt", "directory/inner.txt", id="file"),
    ],
)
async def test_the_walker_does_not_follow_a_link_put_there_at_the_last_moment(
    changing: Served, monkeypatch: pytest.MonkeyPatch, path: str, swapped: str
) -> None:
    """The swap happens inside the one call that opens the component, where a check before it would be too early."""
    root = Root(changing.path, resolver="walker")
    open_before = os.open
    (changing.outside / "inner.txt").write_bytes(SECRET)
    place = changing.path / swapped
    target = changing.outside / ("inner.txt" if place.is_file() else "")

    def swap_and_open(component: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if component == os.fsencode(place.name) and not place.is_symlink():
            place.rename(changing.path / "aside")
            place.symlink_to(target)
        return open_before(component, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(OutsideRoot):
        await content(root, tuple(path.encode().split(b"/")))
    root.close()


async def test_a_file_opened_for_somebody_who_left_is_closed(changing: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixture that counts descriptors is the assertion: nobody received this one."""
    root = Root(changing.path, resolver="walker")
    opening, left, closed = threading.Event(), threading.Event(), threading.Event()
    open_before, close_before = walker.open_beneath, OpenFile.close

    def open_slowly(root_fd: int, anchors: tuple[Name, ...], name: Name, flags: int) -> int:
        opening.set()
        left.wait()
        return open_before(root_fd, anchors, name, flags)

    def close_and_tell(opened: OpenFile) -> None:
        close_before(opened)
        closed.set()

    monkeypatch.setattr(walker, "open_beneath", open_slowly)
    monkeypatch.setattr(OpenFile, "close", close_and_tell)
    asking = asyncio.create_task(root.open((b"plain.txt",)))
    await asyncio.to_thread(opening.wait)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    root.close()  # while the thread still resolves beneath it
    left.set()
    assert await asyncio.to_thread(closed.wait, 10)


places = st.sampled_from(["a", "b", "c", "a/a", "a/b", "b/a", "b/c", "a/b/c"])
targets = st.lists(st.sampled_from(["..", ".", "a", "b", "c", "", "SERVED"]), min_size=1, max_size=5).map("/".join)


@given(st.lists(st.tuples(places, st.none() | targets), max_size=8), st.lists(st.sampled_from("abc"), min_size=1))
@settings(max_examples=100, deadline=None)
def test_openat2_and_the_walker_agree_on_any_tree_of_links(tree: list[tuple[str, str | None]], path: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        served = Path(folder, "served")
        served.mkdir()
        for beside in "abc":
            Path(folder, beside).write_bytes(SECRET)
        for place, target in tree:
            with suppress(OSError):  # what the links before it leave no place for
                grow(served, place, target)
        openat2, walked = asyncio.run(ask_both(served, tuple(map(os.fsencode, path))))
    assert openat2 == walked
    assert openat2 != SECRET


def grow(served: Path, place: str, target: str | None) -> None:
    """Make a link with a target, or a file without one."""
    path = served / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(served.resolve()):
        return
    if target is None:
        path.write_bytes(place.encode())
    else:
        path.symlink_to(target.replace("SERVED", str(served)))


async def ask_both(served: Path, name: Name) -> list[bytes | type[StorageError]]:
    answers = []
    for root in (Root(served), Root(served, resolver="walker")):
        answers.append(await content_or_refusal(root, name))
        root.close()
    return answers
