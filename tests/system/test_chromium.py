"""A person's browser: Chromium, headless, driven through DevTools.

Chromium goes on by itself when an answer ends before its announced length, with Range and If-Range, because the entity
tag is strong. After a reset it waits for the person, who presses Resume; that is not tested here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.system.clients import strong_etag
from tests.system.relay import Cut, Fault, Relay, relaying
from tests.system.samples import MIB, Sample, digest
from tests.system.test_changing_files import rewrite_in_place
from tests.tools import Running, serving, tool

pytestmark = [pytest.mark.system, pytest.mark.alone]

TIMEOUT_MS = 30_000
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module; each test has a profile of its own in it."""
    executable = tool("chromium")
    expect.set_options(timeout=TIMEOUT_MS)  # five seconds, by default, are few on a busy machine
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@dataclass
class Download:
    """What DevTools says of the one download of a test."""

    page: Page
    events: list[dict[str, Any]] = field(default_factory=list)

    def wait_for_end(self) -> str:
        """Return the state in which the download ends: ``completed`` or ``canceled``."""
        for _ in range(TIMEOUT_MS // 20):
            if self.events and self.events[-1]["state"] != "inProgress":
                return str(self.events[-1]["state"])
            self.page.wait_for_timeout(20)  # lets events in; there is nothing else to await them by
        raise AssertionError(f"the download did not end: {self.events[-1:]}")

    def note(self, event: dict[str, Any]) -> None:
        """Take what ``Browser.downloadProgress`` tells."""
        self.events.append(event)

    @property
    def path(self) -> Path:
        """Where the browser has put the content."""
        return Path(self.events[-1]["filePath"])


def click_download(page: Page, relay: Relay, name: str) -> Download:
    """Open the page of the root and click the link of the file *name*."""
    assert page.context.browser is not None
    download = Download(page)
    devtools = page.context.browser.new_browser_cdp_session()
    devtools.on("Browser.downloadProgress", download.note)
    devtools.send("Browser.setDownloadBehavior", {"behavior": "default", "eventsEnabled": True})
    page.goto(relay.url + "/")
    page.get_by_role("link", name=name, exact=True).click()
    return download


@pytest.mark.parametrize(
    "offsets",
    [
        pytest.param([100_000_003], id="once"),
        pytest.param([70_000_001, 1, 50_000_000], id="three_times"),
    ],
)
def test_chromium_resumes_a_broken_download_by_itself(
    offsets: list[int], page: Page, server: Running, large: Sample
) -> None:
    with relaying(server.url, *map(Fault, offsets)) as relay:
        download = click_download(page, relay, large.name)
        assert download.wait_for_end() == "completed"
    kept = [sum(offsets[:count]) for count in range(1, len(offsets) + 1)]
    assert relay.ranges == [None, *(f"bytes={position}-" for position in kept)]
    etag = strong_etag(f"{server.url}/download/{large.name}")
    assert [request.fields.get("if-range") for request in relay.downloads] == [None, *[etag] * len(kept)]
    assert digest(download.path) == large.digest


def test_chromium_gets_the_new_file_whole_when_it_is_rewritten_meanwhile(
    page: Page, server: Running, medium: Sample
) -> None:
    """The server breaks off, Chromium asks for the rest If-Range, and is sent the new file from its start."""
    strong_etag(f"{server.url}/download/{medium.name}")
    with relaying(server.url, Fault(MIB, Cut.HOLD)) as relay:
        download = click_download(page, relay, medium.name)
        relay.wait_until_holding()
        new_digest = rewrite_in_place(medium)
        relay.release()
        assert download.wait_for_end() == "completed"
    assert len(relay.downloads) == 2
    assert relay.downloads[1].fields["if-range"].startswith('"')
    assert digest(download.path) == new_digest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A directory like people's: a sub-directory, an empty one, names that are long, awkward or hostile."""
    root = tmp_path_factory.mktemp("site")
    (root / "empty").mkdir()
    (root / "films").mkdir()
    (root / "films" / "holiday.mp4").write_bytes(b"\0" * 1_234_567)
    for name in ("notes.txt", "<script>alert(1)<", "spaces and 'quotes\".txt", "film \N{CLAPPER BOARD}.mkv"):
        (root / name).write_text("text")
    (root / ("a_name_without_any_place_to_break_" * 6 + ".iso")).write_bytes(b"\0" * 5_000)
    with serving(root) as running:
        yield running


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complains of: refused styles, missing files, errors of scripts."""
    found: list[str] = []

    def note_console(message: ConsoleMessage) -> None:
        found.append(message.text)

    def note_response(response: Response) -> None:
        if response.status >= 400:
            found.append(f"{response.status} {response.url}")

    page.on("console", note_console)
    page.on("response", note_response)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.mark.parametrize("size", [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")])
@pytest.mark.parametrize("path", ["/", "/browse/empty/", "/browse/films/", "/?sort=size&order=desc", "/download/none"])
def test_no_page_scrolls_sideways_or_makes_the_browser_complain(
    path: str, size: Any, page: Page, complaints: list[str], site: Running
) -> None:
    page.set_viewport_size(size)
    page.goto(site.url + path)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert [text for text in complaints if "404" not in text or path != "/download/none"] == []


def test_the_page_works_without_javascript(browser: Browser, site: Running) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    assert page.get_by_role("row").count() == 1 + 7
    page.get_by_role("link", name="Size").click()
    assert page.get_by_role("columnheader", name="Size").get_attribute("aria-sort") == "ascending"
    page.get_by_role("link", name="films").click()
    with page.expect_download() as started:
        page.get_by_role("link", name="holiday.mp4", exact=True).click()
    assert started.value.suggested_filename == "holiday.mp4"
    assert started.value.path().stat().st_size == 1_234_567
    page.get_by_role("link", name="Parent directory").click()
    assert page.url == site.url + "/browse/"
    context.close()


def test_a_hostile_name_is_text_on_the_page_and_still_downloads(
    page: Page, complaints: list[str], site: Running
) -> None:
    page.goto(site.url)
    with page.expect_download() as started:
        page.get_by_role("link", name="<script>alert(1)<", exact=True).click()
    assert started.value.url.endswith(quote("<script>alert(1)<", safe=""))
    assert started.value.path().read_text() == "text"
    assert complaints == []


def test_the_page_follows_the_preferred_colours(page: Page, site: Running) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(site.url)
        colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2
