"""Following a name: growth, rotation, truncation, deletion and re-creation, live and after a reconnect."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from fileserve.storage import watching
from fileserve.storage.errors import IsDirectory, NotFound
from fileserve.storage.following import Follower, Loss, Lost, follow, resume
from fileserve.storage.lines import LINE, Position
from fileserve.storage.root import Root
from fileserve.storage.watching import Watch

NAME = (b"logs", b"app.log")
PATIENCE_S = 10
NEVER_S = 3600.0


@dataclass
class Log:
    """A log as its writer and its rotation treat it."""

    path: Path

    def append(self, text: str) -> None:
        with self.path.open("a", newline="") as file:
            file.write(text)

    def rotate(self, suffix: str = ".1") -> Path:
        """Rename the log, and return where it is now."""
        return self.path.rename(self.path.with_name(self.path.name + suffix))

    def replace(self, text: str) -> None:
        """Give the name to another file in one step."""
        other = self.path.with_name("other")
        other.write_text(text)
        other.replace(self.path)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    (tmp_path / "logs").mkdir()
    made = Log(tmp_path / "logs" / "app.log")
    made.append("one\ntwo\n")
    return made


@pytest.fixture
def root(tmp_path: Path, log: Log) -> Iterator[Root]:
    opened = Root(tmp_path)
    yield opened
    opened.close()


@asynccontextmanager
async def following(root: Root, last: int | None = 0) -> AsyncIterator[Follower]:
    follower = await follow(root, NAME, last=last)
    try:
        yield follower
    finally:
        follower.close()


async def told(follower: Follower, count: int) -> list[str]:
    """Return the next *count* things that are told: lines as they are, losses in angle brackets."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            items = await follower.read()
            found += [f"<{item.loss.value}>" if isinstance(item, Lost) else item.text.decode() for item in items]
            if not items:
                await follower.changed()
    return found


async def told_of(follower: Follower, change: Callable[[], object], count: int) -> list[str]:
    """Return the next *count* things that are told of a *change* that comes while they are waited for."""
    assert await follower.read() == []
    waiting = asyncio.ensure_future(told(follower, count))
    await asyncio.sleep(0)
    change()
    return await waiting


async def resumed(root: Root, position: Position, count: int) -> list[str]:
    """Come back with *position*, and return the next *count* things that are told."""
    follower, loss = await resume(root, NAME, position)
    try:
        first = [] if loss is None else [f"<{loss.value}>"]
        return first + await told(follower, count - len(first))
    finally:
        follower.close()


def no_inotify(*arguments: object) -> int:
    raise OSError


