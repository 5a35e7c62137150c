"""Uploads on the page of a folder, in Chromium against the real server: the form, what is dropped, what breaks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Locator, Page, Route, expect

from fileserve.web.credentials import hash_password
from tests.system.cutting import Break, cutting
from tests.system.samples import MIB, digest, make_sample
from tests.system.test_chromium import DESKTOP, PHONE, browser, complaints, page  # noqa: F401  fixtures
from tests.tools import Running, serving, wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

LARGE = 300 * MIB + 4321
HOSTILE = "<script>alert(1)<"
LONG_MS = 30_000
HOLD_FRAMES = """() => {
    const [real, held] = [window.requestAnimationFrame, []];
    window.requestAnimationFrame = (paint) => held.push(paint);
    window.letOn = () => {
        window.requestAnimationFrame = real;
        held.forEach((paint) => paint());
    };
}"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    (folder / "films").mkdir(parents=True)
    (folder / "films" / "taken.txt").write_text("old")
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Where the person has the files that are uploaded."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def server(root: Path) -> Iterator[Running]:
    with serving(root, "--upload") as running:
        yield running


def visit(page: Page, url: str, path: str = "/browse/films/") -> Page:  # noqa: F811
    page.goto(url + path)
    expect(page.locator("#uploads-place")).to_be_visible()
    return page


