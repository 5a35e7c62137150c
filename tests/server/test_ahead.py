"""A connection's protocol is made before its client comes, and serves one connection alone."""

from itertools import count

from fileserve.server.ahead import Ahead
from fileserve.server.edge import edge_of
from fileserve.server.limits import Limits
from tests.server.apps import hello
from tests.server.harness import serving, wait_until


def test_one_is_ready_and_the_next_is_made_when_asked_to() -> None:
    numbers = count()
    ahead = Ahead(lambda: next(numbers))
    assert next(numbers) == 1  # the first was made at once
    ahead.prepare()
    assert ahead() == 0
    ahead.prepare()
    assert next(numbers) == 3
    assert ahead() == 2


def test_those_who_come_at_once_get_their_own() -> None:
    numbers = count()
    ahead = Ahead(lambda: next(numbers))
    assert [ahead(), ahead(), ahead()] == [0, 1, 2]


def test_the_next_is_prepared_when_a_connection_has_ended(loop: str) -> None:
    ended: list[str] = []
    with serving(hello, loop) as served:
        edge = edge_of(served.server.server_state, Limits())
        edge.prepare = lambda: ended.append("")
        with served.connect() as client:
            assert client.get().response().status == 200
            assert not ended
        wait_until(lambda: len(ended) == 1)
