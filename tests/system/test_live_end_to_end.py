"""The page /live in Chromium, against the real server: what happens shows, and a restart loses and doubles nothing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from tests.system.nginx import nginx
from tests.system.samples import append, make_sample
from tests.system.test_chromium import browser, complaints, page  # noqa: F401  fixtures
from tests.tools import Running, running, tool

pytestmark = [pytest.mark.system, pytest.mark.alone]

TOKEN = "a-token-of-the-operator"
TIMEOUT_MS = 30_000
LENGTH = 64 * 2**20  # more than what sockets hold on the way to a client that takes its time


@contextmanager
def serving(root: Path, port: int = 0, *options: str) -> Iterator[Running]:
    command = (sys.executable, "-m", "fileserve", "serve", str(root), "--port", str(port), *options)
    with running(*command, FILESERVE_OPERATOR_TOKEN=TOKEN, XDG_CACHE_HOME=str(root.parent / "cache")) as server:
        yield server


def make_root(folder: Path) -> Path:
    directory = folder / "served"
    (directory / "films").mkdir(parents=True)
    with (directory / "films" / "harbour.mkv").open("wb") as file:
        file.truncate(LENGTH)
    (directory / "app.log").write_text("before\n")
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of files that no test changes."""
    with serving(make_root(tmp_path_factory.mktemp("still"))) as server:
        yield server


def visit(page: Page, url: str, query: str = "") -> None:  # noqa: F811
    """Open the page as the link that is printed does."""
    page.goto(f"{url}/live?token={TOKEN}")
    page.wait_for_url("**/live")
    page.goto(f"{url}/live{query}")
    expect(page.locator("#state-text")).to_have_text("Connected", timeout=TIMEOUT_MS)


@contextmanager
def mailbox(folder: Path, link: str) -> Iterator[str]:
    """Serve a page with *link* in it, as of another site: under another name. Yield its URL."""
    folder.mkdir()
    (folder / "mail.html").write_text(f'<!doctype html><a href="{link}">watch</a>')
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_address[1]}/mail.html"
        finally:
            server.shutdown()


@pytest.mark.parametrize("prefix", ["", "/files"])
def test_the_link_lets_in_who_clicks_on_it_in_a_page_of_another_site(
    prefix: str,
    root: Path,
    page: Page,  # noqa: F811
) -> None:
    """A browser sends no SameSite=Strict cookie where another site's link leads by a redirect."""
    with serving(root, 0, "--root-path", prefix) as server:
        link = f"{server.url}/live?token={TOKEN}"
        with mailbox(root.parent / "mail", link) as mail:
            page.goto(mail)
            page.get_by_role("link", name="watch").click()
            expect(page.locator("#state-text")).to_have_text("Connected", timeout=TIMEOUT_MS)
    assert page.url == f"{server.url}/live"


@pytest.fixture
def served(root: Path, page: Page, complaints: list[str]) -> Iterator[Running]:  # noqa: F811
    """The server, and the page open on it; nothing of it is refused or fails."""
    with serving(root) as server:
        visit(page, server.url)
        yield server
        assert complaints == []


def test_a_download_shows_up_moves_and_ends_and_is_logged(served: Running, page: Page) -> None:  # noqa: F811
    url = f"{served.url}/download/films/harbour.mkv"
    curl = subprocess.Popen([tool("curl"), "-sS", "--limit-rate", "16M", "-o", "/dev/null", url])
    try:
        row = page.locator("#under-way").get_by_role("row", name="films/harbour.mkv")
        expect(row).to_contain_text("127.0.0.1 · 1 connection", timeout=TIMEOUT_MS)
        page.wait_for_function(
            """() => {
                const bar = document.querySelector("#under-way [role=progressbar]");
                window.seen ??= new Set();
                if (bar) window.seen.add(bar.getAttribute("aria-valuenow"));
                return window.seen.size >= 3;
            }""",
            timeout=TIMEOUT_MS,
        )
        assert curl.wait(30) == 0
    finally:
        curl.kill()
        curl.wait()
    ended = page.locator("#ended").get_by_role("row", name="films/harbour.mkv")
    expect(ended).to_contain_text("complete", timeout=TIMEOUT_MS)
    expect(ended).to_contain_text("100 %")
    expect(page.locator("#under-way tr")).to_have_count(0)
    expect(page.locator("#log-lines p", has_text="films/harbour.mkv")).to_have_count(1)


