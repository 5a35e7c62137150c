"""Turns to compare a password: a flood of wrong ones keeps nobody out who has not guessed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from fileserve.web import guessing
from fileserve.web.guessing import Turns
from fileserve.web.problems import Problem


@pytest.fixture
def turns() -> Iterator[Turns]:
    opened = Turns()
    yield opened
    opened.close()


class Comparisons:
    """Comparisons that wait until they may end, and tell in which order they began."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun: list[str] = []

    def named(self, name: str, is_right: bool = False) -> Callable[[], bool]:
        def compare() -> bool:
            self.begun.append(name)
            assert self.may_end.wait(10)
            return is_right

        return compare


async def guess_wrong(turns: Turns, *clients: str) -> None:
    for client in clients:
        assert not await turns.take(client, lambda: False)


async def test_who_has_not_guessed_wrong_is_next(turns: Turns) -> None:
    await guess_wrong(turns, "bad", "bad", "worse", "worse", "worse")
    comparisons = Comparisons()
    clients = ["x", "y", "worse", "bad", "new", "other"]
    results = [turns.take(client, comparisons.named(client)) for client in clients]
    comparisons.may_end.set()
    await asyncio.gather(*results)
    assert sorted(comparisons.begun[:2]) == ["x", "y"]
    assert sorted(comparisons.begun[2:4]) == ["new", "other"]
    assert sorted(comparisons.begun[4:]) == ["bad", "worse"]


async def test_where_as_many_wait_as_may_a_better_one_takes_the_place_of_the_worst(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessing, "_WAITING", 4)
    await guess_wrong(turns, "bad", "worse", "worse")
    comparisons = Comparisons()
    results = {client: turns.take(client, comparisons.named(client)) for client in ("x", "y", "bad", "worse")}
    newcomer = turns.take("new", comparisons.named("new", is_right=True))
    with pytest.raises(Problem) as displaced:
        await results.pop("worse")
    with pytest.raises(Problem) as refused:
        turns.take("bad", comparisons.named("never"))
    assert {displaced.value.status, refused.value.status} == {HTTPStatus.SERVICE_UNAVAILABLE}
    comparisons.may_end.set()
    assert await newcomer
    assert not any(await asyncio.gather(*results.values()))
    assert "never" not in comparisons.begun


async def test_who_was_right_is_not_held_to_what_was_wrong(turns: Turns) -> None:
    await guess_wrong(turns, "a", "a", "b", "c")
    assert await turns.take("a", lambda: True)
    comparisons = Comparisons()
    results = [turns.take(client, comparisons.named(client)) for client in ("x", "y", "b", "c", "a")]
    comparisons.may_end.set()
    await asyncio.gather(*results)
    assert "a" in comparisons.begun[2:4]  # two begin at once, in either order


async def test_of_a_client_few_wait(turns: Turns) -> None:
    comparisons = Comparisons()
    results = [turns.take("a", comparisons.named("a")) for _ in range(4)]
    with pytest.raises(Problem) as caught:
        turns.take("a", comparisons.named("a"))
    assert caught.value.status is HTTPStatus.TOO_MANY_REQUESTS
    comparisons.may_end.set()
    await asyncio.gather(*results)
    assert not await turns.take("a", lambda: False)


async def test_what_fails_is_told_and_the_next_one_has_its_turn(turns: Turns) -> None:
    def fail() -> bool:
        raise MemoryError

    failing = [turns.take("a", fail) for _ in range(3)]
    assert await turns.take("b", lambda: True)
    assert {type(result) for result in await asyncio.gather(*failing, return_exceptions=True)} == {MemoryError}


async def test_so_many_are_remembered_and_no_more(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "_REMEMBERED", 3)
    await guess_wrong(turns, *"abcde")
    assert list(turns._wrong) == ["c", "d", "e"]


async def test_at_the_end_those_that_wait_are_dropped() -> None:
    turns, comparisons = Turns(), Comparisons()
    results = [turns.take(client, comparisons.named(client)) for client in "abc"]
    turns.close()
    comparisons.may_end.set()
    ended = await asyncio.gather(*results, return_exceptions=True)
    assert isinstance(ended[2], asyncio.CancelledError)
