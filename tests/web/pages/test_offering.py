"""What a directory's page offers to whoever may upload: the form, the modules, the way to sign in."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings
from tests.asgi import Answer, client_of
from tests.web.pages.test_live import MODULES, Page
from tests.web.test_access import ACCOUNT, BEARER, RIGHT, TOKEN, WRONG
from tests.web.uploading import FORM, form

UI = files("fileserve.web") / "ui"
OWN = sorted(path.name for path in (UI / "uploads").iterdir() if path.name.endswith(".js"))
UPLOAD: dict[str, Any] = {"upload": True}
KNOWN = UPLOAD | {"auth": (ACCOUNT,)}


async def page_of(served_root: Path, path: str, fields: dict[str, str], **settings: Any) -> Answer:
    async with client_of(Settings(root=served_root, **settings)) as client:
        return await client.get(path, fields)


def offered(answer: Answer) -> str:
    """Return what a page offers: the form, to sign in, or nothing."""
    assert answer.status == 200
    page = Page(answer)
    form = "uploads-form" in page.ids
    sign_in = any("/sign-in?" in link for link in page.links)
    assert ("script-src 'self'" in answer["content-security-policy"]) == form, "nothing runs where nothing is offered"
    assert ("form-action 'self'" in answer["content-security-policy"]) == form
    assert any(load.endswith(".js") for load in page.loads) == form
    return "form" if form else "sign-in" if sign_in else "nothing"


@pytest.mark.parametrize(
    ("settings", "fields", "offer"),
    [
        pytest.param({}, {}, "nothing", id="switched_off"),
        pytest.param({"auth": (ACCOUNT,)}, RIGHT, "nothing", id="known_but_switched_off"),
        pytest.param(UPLOAD, {}, "form", id="nobody_is_asked"),
        pytest.param(UPLOAD, {"host": "evil.example"}, "nothing", id="a_name_that_is_not_this_machines"),
        pytest.param(KNOWN, {}, "sign-in", id="not_known_yet"),
        pytest.param(KNOWN, WRONG, "sign-in", id="wrong_password"),
        pytest.param(KNOWN, RIGHT, "form", id="right_password"),
        pytest.param(KNOWN, RIGHT | {"sec-fetch-site": "cross-site"}, "form", id="by_a_link_of_another_site"),
        pytest.param(UPLOAD | {"token": TOKEN}, {}, "nothing", id="a_token_that_no_browser_asks_for"),
        pytest.param(UPLOAD | {"token": TOKEN}, BEARER, "form", id="a_proxy_that_passes_the_token_on"),
        pytest.param(KNOWN | {"private": True}, RIGHT, "form", id="private"),
    ],
)
async def test_a_page_offers_what_would_be_taken(
    settings: dict[str, Any], fields: dict[str, str], offer: str, served_root: Path
) -> None:
    for path in ("/", "/browse/folder/"):
        assert offered(await page_of(served_root, path, fields, **settings)) == offer


@pytest.mark.parametrize(
    ("path", "known", "unknown"),
    [
        ("/", "nothing", "nothing"),
        ("/browse/folder/", "form", "sign-in"),
        ("/browse/folder/deeper/", "form", "sign-in"),
    ],
)
async def test_only_the_pages_of_writable_folders_offer_something(
    path: str, known: str, unknown: str, served_root: Path
) -> None:
    settings = KNOWN | {"writable": ("folder",)}
    assert offered(await page_of(served_root, path, RIGHT, **settings)) == known
    assert offered(await page_of(served_root, path, {}, **settings)) == unknown


async def test_a_page_that_offers_nothing_is_what_it_was(served_root: Path) -> None:
    answer = await page_of(served_root, "/", {})
    assert "upload" not in answer.content.decode().lower()


async def test_the_form_and_the_modules_are_told_where_everything_is(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, upload=True, replace=True, existing="rename")) as client:
        client.root_path = "/files"
        text = (await client.get("/files/browse/folder/deeper/")).content.decode()
    assert 'action="/files/upload/folder/deeper/" enctype="multipart/form-data"' in text
    assert 'data-folder="folder/deeper" data-uploads="/files/uploads" data-files="/files/api/files/"' in text
    assert 'data-replace="true" data-hidden="false"' in text
    assert '<option value="rename" selected>' in text


async def test_what_would_not_be_taken_is_no_choice_of_the_form(served_root: Path) -> None:
    answer = await page_of(served_root, "/", {}, **UPLOAD)
    assert re.findall(r'<option value="(\w+)"', answer.content.decode()) == ["refuse", "rename"]


async def test_a_folder_whose_name_is_no_text_has_the_form_alone(served_root: Path) -> None:
    Path(bytes(served_root).decode(), "not-\udcff").mkdir()
    answer = await page_of(served_root, "/browse/not-%FF/", {}, **UPLOAD)
    assert b'action="/upload/not-%FF/"' in answer.content
    assert not [load for load in Page(answer).loads if load.endswith(".js")]


async def test_a_folders_name_cannot_bring_markup_along(served_root: Path) -> None:
    (served_root / '"><script>alert(1)<').mkdir()
    answer = await page_of(served_root, "/browse/%22%3E%3Cscript%3Ealert(1)%3C/", {}, **UPLOAD)
    assert b'data-folder="&#34;&gt;&lt;script&gt;alert(1)&lt;"' in answer.content
    assert Page(answer).inline == []


async def test_all_that_the_page_loads_is_there_and_nothing_is_in_line(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, upload=True)) as client:
        page = Page(await client.get("/browse/folder/"))
        assert page.inline == []
        loads = [load for load in page.loads if load.startswith("/ui/")]
        assert {f"/ui/uploads/{name}" for name in OWN} | {"/ui/vendor/tus.min.js"} <= set(loads)
        for load in loads:
            assert (await client.get(load)).status == 200, load


@pytest.mark.parametrize(
    ("settings", "fields", "query", "status", "location"),
    [
        pytest.param(KNOWN, {}, "folder", 401, None, id="who_is_it"),
        pytest.param(KNOWN, RIGHT, "folder/deeper", 303, "/browse/folder/deeper/", id="known"),
        pytest.param(KNOWN, RIGHT, "", 303, "/browse/", id="the_root"),
        pytest.param(KNOWN, RIGHT, "a%26b%FF", 303, "/browse/a%26b%FF/", id="a_name_of_bytes"),
        pytest.param(KNOWN, RIGHT, "//evil.example", 400, None, id="another_host"),
        pytest.param(KNOWN, RIGHT, "../..", 400, None, id="outside"),
        pytest.param(KNOWN, RIGHT | {"sec-fetch-site": "cross-site"}, "", 403, None, id="page_of_another_site"),
        pytest.param({}, {}, "", 403, None, id="switched_off"),
    ],
)
async def test_signing_in_leads_back_to_the_page(
    settings: dict[str, Any], fields: dict[str, str], query: str, status: int, location: str | None, served_root: Path
) -> None:
    answer = await page_of(served_root, f"/sign-in?{query}", fields, **settings)
    assert (answer.status, answer.fields.get("location")) == (status, location)
    assert ("www-authenticate" in answer.fields) == (status == 401)


async def test_the_link_to_sign_in_comes_back_to_its_folder(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, **KNOWN)) as client:
        client.root_path = "/files"
        page = Page(await client.get("/files/browse/folder/"))
        [link] = [link for link in page.links if "sign-in" in link]
        assert (await client.get(link, RIGHT))["location"] == "/files/browse/folder/"


async def test_a_form_that_is_refused_tells_the_way_back_to_its_folder(served_root: Path) -> None:
    content = [form([(b"inner.txt", b"new")])]
    async with client_of(Settings(root=served_root, upload=True)) as client:
        html = await client.request("POST", "/upload/folder/", FORM | {"accept": "text/html"}, content=content)
        told = await client.request("POST", "/upload/folder/", FORM, content=content)
    assert html.status == told.status == 409
    assert b'<a href="/browse/folder/">folder</a>' in html.content
    assert json.loads(told.content)["folder"] == "/browse/folder/"


@pytest.mark.parametrize("name", OWN)
def test_a_module_imports_what_exists_and_makes_no_markup_of_text(name: str) -> None:
    text = (UI / "uploads" / name).read_text()
    assert set(re.findall(r'from "\./([\w.-]+)"', text)) <= set(OWN)
    assert set(re.findall(r'from "\.\./([\w.-]+)"', text)) <= set(MODULES)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("name", OWN)
def test_every_id_that_a_module_looks_for_is_on_the_page(name: str) -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', (UI / "uploads.html").read_text()))
    assert set(re.findall(r'"#([\w-]+)"', (UI / "uploads" / name).read_text())) <= ids


def test_the_tus_client_is_the_one_that_its_readme_names() -> None:
    readme = (UI / "vendor" / "README.md").read_text()
    [digest] = re.findall(r"`([0-9a-f]{64})`", readme)
    assert hashlib.sha256((UI / "vendor" / "tus.min.js").read_bytes()).hexdigest() == digest
    assert "MIT" in (UI / "vendor" / "tus.LICENSE").read_text()
