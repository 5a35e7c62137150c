"""The watch for peers that take nothing: looks are counted, not seconds."""

import asyncio

import pytest

from fileserve.server.stalls import LOOKS, StallWatch


class Scripted:
    """A connection that shows one mark of a script at each look, the last for ever."""

    def __init__(self, *marks: object) -> None:
        self.marks = list(marks)
        self.looks = 0
        self.ended = asyncio.Event()

    def progress(self) -> object | None:
        self.looks += 1
        return self.marks.pop(0) if len(self.marks) > 1 else self.marks[0]

    def stalled(self) -> None:
        self.ended.set()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("marks", "looks"),
    [
        pytest.param((1,), LOOKS + 1, id="no_progress_from_the_first_look"),
        pytest.param((1, 2, 3, 4, 5, 6, 7), LOOKS + 7, id="progress_and_then_none"),
        pytest.param((1, 1, 1, 1, 2), LOOKS + 5, id="progress_in_the_last_moment"),
        pytest.param((1, 1, 1, None, 1), LOOKS + 5, id="a_pause_with_nothing_to_send_begins_anew"),
    ],
)
async def test_a_stall_is_four_looks_without_progress(marks: tuple[object, ...], looks: int) -> None:
    watch, connection = StallWatch(0.01), Scripted(*marks)
    watch.add(connection)
    await asyncio.wait_for(connection.ended.wait(), 10)
    assert connection.looks == looks


async def test_who_has_nothing_to_send_is_never_stalled() -> None:
    watch, idle, stalled = StallWatch(0.01), Scripted(None), Scripted(*range(3 * LOOKS))
    watch.add(idle)
    watch.add(stalled)
    await asyncio.wait_for(stalled.ended.wait(), 10)
    assert idle.looks > 2 * LOOKS
    assert not idle.ended.is_set()
    watch.discard(idle)


async def test_who_is_discarded_is_not_looked_at() -> None:
    watch, gone, stalled = StallWatch(0.01), Scripted(1), Scripted(1)
    watch.add(gone)
    watch.add(stalled)
    watch.discard(gone)
    await asyncio.wait_for(stalled.ended.wait(), 10)
    assert gone.looks == 0


async def test_without_a_timeout_nobody_is_watched() -> None:
    watch, connection = StallWatch(None), Scripted(1)
    watch.add(connection)
    await asyncio.sleep(0)
    watch.discard(connection)
    assert connection.looks == 0
