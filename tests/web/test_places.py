"""How many of one kind there may be at once: of one client, and in all."""

import pytest

from fileserve.web.places import Places
from fileserve.web.problems import Problem


@pytest.mark.parametrize(
    ("clients", "status"),
    [
        pytest.param(["a", "a", "a"], 429, id="of_one_client"),
        pytest.param(["a", "b", "a", "b", "c"], 503, id="in_all"),
        pytest.param([None, None, None, None, None], 503, id="in_all_without_addresses"),
    ],
)
def test_places_are_bounded_and_given_back(clients: list[str | None], status: int) -> None:
    places = Places(4, 2, 7, "letters")
    *held, last = (places.take(client) for client in clients)
    for one in held:
        one.__enter__()
    with pytest.raises(Problem, match="too many letters") as caught:
        last.__enter__()
    assert (caught.value.status, caught.value.fields["retry-after"]) == (status, "7")
    held[0].__exit__(None, None, None)
    with places.take(clients[-1]):
        pass


def test_a_place_that_is_held_is_free_once_it_is_closed() -> None:
    places = Places(1, 1, 7, "letters")
    with places.held("a"):
        assert places.taken == 1
    assert places.taken == 0
