"""One timer for all who wait: everybody's time ends, in order, and of nobody's who has stopped waiting."""

import asyncio

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