def test_a_file_is_followed(served: Running, root: Path, page: Page) -> None:  # noqa: F811
    page.get_by_label("Path of the file to follow").fill("app.log")
    page.keyboard.press("Enter")
    expect(page.locator("#tail-empty")).to_contain_text("Following app.log.")
    lines = page.locator("#tail-lines p")
    append(root / "app.log", "one", "<b>two</b>")
    expect(lines.last).to_have_text("<b>two</b>", timeout=TIMEOUT_MS)
    (root / "app.log").write_text("anew\n")
    expect(page.locator("#tail-lines .notice")).to_have_text("The file was cut short. Lines may be missing here.")
    expect(lines.last).to_have_text("anew")


@pytest.mark.parametrize(
    ("panel", "label"), [("tail", "Path of the file to follow"), ("checksum", "Path of the file to hash")]
)
@pytest.mark.parametrize("path", ["absent.log", "films", "../outside", "a%zz"])
def test_a_path_that_is_no_file_is_told_in_its_panel(
    path: str,
    panel: str,
    label: str,
    still: Running,
    page: Page,  # noqa: F811
) -> None:
    visit(page, still.url)
    page.get_by_label(label).fill(path)
    page.keyboard.press("Enter")
    expect(page.locator(f"#{panel}-stop")).to_be_hidden(timeout=TIMEOUT_MS)
    expect(page.locator("#state-text")).to_have_text("Connected")


def test_a_checksum_ends_with_the_digest_and_is_known_then(served: Running, root: Path, page: Page) -> None:  # noqa: F811
    sample = make_sample(root / "a #?&% name.bin", 40_000_000)
    for told in ("read in", "Known already"):
        page.get_by_label("Path of the file to hash").fill(sample.path.name)
        page.get_by_role("button", name="Compute").click()
        expect(page.locator("#digest-text")).to_have_text(sample.digest, timeout=TIMEOUT_MS)
        expect(page.locator("#checksum-told")).to_contain_text(told)
    expect(page.locator("#checksum-bar")).to_have_attribute("aria-valuenow", "100")


def test_the_built_in_answer_is_typed(served: Running, page: Page) -> None:  # noqa: F811
    page.get_by_label("Question").fill("Where is the harbour?")
    page.keyboard.press("Enter")
    expect(page.locator("#chat .command").first).to_contain_text("curl -fOJ", timeout=TIMEOUT_MS)
    expect(page.locator("#chat-ask")).to_be_visible()
    expect(page.locator("#chat .text").first).to_contain_text("films/harbour.mkv: 64 MiB")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_over_a_restart_nothing_is_missed_or_doubled(workers: str, root: Path, page: Page) -> None:  # noqa: F811
    options = ("--workers", workers)
    with serving(root, 0, *options) as server:
        port = int(server.url.rpartition(":")[2])
        visit(page, server.url, "?file=app.log")
        append(root / "app.log", "live 1")
        expect(page.locator("#tail-lines p").last).to_have_text("live 1", timeout=TIMEOUT_MS)
        fetch(server)
        expect(page.locator("#ended tr")).to_have_count(1, timeout=TIMEOUT_MS)
        logged = page.locator("#log-lines p").count()
    append(root / "app.log", "down")
    expect(page.locator("#state-text")).to_contain_text("Disconnected since")
    with serving(root, port, *options) as server:
        expect(page.locator("#state-text")).to_contain_text("Connected again", timeout=TIMEOUT_MS)
        append(root / "app.log", "live 2")
        expect(page.locator("#tail-lines p").last).to_have_text("live 2", timeout=TIMEOUT_MS)
        assert page.locator("#tail-lines p").all_inner_texts()[-3:] == ["live 1", "down", "live 2"]
        expect(page.locator("#ended tr")).to_have_count(1)
        fetch(server)
        expect(page.locator("#ended tr")).to_have_count(2, timeout=TIMEOUT_MS)
        expect(page.locator("#log-lines p", has_text="films/harbour.mkv")).to_have_count(2)
        assert page.locator("#log-lines p").count() > logged