def drop(page: Page, *paths: Path) -> None:  # noqa: F811
    """Drag what is at *paths* onto the page and let it go, as a file manager does."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        if kind == "drop":
            expect(page.locator("#uploads-over")).to_be_visible()
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    expect(page.locator("#uploads-over")).to_be_hidden()
    devtools.detach()


def choose(page: Page, *paths: Path) -> None:  # noqa: F811
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(list(paths))


def row(page: Page, name: str) -> Locator:  # noqa: F811
    return page.locator("#queue-list li", has=page.get_by_text(name, exact=True))


def press(page: Page, word: str, name: str) -> None:  # noqa: F811
    page.get_by_role("button", name=f"{word}: {name}", exact=True).click()


def tree(folder: Path) -> dict[str, str | None]:
    """Return all that lies below *folder*, by path: digests of files, ``None`` for folders."""
    return {
        str(path.relative_to(folder)): digest(path) if path.is_file() else None
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def submit(page: Page, *paths: Path, existing: str = "refuse") -> int:  # noqa: F811
    """Send the form, and return the status of the page that comes."""
    page.locator("#uploads-files").set_input_files(list(paths))
    page.locator("#uploads-existing").select_option(existing)
    with page.expect_navigation() as navigation:
        page.get_by_role("button", name="Upload", exact=True).click()
    return navigation.value.status


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:  # noqa: F811
    """A page of a browser without JavaScript."""
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    yield context.new_page()
    context.close()


def test_the_form_works_without_javascript(plain: Page, root: Path, outside: Path, server: Running) -> None:
    samples = [make_sample(outside / name, 3 * MIB) for name in ("taken.txt", 'ü "quoted" <b>.bin')]
    plain.goto(f"{server.url}/browse/films/")
    assert plain.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert submit(plain, *(sample.path for sample in samples)) == 409
    expect(plain.get_by_role("heading")).to_have_text("409 Conflict")
    expect(plain.get_by_text("The name taken.txt is taken.")).to_be_visible()
    plain.get_by_role("link", name="folder").click()
    assert submit(plain, *(sample.path for sample in samples), existing="rename") == 200
    assert plain.url == f"{server.url}/browse/films/"
    for name, sample in zip(("taken (2).txt", samples[1].name), samples, strict=True):
        expect(plain.get_by_role("link", name=name, exact=True)).to_be_visible()
        assert digest(root / "films" / name) == sample.digest
    assert (root / "films" / "taken.txt").read_text() == "old"


def test_a_page_without_uploads_takes_nothing(page: Page, root: Path, outside: Path) -> None:  # noqa: F811
    with serving(root) as server:
        page.goto(f"{server.url}/browse/films/")
        assert page.locator("form, button, input, script").count() == 0


def test_a_folder_with_awkward_names_arrives_as_it_is(
    page: Page,  # noqa: F811
    complaints: list[str],  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    folder = outside / "Ünïcode 🎬 'single' \"double\" %41 #?&"
    (folder / HOSTILE / "deeper").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in (f"{HOSTILE}.txt", "back\\slash", " space ", "new\nline", "שלום.mkv", "empty.bin", "x" * 240):
        make_sample(folder / HOSTILE / "deeper" / name, 0 if name == "empty.bin" else 1000)
    for number in range(20):
        make_sample(folder / f"photo-{number}.jpg", 2000 + number)
    (folder / ".DS_Store").write_text("hidden")
    visit(page, server.url)
    drop(page, folder)
    expect(page.locator("#queue-sum")).to_have_text("27 files stored · 45.1 KiB", timeout=LONG_MS)
    expect(page.locator("#queue-note")).to_have_text("1 hidden file left out.")
    assert wait_until(lambda: (root / "films" / folder.name / "empty").is_dir(), 10)
    assert tree(root / "films" / folder.name) == tree(folder)
    expect(page.locator("main > table").get_by_text(folder.name, exact=True)).to_be_visible()
    assert page.locator("main script, main b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []


def test_a_large_file_arrives_over_breaks_of_the_network_and_a_reload(
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    sample = make_sample(outside / "large.bin", LARGE)
    breaks = (Break(70 * MIB, refused=2), Break(150 * MIB, holds=True), Break(230 * MIB))
    page.on("dialog", lambda dialog: dialog.accept())
    with cutting(server.url, *breaks) as network:
        visit(page, network.url)
        drop(page, sample.path)
        expect(page.locator("#queue-list .told")).to_contain_text("The server cannot be reached. Trying again in")
        assert network.held.wait(30)
        page.reload()
        network.release()
        expect(row(page, sample.name)).to_contain_text("Not finished. Choose or drop the same file to go on.")
        assert int(page.get_by_role("progressbar").get_attribute("aria-valuenow") or 0) >= 20
        with page.expect_file_chooser() as chooser:
            press(page, "Choose the file", sample.name)
        chooser.value.set_files(sample.path)
        expect(page.locator("#queue-sum")).to_have_text("1 file stored · 300 MiB", timeout=LONG_MS)
        assert network.cuts == 2
        assert network.sent < LARGE + 100 * MIB, "what had arrived is not sent again"
    assert digest(root / "films" / sample.name) == sample.digest
    assert page.evaluate("localStorage.length") == 0
    expect(page.locator("main > table").get_by_role("link", name=sample.name, exact=True)).to_be_visible()


def test_another_file_does_not_go_on_with_what_was_begun(page: Page, outside: Path, server: Running) -> None:  # noqa: F811
    sample, other = make_sample(outside / "one.bin", 20 * MIB), make_sample(outside / "other.bin", 1000)
    with cutting(server.url, Break(5 * MIB, holds=True)) as network:
        visit(page, network.url)
        choose(page, sample.path)
        assert network.held.wait(30)
        page.on("dialog", lambda dialog: dialog.accept())
        page.reload()
        network.release()
        with page.expect_file_chooser() as chooser:
            press(page, "Choose the file", sample.name)
        chooser.value.set_files(other.path)
        expect(row(page, sample.name)).to_contain_text("That is another file")
        press(page, "Discard", sample.name)
        expect(page.locator("#queue")).to_be_hidden()
        assert page.evaluate("localStorage.length") == 0


def test_a_paused_upload_stands_still_and_goes_on(page: Page, root: Path, outside: Path, server: Running) -> None:  # noqa: F811
    sample = make_sample(outside / "film.mkv", 60 * MIB)
    with cutting(server.url, Break(40 * MIB, holds=True)) as network:
        visit(page, network.url)
        choose(page, sample.path)
        assert network.held.wait(30)
        page.get_by_role("button", name=f"Pause: {sample.name}").focus()
        page.keyboard.press("Enter")
        expect(row(page, sample.name)).to_contain_text("Paused")
        network.release()
        expect(page.get_by_role("button", name=f"Resume: {sample.name}")).to_be_focused()
        assert not (root / "films" / sample.name).exists()
        page.keyboard.press("Enter")
        expect(row(page, sample.name)).to_contain_text("stored", timeout=LONG_MS)
        expect(page.get_by_role("status")).to_contain_text(f"{sample.name} is stored.")
        assert network.sent < 80 * MIB, "what had arrived is not sent again"
    assert digest(root / "films" / sample.name) == sample.digest


def test_a_cancelled_upload_leaves_nothing(page: Page, root: Path, outside: Path, server: Running) -> None:  # noqa: F811
    sample = make_sample(outside / "film.mkv", 20 * MIB)
    with cutting(server.url, Break(5 * MIB, holds=True)) as network:
        visit(page, network.url)
        choose(page, sample.path)
        assert network.held.wait(30)
        press(page, "Cancel", sample.name)
        network.release()
        expect(page.locator("#queue")).to_be_hidden()
        assert wait_until(lambda: os.listdir(root / "films") == ["taken.txt"], 10)


@pytest.mark.parametrize(
    ("way", "there"),
    [
        ("Keep both", {"taken.txt": "old", "taken (2).txt": "new"}),
        ("Skip", {"taken.txt": "old"}),
        ("Replace", {"taken.txt": "new"}),
    ],
)
def test_of_a_name_that_is_taken_the_person_decides(
    way: str,
    there: dict[str, str],
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
) -> None:
    (outside / "taken.txt").write_text("new")
    with serving(root, "--upload", *(["--replace"] if way == "Replace" else [])) as server:
        visit(page, server.url)
        choose(page, outside / "taken.txt")
        expect(row(page, "taken.txt")).to_contain_text("The name is taken.")
        press(page, way, "taken.txt")
        if way == "Skip":
            expect(page.locator("#queue")).to_be_hidden()
        else:
            expect(page.locator("#queue-sum")).to_have_text("1 file stored · 3 B")
    assert {path.name: path.read_text() for path in (root / "films").iterdir()} == there


def hold(page: Page, method: str, begin: Callable[[], object]) -> Route:  # noqa: F811
    """Return the first request of *method* to an upload that comes of *begin*; it waits until it is let on."""
    held: list[Route] = []

    def take(route: Route) -> None:
        if held or route.request.method != method:
            route.fallback()
        else:
            held.append(route)

    page.route("**/uploads/*", take)
    begin()
    for _ in range(LONG_MS // 20):
        if held:
            return held[0]
        page.wait_for_timeout(20)  # lets events in; there is nothing else to await them by
    raise AssertionError(f"there was no {method}")


def let_on(page: Page, route: Route) -> None:  # noqa: F811
    """Let a held request on, and wait for its answer."""
    with page.expect_response(lambda response: response.request == route.request):
        route.continue_()


def give_up(page: Page, root: Path, outside: Path, server: Running) -> Route:  # noqa: F811
    """Have the name beside ``taken.txt`` taken as well; return the request that has the server forget the upload."""
    (outside / "taken.txt").write_text("new")
    visit(page, server.url)
    choose(page, outside / "taken.txt")
    keep = page.get_by_role("button", name="Keep both: taken.txt", exact=True)
    last = hold(page, "PATCH", keep.click)
    (root / "films" / "taken (2).txt").write_text("old")
    return hold(page, "DELETE", last.continue_)


def store_last(page: Page, outside: Path) -> None:  # noqa: F811
    """Have one more file stored: what was begun before has been asked for by now."""
    (outside / "last.txt").write_text("last")
    choose(page, outside / "last.txt")
    expect(row(page, "last.txt")).to_contain_text("stored")


@pytest.mark.parametrize("word", ["Pause", "Cancel"])
def test_what_is_stopped_while_it_is_given_up_is_not_begun_again(
    word: str,
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    end = give_up(page, root, outside, server)
    press(page, word, "taken (2).txt")
    let_on(page, end)
    store_last(page, outside)
    there = {path.name: path.read_text() for path in (root / "films").iterdir()}
    assert there == {"taken.txt": "old", "taken (2).txt": "old", "last.txt": "last"}
    if word == "Pause":
        press(page, "Resume", "taken (2).txt")
        expect(row(page, "taken (3).txt")).to_contain_text("stored")


def test_what_is_paused_and_resumed_while_it_is_given_up_is_sent_once(
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    end = give_up(page, root, outside, server)
    press(page, "Pause", "taken (2).txt")
    press(page, "Resume", "taken (2).txt")
    expect(row(page, "taken (3).txt")).to_contain_text("stored")
    let_on(page, end)
    store_last(page, outside)
    assert sorted(path.name for path in (root / "films").iterdir()) == [
        "last.txt",
        "taken (2).txt",
        "taken (3).txt",
        "taken.txt",
    ]


def test_who_presses_twice_keeps_two_and_not_three(page: Page, root: Path, outside: Path, server: Running) -> None:  # noqa: F811
    (outside / "new.txt").write_text("new")
    visit(page, server.url)
    last = hold(page, "PATCH", lambda: choose(page, outside / "new.txt"))
    (root / "films" / "new.txt").write_text("old")
    last.continue_()
    keep = page.get_by_role("button", name="Keep both: new.txt", exact=True)
    end = hold(page, "DELETE", keep.click)
    keep.click()
    expect(row(page, "new (2).txt")).to_contain_text("stored")
    let_on(page, end)
    store_last(page, outside)
    assert sorted(path.name for path in (root / "films").iterdir()) == [
        "last.txt",
        "new (2).txt",
        "new.txt",
        "taken.txt",
    ]


def test_of_many_names_that_are_taken_the_person_decides_once(
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    names = [f"photo-{number}.jpg" for number in range(6)]
    for name in names:
        (root / "films" / name).write_text("old")
        (outside / name).write_text("new")
    visit(page, server.url)
    choose(page, *(outside / name for name in names))
    expect(page.locator("#queue-all")).to_contain_text("6 names are taken.")
    page.get_by_role("button", name="Keep all").click()
    expect(page.locator("#queue-sum")).to_contain_text("6 files stored")
    assert sorted(path.name for path in (root / "films").iterdir() if path.read_text() == "new") == [
        f"photo-{number} (2).jpg" for number in range(6)
    ]


def take_names(root: Path, outside: Path, *names: str) -> list[Path]:
    """Return files that are to be uploaded, whose names are taken in the folder of the page."""
    for name in names:
        (root / "films" / name).write_text("old")
        (outside / name).write_text("new")
    return [outside / name for name in names]


def test_as_many_names_that_are_taken_later_are_decided_as_well(
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    first, second, third, fourth = take_names(root, outside, "a.txt", "b.txt", "c.txt", "d.txt")
    visit(page, server.url)
    for pair in ((first, second), (third, fourth)):
        choose(page, *pair)
        expect(page.locator("#queue-all")).to_contain_text("2 names are taken.")
        page.get_by_role("button", name="Skip all").click()
        expect(page.locator("#queue")).to_be_hidden()


def test_those_are_skipped_whose_names_are_taken_when_the_person_decides(
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
    server: Running,
) -> None:
    first, second, third = take_names(root, outside, "a.txt", "b.txt", "c.txt")
    visit(page, server.url)
    choose(page, first, second)
    expect(page.locator("#queue-all")).to_contain_text("2 names are taken.")
    expect(page.get_by_role("status")).to_contain_text("b.txt: The name is taken.")
    page.evaluate(HOLD_FRAMES)
    choose(page, third)
    expect(page.get_by_role("status")).to_contain_text("c.txt: The name is taken.")
    keep = page.get_by_role("button", name="Keep both: a.txt", exact=True)
    sent = hold(page, "PATCH", keep.click)
    page.evaluate("() => letOn()")
    expect(row(page, "c.txt")).to_contain_text("The name is taken.")
    page.get_by_role("button", name="Skip all").click()
    expect(page.locator("#queue-list li")).to_have_count(1)
    expect(row(page, "a (2).txt")).to_be_visible()
    let_on(page, sent)
    expect(row(page, "a (2).txt")).to_contain_text("stored")
    assert sorted(path.name for path in (root / "films").iterdir() if path.read_text() == "new") == ["a (2).txt"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--upload-bytes", "1MiB"], "The file is too large. A file has 1 MiB at the most."),
        (["--keep-free", "1000TiB"], "disk is full. Make room on it, then try again."),
    ],
)
def test_a_refusal_says_why_and_what_to_do(
    options: list[str],
    sentence: str,
    page: Page,  # noqa: F811
    root: Path,
    outside: Path,
) -> None:
    sample = make_sample(outside / "film.mkv", 2 * MIB)
    with serving(root, "--upload", *options) as server:
        visit(page, server.url)
        choose(page, sample.path)
        expect(row(page, sample.name)).to_contain_text(sentence)
        expect(page.get_by_role("status")).to_contain_text(sentence)
        press(page, "Skip", sample.name)
        expect(page.locator("#queue")).to_be_hidden()
    assert os.listdir(root / "films") == ["taken.txt"]


def known(browser: Browser, **options: Any) -> BrowserContext:  # noqa: F811
    """Return a context in which a person answers the browser's question for name and password."""
    return browser.new_context(http_credentials={"username": "anna", "password": "secret"}, **options)


