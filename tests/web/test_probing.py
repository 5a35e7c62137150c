"""``/check-proxy``: what it tells of a request and when, and that it costs little."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from fileserve import Settings
from fileserve.web import probing
from tests.asgi import Client, client_of


@pytest.fixture(autouse=True)
def less_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "BLOCKS", 10)


async def test_a_request_is_told_as_it_has_arrived(client: Client) -> None:
    path = "/check-proxy/request/a%2Fb//c%25d"
    fields = {
        "host": "example.org",
        "x-forwarded-for": "192.0.2.1",
        "x-request-id": "7",
        "authorization": "Bearer secret",
    }
    arrival = json.loads((await client.get(path, fields)).content)
    assert arrival == {
        "http_version": "1.1",
        "path": path,
        "scheme": "http",
        "host": "example.org",
        "connection": None,
        "hops": 1,
        "is_forwarded_proto": False,
        "client": None,
        "request_id": "7",
    }


async def test_events_tell_when_they_were_sent(client: Client) -> None:
    answer = await client.get("/check-proxy/events?count=3&interval_ms=20")
    stamps = [int(line.removeprefix("data: ")) for line in answer.content.decode().splitlines() if "data" in line]
    assert len(stamps) == 3
    assert all(stamp >= 20 * number for number, stamp in enumerate(stamps))
    assert answer["x-accel-buffering"] == "no"


async def test_the_content_is_as_long_as_it_says_and_stamped_in_each_block(client: Client) -> None:
    answer = await client.get("/check-proxy/content")
    assert answer.finished
    assert len(answer.content) == int(answer["content-length"]) == probing.BLOCK * probing.BLOCKS
    stamps = [
        int(answer.content[at : at + probing.STAMP_DIGITS]) for at in range(0, len(answer.content), probing.BLOCK)
    ]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    "query", ["count=0", "count=21", "interval_ms=0", "interval_ms=120001", "count=20&interval_ms=6316"]
)
async def test_what_it_may_cost_is_bounded(client: Client, query: str) -> None:
    assert (await client.get(f"/check-proxy/events?{query}")).status == 422


async def test_few_streams_are_open_at_once_and_each_gives_its_place_back(client: Client) -> None:
    clients = [dataclasses.replace(client, address=f"192.0.2.{number}") for number in range(probing.AT_ONCE + 1)]
    asked = [one.get("/check-proxy/events?count=2&interval_ms=200") for one in clients]
    assert sorted(answer.status for answer in await asyncio.gather(*asked)) == [200] * probing.AT_ONCE + [503]
    for _ in range(probing.AT_ONCE + 1):
        assert (await client.get("/check-proxy/content", leave_after=1)).status == 200
    assert (await client.get("/check-proxy/events?count=1")).status == 200


async def test_one_client_leaves_places_for_others(client: Client) -> None:
    other = dataclasses.replace(client, address="192.0.2.1")
    query = "/check-proxy/events?count=2&interval_ms=200"
    asked = [client.get(query) for _ in range(probing.AT_ONCE)]
    *own, others = await asyncio.gather(*asked, other.get(query))
    refused = probing.AT_ONCE - probing.OF_ONE_CLIENT
    assert sorted(answer.status for answer in own) == [200] * probing.OF_ONE_CLIENT + [429] * refused
    assert others.status == 200


async def test_a_content_that_is_not_taken_in_time_is_left_unfinished(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "BLOCKS", 1_000_000)
    monkeypatch.setattr(probing, "CONTENT_S", 0.05)
    for _ in range(probing.OF_ONE_CLIENT + 1):
        answer = await client.get("/check-proxy/content")
        assert (answer.status, answer.finished) == (200, False)


@pytest.mark.parametrize("path", ["request/a", "events", "content"])
async def test_a_private_site_asks_who_wants_to_know(served_root: Path, path: str) -> None:
    token = "t0ken-of-sixteen-characters"
    async with client_of(Settings(root=served_root, private=True, token=token)) as private:
        assert (await private.get(f"/check-proxy/{path}")).status == 401
        assert (await private.get(f"/check-proxy/{path}", {"authorization": f"Bearer {token}"})).status == 200