@pytest.fixture(params=["told", "polling"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How changes are noticed: by inotify alone, or by looking alone."""
    if request.param == "told":
        monkeypatch.setattr(watching, "POLL_S", NEVER_S)
        monkeypatch.setattr(watching, "LOOK_S", NEVER_S)
    else:
        monkeypatch.setattr(watching, "POLL_S", 0.01)
        monkeypatch.setattr(watching, "_call", no_inotify)
    return str(request.param)


@pytest.mark.usefixtures("way")
class TestLive:
    """What one reader gets, whose file stays open."""

    async def test_lines_are_given_out_as_they_are_written(self, root: Root, log: Log) -> None:
        async with following(root) as follower:
            for number in range(20):
                line = f"line {number}"
                assert await told_of(follower, partial(log.append, line + "\n"), 1) == [line]

    async def test_a_rotation_loses_nothing(self, root: Root, log: Log) -> None:
        """The writer goes on in the old file, leaves a line unfinished, and then begins the new one."""
        async with following(root) as follower:
            old = Log(log.rotate())
            log.path.touch()
            assert await told_of(follower, partial(old.append, "late\n"), 1) == ["late"]
            assert await follower.read() == []
            old.append("later\nunfinished")
            log.append("new\n")
            assert await told(follower, 3) == ["later", "unfinished", "new"]

    async def test_a_name_may_be_replaced_in_one_step(self, root: Root, log: Log) -> None:
        async with following(root) as follower:
            assert await told_of(follower, partial(log.replace, "other\n"), 1) == ["other"]

    async def test_an_empty_successor_may_be_replaced_too(self, root: Root, log: Log) -> None:
        async with following(root) as follower:
            log.replace("")
            assert await told_of(follower, partial(log.replace, "third\n"), 1) == ["third"]

    @pytest.mark.parametrize("text", ["new\n", "another\n" * 100], ids=["shorter", "longer_than_before"])
    async def test_a_truncation_is_told(self, root: Root, log: Log, text: str) -> None:
        async with following(root) as follower:
            found = await told_of(follower, partial(log.path.write_text, text), 2)
            assert found[:2] == ["<truncated>", text.split("\n")[0]]

    async def test_a_successor_that_has_nothing_yet_is_waited_for(self, root: Root, log: Log) -> None:
        async with following(root) as follower:
            log.replace("")
            assert await told_of(follower, partial(log.append, "first\n"), 1) == ["first"]


@pytest.mark.parametrize("is_directory", [False, True], ids=["missing", "a_directory"])
async def test_a_name_that_is_no_file_for_a_moment_is_waited_for(
    root: Root, log: Log, is_directory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    async with following(root) as follower:
        follower._watch._wait_s = NEVER_S
        log.path.unlink()
        if is_directory:
            log.path.mkdir()

        def create() -> None:
            if is_directory:
                log.path.rmdir()
            log.append("again\n")

        assert await told_of(follower, create, 1) == ["again"]


async def test_a_link_that_comes_to_lead_elsewhere_is_noticed(
    root: Root, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells of that, so it is looked for."""
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    first = log.rotate("-first")
    second = first.with_name("app.log-second")
    second.write_text("of the second\n")
    log.path.symlink_to(first.name)
    async with following(root) as follower:
        log.path.unlink()
        log.path.symlink_to(second.name)
        assert await told(follower, 1) == ["of the second"]


async def test_a_change_that_nobody_told_of_makes_the_waits_short(
    root: Root, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that another machine writes to."""
    monkeypatch.setattr(watching, "_MASK", watching._MOVE_SELF)  # writing is not told
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    async with following(root) as follower:
        assert await told_of(follower, partial(log.append, "untold\n"), 1) == ["untold"]
        follower._watch._wait_s = NEVER_S
        assert await told_of(follower, partial(log.append, "untold again\n"), 1) == ["untold again"]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(None, ["one", "two", "more"], id="start"),
        pytest.param(0, ["more"], id="end"),
        pytest.param(1, ["two", "more"], id="the_last_line"),
    ],
)
async def test_it_begins_where_it_is_told_to(root: Root, log: Log, last: int | None, expected: list[str]) -> None:
    async with following(root, last) as follower:
        log.append("more\n")
        assert await told(follower, len(expected)) == expected


async def test_what_is_no_file_is_not_followed(root: Root) -> None:
    with pytest.raises(NotFound):
        await follow(root, (b"absent",), last=0)
    with pytest.raises(IsDirectory):
        await follow(root, (b"logs",), last=0)


@pytest.fixture
async def position(root: Root, log: Log) -> Position:
    """Where a reader of the two lines was; its file is closed since."""
    async with following(root, None) as follower:
        assert await told(follower, 2) == ["one", "two"]
        return follower.position


class TestResumed:
    """What a reader gets that comes back."""

    async def test_it_goes_on_at_the_next_byte(self, root: Root, log: Log, position: Position) -> None:
        log.append("three\n")
        assert await resumed(root, position, 1) == ["three"]

    async def test_the_rest_of_the_rotated_file_comes_first(self, root: Root, log: Log, position: Position) -> None:
        log.append("three\nunfinished")
        log.rotate()
        log.append("new\n")
        assert await resumed(root, position, 3) == ["three", "unfinished", "new"]

    async def test_it_may_come_back_between_the_two_files(self, root: Root, log: Log, position: Position) -> None:
        log.append("three\n")
        log.rotate("-20261122")
        assert await resumed(root, position, 1) == ["three"]

    async def test_files_that_may_have_come_between_are_told(self, root: Root, log: Log, position: Position) -> None:
        log.append("three\n")
        os.utime(log.rotate(".2"), (1, 1))
        log.path.with_name("app.log.1").write_text("never seen\n")
        log.append("new\n")
        assert await resumed(root, position, 3) == ["three", "<rotated>", "new"]

    async def test_older_files_are_no_reason_to_doubt(self, root: Root, log: Log, position: Position) -> None:
        older = log.path.with_name("app.log.2")
        older.write_text("read before\n")
        os.utime(older, (1, 1))
        log.rotate()
        log.append("new\n")
        assert await resumed(root, position, 1) == ["new"]

    @pytest.mark.parametrize("text", ["", "new\n", "another\n" * 100], ids=["empty", "shorter", "longer"])
    async def test_a_truncation_is_told(self, root: Root, log: Log, position: Position, text: str) -> None:
        log.path.write_text(text)
        log.append("last\n")
        assert (await resumed(root, position, 2))[0] == f"<{Loss.TRUNCATED.value}>"

    async def test_a_file_that_is_gone_is_told(self, root: Root, log: Log, position: Position) -> None:
        log.replace("other\n")
        assert await resumed(root, position, 2) == ["<replaced>", "other"]

    async def test_another_file_with_the_number_of_the_old_one_is_not_taken_for_it(
        self, root: Root, log: Log, position: Position
    ) -> None:
        log.rotate().write_text("rotated and rewritten\n")
        log.append("new\n")
        assert await resumed(root, position, 2) == ["<replaced>", "new"]

    async def test_neither_file_nor_name_is_an_error(self, root: Root, log: Log, position: Position) -> None:
        log.path.unlink()
        with pytest.raises(NotFound):
            await resume(root, NAME, position)


async def test_a_reader_that_comes_back_after_every_line_misses_and_doubles_nothing(root: Root, log: Log) -> None:
    """Over three rotations, and a line in pieces."""
    expected = [f"line {number}" for number in range(40)] + ["x" * LINE, "x", "last"]
    async with following(root) as follower:
        position = follower.position
    found = []
    for number in range(40):
        if number % 10 == 5:
            log.append("unfinished")  # and finished by the rotation
            os.utime(log.rotate(f".{number}"))
            expected.insert(expected.index(f"line {number}"), "unfinished")
        log.append(f"line {number}\n")
        follower, loss = await resume(root, NAME, position)
        assert loss is None
        found += await told(follower, 2 if number % 10 == 5 else 1)
        position = follower.position
        follower.close()
    log.append("x" * (LINE + 1) + "\nlast\n")
    for _ in range(2):
        follower, _ = await resume(root, NAME, position)
        items = await follower.read()
        follower.close()
        assert not isinstance(items[0], Lost)
        found.append(items[0].text.decode())
        position = items[0].position
    found += await resumed(root, position, 1)
    assert found == expected


def inotify_instances() -> int:
    found = 0
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):  # the one that lists them
            found += "inotify" in os.readlink(f"/dev/fd/{number}")
    return found


async def test_all_readers_share_one_inotify_instance_that_closes_with_the_last(root: Root, log: Log) -> None:
    async with AsyncExitStack() as stack:
        followers = [await stack.enter_async_context(following(root)) for _ in range(200)]
        assert inotify_instances() == 1
        log.append("for all\n")
        assert await asyncio.gather(*(told(follower, 1) for follower in followers)) == [["for all"]] * 200
    assert inotify_instances() == 0


async def test_a_full_queue_of_the_kernel_wakes_everybody(root: Root) -> None:
    opened = await root.open(NAME)
    watch = Watch()
    watch.add(opened)
    watching._instance_of_loop()._wake(watching._OVERFLOWN)
    assert await watch.changed()
    watch.remove(opened)
    opened.close()


async def test_waits_grow_while_nothing_happens(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "POLL_S", 0.001)
    monkeypatch.setattr(watching, "LOOK_S", 0.003)
    watch, waits = Watch(), []
    for _ in range(4):
        waits.append(watch._wait_s)
        assert not await watch.changed()
    assert waits == [0.001, 0.002, 0.003, 0.003]


async def test_a_wait_that_is_broken_off_leaves_nothing(root: Root, log: Log) -> None:
    async with following(root) as follower:
        waiting = asyncio.ensure_future(told(follower, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        log.append("after\n")
        assert await told(follower, 1) == ["after"]
