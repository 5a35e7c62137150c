"""``/api/files/{path}``: listings in pages, and what is known of one file."""

import json
from typing import Any

import pytest

from tests.asgi import Answer, Client


def document(answer: Answer) -> Any:
    assert answer.status == 200, answer.content
    assert answer["content-type"] == "application/json"
    return json.loads(answer.content)


async def test_a_listing_shows_what_can_be_had_and_nothing_else(client: Client) -> None:
    listing = document(await client.get("/api/files/"))
    names = [entry["name"] for entry in listing["entries"]]
    assert listing["total"] == len(names)
    assert names[0] == "folder"
    assert {"digits.txt", "not-utf8-\N{REPLACEMENT CHARACTER}", "new\N{REPLACEMENT CHARACTER}line.txt"} <= set(names)
    assert not {".hidden", "leaving", "fifo"} & set(names)


async def test_every_href_of_a_listing_can_be_fetched(client: Client) -> None:
    for entry in document(await client.get("/api/files"))["entries"]:
        answer = await client.get(entry["href"])
        assert answer.status == 200, entry
        if entry["kind"] == "file":
            assert len(answer.content) == entry["size"]


async def test_pages_follow_each_other_by_their_links(client: Client) -> None:
    whole = document(await client.get("/api/files/?sort=size&order=desc"))["entries"]
    pages, url = [], "/api/files/?sort=size&order=desc&limit=2"
    while url:
        page = document(await client.get(url))
        pages += page["entries"]
        url = page.get("next")
    assert pages == whole
    sizes = [entry["size"] for entry in whole if entry["kind"] == "file"]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("query", ["sort=colour", "order=up", "offset=-1", "limit=0", "limit=1001", "offset=x"])
async def test_a_parameter_that_cannot_be_used_is_422_and_named(client: Client, query: str) -> None:
    answer = await client.get("/api/files/?" + query)
    assert answer.status == 422
    assert query.partition("=")[0].encode() in answer.content


async def test_a_file_is_described_as_its_download_announces_it(client: Client) -> None:
    info = document(await client.get("/api/files/digits.txt"))
    download = await client.request("HEAD", info["href"])
    assert info["etag"] == download["etag"]
    assert str(info["size"]) == download["content-length"]
    assert info["media_type"] == download["content-type"]
    assert info["modified"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(("path", "status"), [("absent", 404), ("leaving", 404), ("fifo", 403), ("a/../b", 400)])
async def test_what_is_not_there_is_a_problem(client: Client, path: str, status: int) -> None:
    assert (await client.get("/api/files/" + path)).status == status


async def test_links_stand_under_the_root_path(client: Client) -> None:
    client.root_path = "/files"
    entries = document(await client.get("/api/files/folder"))["entries"]
    assert [entry["href"] for entry in entries] == [
        "/files/api/files/folder/deeper",
        "/files/download/folder/inner.txt",
    ]