def fetch(server: Running) -> None:
    command = [tool("curl"), "-sS", "-f", "-o", "/dev/null", f"{server.url}/download/films/harbour.mkv"]
    subprocess.run(command, check=True, timeout=30)


def test_somebody_without_the_token_is_told_which_link_to_open(still: Running, page: Page) -> None:  # noqa: F811
    answer = page.goto(f"{still.url}/live")
    assert answer is not None
    assert answer.status == 401


def test_after_a_restart_with_another_token_the_page_asks_for_the_new_link(root: Path, page: Page) -> None:  # noqa: F811
    with serving(root) as server:
        port = int(server.url.rpartition(":")[2])
        visit(page, server.url)
        page.context.add_cookies([{"name": "fileserve_operator", "value": "x" * 20, "url": server.url}])
    with serving(root, port) as server:
        expect(page.locator("#notice")).to_contain_text("needs the link", timeout=TIMEOUT_MS)
        other = page.context.new_page()
        other.goto(f"{server.url}/live?token={TOKEN}")
        page.get_by_role("button", name="Try now").click()
        expect(page.locator("#state-text")).to_contain_text("Connected again", timeout=TIMEOUT_MS)


@pytest.mark.parametrize("prefix", ["", "/files"])
def test_behind_nginx_that_answers_502_meanwhile_the_page_comes_back(
    prefix: str,
    root: Path,
    page: Page,  # noqa: F811
) -> None:
    """Also beneath a root path. An EventSource alone gives up after the 502."""
    with serving(root, 0, "--root-path", prefix) as server:
        upstream = server.url.removesuffix(prefix)
    with nginx("fileserve.conf", upstream) as proxy:
        port = int(upstream.rpartition(":")[2])
        with serving(root, port, "--root-path", prefix):
            visit(page, proxy.url + prefix, "?file=app.log")
            append(root / "app.log", "live")
            expect(page.locator("#tail-lines p").last).to_have_text("live", timeout=TIMEOUT_MS)
        append(root / "app.log", "down")
        expect(page.locator("#notice")).to_contain_text("The server answers 502.", timeout=TIMEOUT_MS)
        with serving(root, port, "--root-path", prefix):
            expect(page.locator("#state-text")).to_contain_text("Connected again", timeout=TIMEOUT_MS)
            expect(page.locator("#tail-lines p").last).to_have_text("down", timeout=TIMEOUT_MS)
            assert page.locator("#tail-lines p").all_inner_texts()[-2:] == ["live", "down"]


def test_a_computation_goes_on_while_a_file_is_chosen_to_be_followed(served: Running, root: Path, page: Page) -> None:  # noqa: F811
    """The page connects anew for it, before it leaves: the last one to leave would stop the computation."""
    with (root / "large.bin").open("wb") as file:
        file.truncate(2 * 2**30)
    page.evaluate(
        """() => {
            const bar = document.querySelector("#checksum-bar");
            window.seen = [];
            const note = () => seen.push(Number(bar.getAttribute("aria-valuenow")));
            new MutationObserver(note).observe(bar, { attributeFilter: ["aria-valuenow"] });
        }"""
    )
    page.get_by_label("Path of the file to hash").fill("large.bin")
    page.keyboard.press("Enter")
    expect(page.locator(".tenth.passed").nth(1)).to_be_visible(timeout=TIMEOUT_MS)
    page.get_by_label("Path of the file to follow").fill("app.log")
    page.keyboard.press("Enter")
    expect(page.locator("#tail-lines p")).to_have_text(["before"], timeout=TIMEOUT_MS)
    expect(page.locator(".tenth.passed").nth(4)).to_be_visible(timeout=TIMEOUT_MS)
    seen = page.evaluate("() => seen")
    assert seen == sorted(seen)
    page.locator("#checksum-stop").click()
    expect(page.locator("#checksum-told")).to_have_text("Stopped.")