@pytest.fixture
def guarded(root: Path) -> Iterator[Running]:
    with serving(root, "--upload", "--auth", f"anna:{hash_password('secret')}") as running:
        yield running


def test_who_signs_in_uploads_by_what_is_dropped(
    browser: Browser,  # noqa: F811
    root: Path,
    outside: Path,
    guarded: Running,
) -> None:
    (outside / "new" / "deep").mkdir(parents=True)
    sample = make_sample(outside / "new" / "deep" / "film.mkv", 3 * MIB)
    context = known(browser)
    page = context.new_page()  # noqa: F811
    page.goto(f"{guarded.url}/browse/films/")
    assert page.locator("form, script").count() == 0
    page.get_by_role("link", name="Sign in to upload").click()
    assert page.url == f"{guarded.url}/browse/films/"
    expect(page.locator("#uploads-place")).to_be_visible()
    drop(page, outside / "new")
    expect(page.locator("#queue-sum")).to_have_text("1 file stored · 3 MiB")
    assert digest(root / "films" / "new" / "deep" / sample.name) == sample.digest
    context.close()


def test_who_signs_in_uploads_by_the_form(browser: Browser, root: Path, outside: Path, guarded: Running) -> None:  # noqa: F811
    sample = make_sample(outside / "film.mkv", 20 * MIB)
    context = known(browser, java_script_enabled=False)
    page = context.new_page()  # noqa: F811
    page.goto(f"{guarded.url}/browse/films/")
    page.get_by_role("link", name="Sign in to upload").click()
    assert submit(page, sample.path) == 200
    assert digest(root / "films" / sample.name) == sample.digest
    context.close()


@pytest.mark.parametrize("size", [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")])
def test_the_page_never_scrolls_sideways_and_its_list_is_bounded(
    size: Any,
    page: Page,  # noqa: F811
    complaints: list[str],  # noqa: F811
    root: Path,
    server: Running,
) -> None:
    page.set_viewport_size(size)
    visit(page, server.url)
    many: list[FilePayload] = [
        {"name": f"{'long' * 50} {number}.txt", "mimeType": "text/plain", "buffer": b"text"} for number in range(130)
    ]
    page.locator("#uploads-chosen").set_input_files(many)
    expect(page.locator("#queue-more")).to_contain_text("other files that this list leaves out.")
    assert page.locator("#queue-list li").count() <= 120
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#queue-sum")).to_have_text("130 files stored · 520 B", timeout=LONG_MS)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#queue")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose files")).to_be_focused()
    assert len(list((root / "films").iterdir())) == 131
    assert complaints == []
