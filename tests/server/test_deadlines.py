"""One timer for all who wait: everybody's time ends, in order, and of nobody's who has stopped waiting."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fileserve.server.deadlines import Deadlines

SHORT_S = 0.05
PATIENCE_S = 10


async def expired(ended: asyncio.Queue[str], count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        return [await ended.get() for _ in range(count)]


async def test_the_time_of_everybody_ends_in_the_order_of_their_beginning() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    waiting: Deadlines[str] = Deadlines(ended.put_nowait)
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    waiting.add("a", SHORT_S)
    await asyncio.sleep(SHORT_S / 2)
    later_s = loop.time()
    waiting.add("b", SHORT_S)
    assert await expired(ended, 1) == ["a"]
    assert loop.time() - begun_s >= SHORT_S * 0.9  # the clock of uvloop has whole milliseconds
    assert await expired(ended, 1) == ["b"]
    assert loop.time() - later_s >= SHORT_S * 0.9
    assert not len(waiting)


async def test_a_time_that_runs_is_not_begun_again() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    waiting: Deadlines[str] = Deadlines(ended.put_nowait)
    waiting.add("a", SHORT_S)
    waiting.add("a", 1000)
    assert await expired(ended, 1) == ["a"]


async def test_who_waits_no_longer_is_left_alone_and_the_next_one_is_not_forgotten() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    waiting: Deadlines[str] = Deadlines(ended.put_nowait)
    for name in ("a", "b", "c"):
        waiting.add(name, SHORT_S)
    waiting.discard("a")
    waiting.discard("nobody")
    assert await expired(ended, 2) == ["b", "c"]


async def test_one_may_begin_to_wait_again_when_its_time_is_over() -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()

    def again(name: str) -> None:
        ended.put_nowait(name)
        waiting.add(name, SHORT_S)

    waiting: Deadlines[str] = Deadlines(again)
    waiting.add("a", SHORT_S)
    assert await expired(ended, 3) == ["a", "a", "a"]
    waiting.discard("a")


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> set[object]:
    """The timers of deadlines that are set and have not rung."""
    loop, running = asyncio.get_running_loop(), set[object]()
    call_at = loop.call_at

    def counted(when: float, callback: Callable[..., object], *args: object, **more: Any) -> asyncio.TimerHandle:
        if not isinstance(getattr(callback, "__self__", None), Deadlines):
            return call_at(when, callback, *args, **more)
        running.add(timer := object())

        def ring() -> None:
            running.discard(timer)
            callback(*args)

        return call_at(when, ring, **more)

    monkeypatch.setattr(loop, "call_at", counted)
    return running


async def test_those_who_begin_again_while_others_wait_set_no_timer_of_their_own(timers: set[object]) -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()

    def again(name: str) -> None:
        ended.put_nowait(name)
        waiting.add(name, SHORT_S)

    waiting: Deadlines[str] = Deadlines(again)
    for number in range(20):
        waiting.add(str(number), SHORT_S)
        await asyncio.sleep(0.001)  # each has a moment of its own
    await expired(ended, 100)
    assert len(timers) == 1


async def test_the_timer_outlives_one_whose_end_fails(timers: set[object]) -> None:
    ended: asyncio.Queue[str] = asyncio.Queue()
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context["exception"]))

    def expire(name: str) -> None:
        if name == "bad":
            raise ValueError(name)
        ended.put_nowait(name)

    waiting: Deadlines[str] = Deadlines(expire)
    for name in ("bad", "a", "b"):
        waiting.add(name, SHORT_S)
    assert await expired(ended, 2) == ["a", "b"]
    assert [str(error) for error in failed] == ["bad"]
    assert not timers
    waiting.add("c", SHORT_S)
    assert await expired(ended, 1) == ["c"]
