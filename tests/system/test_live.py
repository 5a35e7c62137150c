"""The page /live in Chromium, against streams that the test tells: what a real server cannot be made to say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.live_server import STALL, Stage, event, record, staging, transfer
from tests.system.test_chromium import browser, complaints, page  # noqa: F401  fixtures
from tests.tools import wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

TOKEN = "a-token-of-the-operator"
TIMEOUT_S = 20
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
RTL = "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED}\N{HEBREW LETTER VAV}\N{HEBREW LETTER FINAL MEM}.mkv"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "app.log").write_text("")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "deep.log").write_text("")
    with staging(tmp_path, operator_token=TOKEN) as staged:
        yield staged


@pytest.fixture
def live(page: Page, stage: Stage) -> Page:  # noqa: F811
    """The page, connected."""
    return visit(page, stage)


def visit(page: Page, stage: Stage, query: str = "") -> Page:  # noqa: F811
    page.context.add_cookies([{"name": "fileserve_operator", "value": TOKEN, "url": stage.url}])
    page.goto(f"{stage.url}/live{query}")
    expect(page.locator("#state-text")).to_have_text("Connected")
    return page


def told(data: Any, name: str, id: str = "transfers=b-1&logs=b-1") -> bytes:
    return event(data, name, id)


def snapshot(*transfers: dict[str, Any]) -> bytes:
    return told({"transfers": list(transfers)}, "transfers:snapshot")


#: What is read out has been gathered for four seconds: here they pass in tenths.
HASTEN = "setTimeout = (timer => (run, ms) => timer(run, ms / 10))(setTimeout)"


def test_a_transfer_shows_up_moves_and_ends(live: Page, stage: Stage) -> None:
    live.evaluate(HASTEN)
    expect(live.locator("#transfers-empty")).to_be_visible()
    stage.tell(told(transfer("a", covered=2**28, connections=4), "transfers:started"))
    row = live.get_by_role("row", name="films/a.mkv")
    expect(row.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "25")
    for text in ("192.0.2.17 · 4 connections", "25 %", "50.0 MiB/s", "10 s", "256 MiB of 1 GiB"):
        expect(row).to_contain_text(text)
    expect(live.locator("#transfers-empty")).to_be_hidden()
    stage.tell(told(transfer("a", covered=2**29), "transfers:progress"))
    expect(row).to_contain_text("50 %")
    stage.tell(told(transfer("a", covered=2**30, outcome="complete", connections=0), "transfers:finished"))
    expect(live.locator("#ended").get_by_role("row", name="films/a.mkv")).to_contain_text("complete")
    assert live.locator("#under-way tr").count() == 0
    expect(live.get_by_role("status")).to_have_text("films/a.mkv: complete.")


@pytest.mark.parametrize("outcome", ["aborted", "stalled", "failed", "expired", "unknown"])
def test_an_end_that_is_none_says_how_far_it_came(outcome: str, live: Page, stage: Stage) -> None:
    stage.tell(told(transfer("a", covered=2**28, outcome=outcome), "transfers:finished"))
    row = live.locator("#ended tr")
    for text in (outcome, "25 %", "256 MiB of 1 GiB", "in 10 s"):
        expect(row).to_contain_text(text)


def test_of_what_nginx_sends_no_progress_is_claimed(live: Page, stage: Stage) -> None:
    stage.tell(told(transfer("a", covered=0, connections=2, offloaded=2, rate=0.0, left_s=None), "transfers:started"))
    row = live.locator("#under-way tr")
    expect(row).to_contain_text("2 connections")
    expect(row).to_contain_text("sent by nginx")
    expect(row).not_to_contain_text("B/s")


def test_a_snapshot_replaces_what_was_under_way_and_doubles_nothing(live: Page, stage: Stage) -> None:
    stage.tell(snapshot(transfer("a"), transfer("b"), transfer("gone")))
    expect(live.locator("#under-way tr")).to_have_count(3)
    finished = told(transfer("a", outcome="aborted"), "transfers:finished")
    stage.tell(finished, finished, snapshot(transfer("b"), transfer("c")))
    expect(live.locator("#under-way tr .file")).to_have_text(["c.mkv", "b.mkv"])
    assert live.locator("#ended tr .file").all_inner_texts() == ["a.mkv"]


def test_the_lists_are_bounded(live: Page, stage: Stage) -> None:
    ended = [told(transfer(f"e{number}", outcome="complete"), "transfers:finished") for number in range(60)]
    stage.tell(snapshot(*(transfer(f"t{number}") for number in range(230))), *ended)
    stage.tell(*(told(record(f"record {number}"), "logs") for number in range(800)))
    expect(live.locator("#log-lines p")).to_have_count(800)
    stage.tell(*(told(record(f"record {number}"), "logs") for number in range(800, 1500)))
    expect(live.locator("#under-way tr")).to_have_count(200)
    expect(live.locator("#transfers-more")).to_contain_text("30 older transfers")
    expect(live.locator("#ended tr")).to_have_count(20)
    expect(live.locator("#log-lines p")).to_have_count(1000)
    expect(live.locator("#log-lines p").last).to_contain_text("record 1499")


@pytest.mark.parametrize("name", [HOSTILE, RTL, "film \N{CLAPPER BOARD}.mkv", "new\nline\x1b[31m", "x" * 255])
def test_names_and_messages_are_text_and_nothing_else(
    name: str,
    page: Page,  # noqa: F811
    complaints: list[str],  # noqa: F811
    stage: Stage,
) -> None:
    live = visit(page, stage)
    live.set_viewport_size({"width": 320, "height": 640})
    stage.tell(snapshot(transfer("a", path=name)), told(record(name, "WARNING", logger=name), "logs"))
    expect(live.locator("#under-way tr")).to_have_count(1)
    expect(live.locator("#log-lines p")).to_have_count(1)
    shown = name.replace("\n", "\u240a").replace("\x1b", "\u241b")
    assert live.locator("#under-way bdi").text_content() == shown
    assert live.locator("#log-lines .text").text_content() == shown
    assert live.locator("main script, main img").count() == 0
    assert live.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []


def test_the_log_shows_what_is_at_the_level_or_above(live: Page, stage: Stage) -> None:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    stage.tell(*(told(record(f"a {level}", level), "logs") for level in levels))
    expect(live.locator("#log-lines p:visible")).to_have_count(4)
    live.get_by_label("Level").select_option("warnings")
    expect(live.locator("#log-lines p:visible .level")).to_have_text(["WARNING", "ERROR", "CRITICAL"])
    live.get_by_label("Level").select_option("all")
    expect(live.locator("#log-lines p:visible")).to_have_count(5)


def test_the_log_follows_unless_somebody_has_scrolled_up(live: Page, stage: Stage) -> None:
    at_end = "view => view.scrollHeight - view.scrollTop - view.clientHeight < 2"
    lines, jump = live.locator("#log-lines"), live.locator("#log-jump")
    stage.tell(*(told(record(f"record {number}"), "logs") for number in range(100)))
    expect(lines.locator("p")).to_have_count(100)
    assert lines.evaluate(at_end)
    lines.focus()
    live.keyboard.press("Home")
    expect(jump).to_be_visible()
    live.wait_for_function("() => document.querySelector('#log-lines').scrollTop === 0")  # the browser takes a moment
    stage.tell(*(told(record(f"more {number}"), "logs") for number in range(3)))
    expect(jump).to_have_text("↓ 3 new lines")
    assert lines.evaluate("view => view.scrollTop") == 0
    jump.click()
    expect(jump).to_be_hidden()
    assert lines.evaluate(at_end)


def test_a_file_is_followed_and_losses_are_told_in_words(live: Page, stage: Stage) -> None:
    live.get_by_label("Path of the file to follow").fill("app.log")
    live.keyboard.press("Enter")
    expect(live.locator("#tail-empty")).to_contain_text("Following app.log.")
    assert wait_until(lambda: stage.asked[-1]["topic"] == ["transfers", "logs", "tail:app.log"], TIMEOUT_S)
    stage.tell(
        event("one", "tail:app.log"),
        event("half a", "tail:app.log:part"),
        event(" line", "tail:app.log"),
        event({"reason": "truncated"}, "tail:app.log:lost"),
        event("two", "tail:app.log"),
    )
    lines = live.locator("#tail-lines p")
    expect(lines).to_have_text(["one", "half a", " line", "The file was cut short. Lines may be missing here.", "two"])
    assert live.url.endswith("/live?file=app.log")
    stage.tell(event({}, "tail:app.log:reset"), event("anew", "tail:app.log"))
    expect(lines).to_have_text(["The place in the file was not found again; its lines begin anew here.", "anew"])
    live.locator("#tail-stop").click()
    assert wait_until(lambda: stage.asked[-1]["topic"] == ["transfers", "logs"], TIMEOUT_S)
    assert live.url.endswith("/live")


@pytest.mark.parametrize("stops", [pytest.param(True, id="stopped"), pytest.param(False, id="at_once")])
def test_a_file_that_is_followed_again_begins_anew_while_the_others_go_on(
    stops: bool, live: Page, stage: Stage
) -> None:
    path = live.get_by_label("Path of the file to follow")
    path.fill("logs/a b.log")
    live.keyboard.press("Enter")
    topic = "tail:logs/a%20b.log"
    assert wait_until(lambda: topic in stage.asked[-1]["topic"], TIMEOUT_S)
    assert stage.asked[-1]["from"] == ["-100"]
    others = "transfers=b-3&logs=b-4"
    stage.tell(event("one", topic, f"{others}&tail%3Alogs%2Fa%2520b.log=place"))
    expect(live.locator("#tail-lines p")).to_have_count(1)
    stage.break_off()
    assert wait_until(lambda: "tail" in stage.asked[-1].get("last_event_id", [""])[0], TIMEOUT_S)
    if stops:
        live.locator("#tail-stop").click()
    path.press("Enter")
    assert wait_until(
        lambda: stage.asked[-1].get("last_event_id") == [others] and topic in stage.asked[-1]["topic"], TIMEOUT_S
    )


def test_paths_are_suggested_folder_by_folder(live: Page) -> None:
    live.get_by_label("Path of the file to follow").focus()
    options = "options => options.map(option => option.value)"
    expect(live.locator("#tail-paths option")).to_have_count(2)
    assert live.locator("#tail-paths option").evaluate_all(options) == ["logs/", "app.log"]
    live.get_by_label("Path of the file to follow").fill("logs/d")
    expect(live.locator("#tail-paths option")).to_have_count(1)
    assert live.locator("#tail-paths option").evaluate_all(options) == ["logs/deep.log"]


def test_a_checksum_shows_checkpoints_and_the_digest(live: Page, stage: Stage) -> None:
    live.get_by_label("Path of the file to hash").fill("app.log")
    live.get_by_role("button", name="Compute").click()
    assert wait_until(lambda: "checksum:app.log" in stage.asked[-1]["topic"], TIMEOUT_S)
    stage.tell(
        event({"step": 100, "progress": 10.0, "time": 0.5}, "checksum:app.log:checkpoint"),
        event({"step": 150, "progress": 15.0, "time": 0.75}, "checksum:app.log"),
    )
    bar = live.get_by_role("progressbar", name="Progress of the checksum")
    expect(bar).to_have_attribute("aria-valuenow", "15")
    expect(live.locator("#checksum")).to_contain_text("150 B read in 0.8 s")
    assert live.locator(".tenth.passed .time").all_inner_texts() == ["0.5 s"]
    stage.tell(event({"sha256": "ab" * 32, "name": "app.log"}, "checksum:app.log:done"))
    expect(live.locator("#digest-text")).to_have_text("ab" * 32)
    stage.break_off()
    assert wait_until(lambda: stage.asked[-1]["topic"] == ["transfers", "logs"], TIMEOUT_S)


def test_an_error_of_one_topic_is_told_in_its_panel_and_the_others_go_on(live: Page, stage: Stage) -> None:
    for panel, label in (("tail", "Path of the file to follow"), ("checksum", "Path of the file to hash")):
        live.get_by_label(label).fill("gone")
        live.keyboard.press("Enter")
        assert wait_until(lambda panel=panel: f"{panel}:gone" in stage.asked[-1]["topic"], TIMEOUT_S)  # type: ignore[misc]
        stage.tell(event({"detail": "There is no such file."}, f"{panel}:gone:error"))
        expect(live.locator(f"#{panel}")).to_contain_text("There is no such file.")
    stage.tell(told(record("still here"), "logs"))
    expect(live.locator("#log-lines")).to_contain_text("still here")
    assert live.locator("#state-text").inner_text() == "Connected"


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        pytest.param([503, 503], "The server answers 503.", id="busy"),
        pytest.param([401, 401], "This page needs the link that “fileserve serve” printed", id="token"),
    ],
)
def test_the_page_says_that_it_is_disconnected_and_why_and_comes_back(
    statuses: list[int], sentence: str, live: Page, stage: Stage
) -> None:
    stage.tell(told(record("before"), "logs", "transfers=b-7&logs=b-9"))
    expect(live.locator("#log-lines p")).to_have_count(1)
    stage.break_off(*statuses)  # one for the EventSource, one for the question why
    expect(live.locator("#state-text")).to_contain_text("Disconnected since ")
    expect(live.locator("#notice")).to_contain_text(sentence)
    expect(live.locator("#notice")).to_contain_text("Trying again in ")
    live.get_by_role("button", name="Try now").click()
    expect(live.locator("#state-text")).to_contain_text("Connected again since ")
    expect(live.locator("#notice")).to_be_hidden()
    assert stage.asked[-1]["last_event_id"] == ["transfers=b-7&logs=b-9"]


def test_the_page_comes_back_by_itself_and_waits_longer_each_time(live: Page, stage: Stage) -> None:
    note = "setTimeout = (timer => (run, ms) => { waits.push(ms); return timer(run, ms); })(setTimeout)"
    live.evaluate(f"{HASTEN}; window.waits = []; {note}")
    stage.break_off(*[503] * 4)
    expect(live.locator("#state-text")).to_contain_text("Connected again", timeout=TIMEOUT_S * 1000)
    found = [ms for ms in live.evaluate("waits") if ms and ms > 700 and ms != round(ms)]  # no other has a random part
    assert len(found) >= 2
    for wait, middle in zip(found, (1000, 2000, 4000), strict=False):
        assert 0.75 * middle <= wait <= 1.25 * middle


def test_a_reset_forgets_what_was_told(live: Page, stage: Stage) -> None:
    stage.tell(told(record("old"), "logs"), snapshot(transfer("old")))
    expect(live.locator("#under-way tr")).to_have_count(1)
    stage.tell(
        told({}, "logs:reset"), told(record("new"), "logs"), told({}, "transfers:reset"), snapshot(transfer("new"))
    )
    expect(live.locator("#log-lines p")).to_have_text(
        ["The server's log begins anew here.", re.compile("INFO web new$")]
    )
    expect(live.locator("#under-way .file")).to_have_text(["new.mkv"])


def test_what_comes_while_nothing_is_drawn_is_bounded_and_drawn_at_the_next_frame(
    page: Page,  # noqa: F811
    stage: Stage,
) -> None:
    """As in a hidden tab, which gets no frames."""
    page.add_init_script(
        """(() => {
            const frame = window.requestAnimationFrame.bind(window);
            const waiting = [];
            let isHidden = false;
            window.requestAnimationFrame = run => isHidden ? waiting.push(run) : frame(run);
            window.hide = () => { isHidden = true; };
            window.look = () => { isHidden = false; return waiting.splice(0).map(frame).length; };
        })()"""
    )
    live = visit(page, stage, "?checksum=app.log")
    live.evaluate("() => hide()")
    for step in range(3):
        stage.tell(*(told(record(f"record {1000 * step + number}"), "logs") for number in range(1000)))
        stage.tell(*(told(transfer(f"t{number}", covered=step * 2**20), "transfers:progress") for number in range(100)))
    stage.tell(told(record("last"), "logs"), event({"step": 512, "progress": 50, "time": 1}, "checksum:app.log"))
    expect(live.locator("#checksum-told")).to_have_text("512 B read in 1.0 s", timeout=TIMEOUT_S * 1000)  # all has come
    assert live.locator("#log-lines p, #under-way tr").count() == 0
    assert live.evaluate("() => look()") <= 4  # three panels and the line of rates: once each
    expect(live.locator("#log-lines p")).to_have_count(1000)
    expect(live.locator("#log-lines p").last).to_contain_text("last")
    expect(live.locator("#under-way tr").last).to_contain_text("2 MiB of 1 GiB")


def test_lost_lines_are_told(live: Page, stage: Stage) -> None:
    stage.tell(told({"reason": "slow"}, "logs:lost"), told({"reason": "forgotten"}, "transfers:lost"))
    expect(live.locator("#log-lines .notice")).to_have_text(
        "This page did not keep up, and something was left out here."
    )
    expect(live.locator("#transfers-lost")).to_contain_text("More happened meanwhile than the server keeps")


def chat_message(**message: Any) -> bytes:
    return event(message)


def test_an_answer_is_typed_and_commands_stand_out(live: Page, stage: Stage) -> None:
    pieces = ["app.log: ", "1 KiB\n", "curl -fOJ 'http://x/", "app.log'\n", HOSTILE]
    stage.answer = [chat_message(type="token", content=piece) for piece in pieces]
    stage.answer += [chat_message(type="done", full="".join(pieces)), event("[DONE]")]
    live.get_by_label("Question").fill("Where is the log?")
    live.keyboard.press("Enter")
    expect(live.locator("#chat-ask")).to_be_visible(timeout=TIMEOUT_S * 1000)
    expect(live.locator("#chat article h3")).to_have_text("Where is the log?")
    expect(live.locator("#chat .answer p")).to_have_text(["app.log: 1 KiB", "curl -fOJ 'http://x/app.log'", HOSTILE])
    expect(live.locator("#chat .command")).to_have_count(1)
    expect(live.get_by_label("Question")).to_be_focused()


@pytest.mark.parametrize(
    ("last", "sentence"),
    [
        pytest.param([chat_message(type="error", detail="The model is asleep.")], "The model is asleep.", id="error"),
        pytest.param([], "The answer broke off. Ask again.", id="broken_off"),
        pytest.param([chat_message(type="done", full="", truncated=True)], "The answer was cut here", id="cut"),
    ],
)
def test_an_answer_that_does_not_reach_its_end_says_so(
    last: list[bytes], sentence: str, live: Page, stage: Stage
) -> None:
    stage.answer = [chat_message(type="token", content="It is "), *last]
    live.get_by_label("Question").fill("Where?")
    live.keyboard.press("Enter")
    expect(live.locator("#chat .end")).to_contain_text(sentence)
    expect(live.locator("#chat .text")).to_have_text("It is")


def test_a_refusal_is_shown_and_an_answer_can_be_stopped(live: Page, stage: Stage) -> None:
    live.get_by_label("Folder to ask about").fill("absent")
    live.get_by_label("Question").fill("Where?")
    live.keyboard.press("Enter")
    expect(live.locator("#chat .end")).to_be_visible()
    live.get_by_label("Folder to ask about").fill("")
    stage.answer = [chat_message(type="token", content="word "), STALL]
    live.get_by_label("Question").fill("Tell me all.")
    live.keyboard.press("Enter")
    live.locator("#chat-stop").click()
    expect(live.locator("#chat .end").last).to_have_text("Stopped.", timeout=TIMEOUT_S * 1000)


def test_two_hundred_transfers_at_four_updates_a_second_stay_smooth(live: Page, stage: Stage) -> None:
    """Counted, not timed: however many events come, they ask for few frames, and a row is written once in each."""
    stage.tell(snapshot(*(transfer(f"t{number}") for number in range(200))))
    expect(live.locator("#under-way tr")).to_have_count(200)
    live.evaluate(
        """() => {
            const frame = window.requestAnimationFrame.bind(window);
            const rows = document.querySelector("#under-way");
            window.asked = 0;
            window.written = 0;
            window.requestAnimationFrame = run => { asked += 1; return frame(run); };
            const observer = new MutationObserver(records => { written += records.length; });
            observer.observe(rows, { subtree: true, characterData: true, childList: true });
        }"""
    )
    for step in range(20):
        moved = [transfer(f"t{number}", covered=2**29 + step * 2**20) for number in range(200)]
        stage.tell(*(told(one, "transfers:progress") for one in moved))
    for row in (live.locator("#under-way tr").first, live.locator("#under-way tr").last):
        expect(row).to_contain_text("531 MiB of 1 GiB")
    asked, written = live.evaluate("() => [asked, written]")
    assert asked < 20 * 200 / 20
    assert written <= asked * 200 * 2  # the share, and the amount


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_and_the_policy_is_kept(
    width: int,
    scheme: Any,
    page: Page,  # noqa: F811
    complaints: list[str],  # noqa: F811
    stage: Stage,
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    visit(page, stage, "?file=app.log&checksum=app.log")
    long = "a_name_without_any_place_to_break_" * 6
    stage.tell(
        snapshot(transfer("a", path=long, client="2001:db8:1234:5678:9abc:def0:1234:5678", connections=16)),
        told(transfer("b", path=long, outcome="aborted"), "transfers:finished"),
        told(record(long, "ERROR", logger="fileserve.transfers"), "logs"),
        event(long, "tail:app.log"),
        event({"sha256": "ab" * 32, "name": long}, "checksum:app.log:done"),
    )
    expect(page.locator("#tail-lines p")).to_have_count(1)
    expect(page.locator(":is(#under-way, #ended) tr")).to_have_count(2)
    assert page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('.scroll, .lines')]"
        ".every(box => box.scrollWidth <= box.clientWidth)"
    )
    assert complaints == []


def test_all_controls_are_reached_by_keyboard_and_have_names(live: Page) -> None:
    names: list[str] = []
    for _ in range(30):
        live.keyboard.press("Tab")
        name = live.evaluate(
            "(focused => focused.id || focused.textContent)(document.activeElement)",
        )
        if name in names:
            break
        names.append(name)
    wanted = ["log-level", "log-lines", "tail-path", "tail-lines", "checksum-path", "chat-lines", "chat-question"]
    assert [name for name in names if name in wanted] == wanted
    tree = live.locator("body").aria_snapshot()
    for part in ("banner", "navigation", "main", "contentinfo", 'heading "Transfers"', 'region "Checksum"'):
        assert part in tree, tree
    assert live.evaluate(
        "[...document.querySelectorAll('button')].every(button => button.textContent || button.hidden)"
    )
