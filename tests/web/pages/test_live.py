"""The page /live as it is served: who gets it, its policy, and that everything it loads is there."""

import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from fileserve import Settings
from tests.asgi import Answer, Client, client_of

TOKEN = "a-token-of-the-operator"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
UI = files("fileserve.web") / "ui"
MODULES = sorted(path.name for path in UI.iterdir() if path.name.endswith(".js"))


class Page(HTMLParser):
    """What a page loads and links to, what it would run or style in line, and its elements' ids."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.feed(answer.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.loads += [attributes[name] for name in ("src", "href") if tag in ("script", "link") and name in attributes]
        self.links += [attributes["href"]] if tag == "a" else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "style" or (tag == "script" and "src" not in attributes):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.fixture
def settings(served_root: Path) -> Settings:
    return Settings(root=served_root, operator_token=TOKEN)


async def test_the_page_needs_the_operators_token(settings: Settings) -> None:
    async with client_of(settings) as client:
        assert (await client.get("/live")).status == 401
        assert (await client.get("/live", BEARER)).status == 200


async def test_head_is_answered_like_get(settings: Settings) -> None:
    async with client_of(settings) as client:
        got, head = await client.get("/live", BEARER), await client.request("HEAD", "/live", BEARER)
    assert (head.status, head.fields) == (200, got.fields)  # that the content stays away is the server's doing


async def test_the_policy_allows_nothing_in_line_and_the_page_has_nothing(settings: Settings) -> None:
    async with client_of(settings) as client:
        answer = await client.get("/live", BEARER)
    assert answer["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        "script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'"
    )
    assert Page(answer).inline == []


async def test_all_that_the_page_loads_is_there_and_nothing_leaves_the_root_path(settings: Settings) -> None:
    async with client_of(settings) as client:
        page = Page(await client.get("/live", BEARER))
        assert set(MODULES) <= {load.removeprefix("ui/") for load in page.loads}
        for address in page.loads + page.links:
            assert not address.startswith(("/", "http")), "relative, so that it works beneath a prefix"
            assert (await client.get("/" + address.removeprefix("./"))).status == 200, address


async def test_the_chat_is_left_out_where_it_is_switched_off(settings: Settings) -> None:
    without = settings.model_copy(update={"chat": False})
    async with client_of(settings) as client:
        assert "chat" in Page(await client.get("/live", BEARER)).ids
    async with client_of(without) as client:
        assert not [id for id in Page(await client.get("/live", BEARER)).ids if id.startswith("chat")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_exists_and_makes_no_markup_of_text(name: str) -> None:
    text = (UI / name).read_text()
    assert set(re.findall(r'from "\./([\w.-]+)"', text)) <= set(MODULES)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("name", MODULES)
def test_every_id_that_a_module_looks_for_is_on_the_page(name: str) -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', (UI / "live.html").read_text()))
    assert set(re.findall(r'find\("#([\w-]+)', (UI / name).read_text())) <= ids


async def test_a_module_is_asked_for_each_time_and_answered_304(client: Client) -> None:
    first = await client.get("/ui/live.js")
    assert (first.status, first["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert first["cache-control"] == "no-cache"
    again = await client.get("/ui/live.js", {"If-None-Match": first["etag"]})
    assert (again.status, again.content) == (304, b"")
    assert again["etag"] == first["etag"]


@pytest.mark.parametrize("value", ['"another"', "nonsense", ""])
async def test_a_module_that_the_client_does_not_have_is_sent(value: str, client: Client) -> None:
    assert (await client.get("/ui/live.js", {"If-None-Match": value})).status == 200


async def test_what_the_pages_do_not_load_is_not_served(client: Client) -> None:
    for name in ("live.html", "listing.html", "absent.js"):
        assert (await client.get(f"/ui/{name}")).status == 404
