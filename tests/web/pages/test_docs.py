"""The page of the API: which script of others it runs, and what else it may load."""

import re
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fileserve import Settings
from tests.asgi import Client, client_of

LOADED = re.compile(r'<(?:script|link)\b[^>]*(?:src|href)="(https?:[^"]+)"[^>]*>')


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root)) as opened:
        yield opened


async def test_what_comes_from_elsewhere_is_of_one_version_and_known_byte_for_byte(client: Client) -> None:
    page = (await client.get("/docs")).content.decode()
    loaded = list(LOADED.finditer(page))
    assert len(loaded) == 2
    for one in loaded:
        assert re.match(r"https://cdn\.jsdelivr\.net/npm/swagger-ui-dist@\d+\.\d+\.\d+/", one[1])
        integrity = re.search(r' integrity="sha384-([^"]+)"', one[0])
        assert integrity is not None
        assert len(b64decode(integrity[1], validate=True)) == 48
        assert ' crossorigin="anonymous"' in one[0], "without it, a browser compares nothing"
    assert not re.search(r"<script>|<script\b(?![^>]* src=)|<style|\bon\w+=|\bstyle=", page), "nothing is inline"


async def test_its_policy_names_these_two_and_nothing_else_of_others(client: Client) -> None:
    answer = await client.get("/docs")
    policy = dict(one.strip().split(" ", 1) for one in answer["content-security-policy"].split(";"))
    urls = {url.rpartition(".")[2]: url for url in LOADED.findall(answer.content.decode())}
    of_others = {name: re.findall(r"https?:\S*|\*", sources) for name, sources in policy.items()}
    assert {name: found for name, found in of_others.items() if found} == {
        "script-src": [urls["js"]],
        "style-src": [urls["css"]],
    }
    assert "unsafe" not in answer["content-security-policy"]
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
    assert (answer["x-content-type-options"], answer["referrer-policy"]) == ("nosniff", "same-origin")


async def test_it_is_a_page_that_head_and_get_answer_alike(client: Client) -> None:
    head, get = await client.request("HEAD", "/docs"), await client.get("/docs")
    assert (head.status, get.status) == (200, 200)
    assert head["content-length"] == get["content-length"] == str(len(get.content))
    assert get["content-type"].startswith("text/html")
    assert (await client.get("/ui/docs/page.js")).status == 200
    assert (await client.get("/openapi.json")).status == 200
