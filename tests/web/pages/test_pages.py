"""The page for people, as a browser without JavaScript reads it."""

from html.parser import HTMLParser

import pytest

from tests.asgi import Answer, Client


class Page(HTMLParser):
    """The links of a page with their texts, and whether it runs anything."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.scripts = 0
        self._href: str | None = None
        self.feed(answer.content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a":
            self._href = attributes["href"]
        self.scripts += tag == "script" or any(name.startswith("on") for name in attributes)

    def handle_data(self, data: str) -> None:
        if self._href is not None:
            self.links[data] = self._href
            self._href = None


async def test_the_page_links_to_every_file_and_folder(client: Client) -> None:
    answer = await client.get("/")
    assert (answer.status, answer["content-type"]) == (200, "text/html; charset=utf-8")
    page = Page(answer)
    assert page.links["digits.txt"] == "/download/digits.txt"
    assert page.links["folder"] == "/browse/folder/"
    for href in set(page.links.values()):
        assert (await client.get(href)).status == 200, href


async def test_names_cannot_bring_markup_along(client: Client) -> None:
    answer = await client.get("/")
    assert b"&lt;angle&gt;" in answer.content
    assert b"<angle>" not in answer.content
    assert Page(answer).scripts == 0
    assert "default-src 'none'" in answer["content-security-policy"]


async def test_a_folder_links_to_its_parents(client: Client) -> None:
    page = Page(await client.get("/browse/folder/deeper/"))
    assert page.links["Parent directory"] == "/browse/folder/"
    assert page.links["Files"] == "/browse/"
    assert page.links["folder"] == "/browse/folder/"


async def test_a_folder_without_its_slash_is_redirected_beneath_the_root_path(client: Client) -> None:
    client.root_path = "/files"
    answer = await client.get("/browse/folder?sort=size")
    assert (answer.status, answer["location"]) == (307, "/files/browse/folder/?sort=size")


async def test_headings_sort_and_turn_round(client: Client) -> None:
    page = Page(await client.get("/browse/?sort=size"))
    assert page.links["Size"] == "/browse/?sort=size&order=desc"
    assert page.links["Name"] == "/browse/"


async def test_pages_link_to_the_next_and_the_one_before(client: Client) -> None:
    page = Page(await client.get("/browse/?limit=2&offset=2"))
    assert page.links["Next"] == "/browse/?offset=4&limit=2"
    assert page.links["Previous"] == "/browse/?limit=2"


async def test_a_page_beyond_the_last_says_so(client: Client) -> None:
    answer = await client.get("/browse/folder/?offset=100")
    assert answer.status == 200
    assert b"There is nothing on this page." in answer.content


@pytest.mark.parametrize(("path", "status"), [("/browse/absent/", 404), ("/browse/digits.txt", 404), ("//x", 404)])
async def test_what_has_no_page_is_a_problem(client: Client, path: str, status: int) -> None:
    assert (await client.get(path)).status == status


async def test_the_style_is_served(client: Client) -> None:
    assert (await client.get("/ui/style.css")).status == 200
