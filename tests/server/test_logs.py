"""What is written to standard error: one record a line, whatever stands in it, and never a secret."""

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from fileserve.records import request_id
from fileserve.server.logs import HumanLines, JsonLines, is_json, set_up_logging

HOSTILE = [
    pytest.param('new\nline {"level": "CRITICAL"}', id="line_feed"),
    pytest.param("\r2026-01-01 00:00:00,000 CRITICAL [1] root: forged", id="carriage_return"),
    pytest.param("\x1b]0;owned\x07\x1b[2J\x9b31m", id="escape_sequences"),
    pytest.param("\u2028\u2029\x85\x0b\x0c\x1c", id="what_splitlines_takes_for_an_end"),
    pytest.param('"}, {"', id="quotes"),
    pytest.param("\udcff\udc80", id="surrogates"),
    pytest.param("\u202egpj.exe", id="turned_around"),
]


def record(message: str, *args: object, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("fileserve.web", logging.WARNING, __file__, 1, message, args, info)
    vars(made).update(extra)
    return made


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_of_json_is_one_line_of_ascii(name: str) -> None:
    line = JsonLines().format(record("%s stored", name, fields={"path": name, name: 1}))
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert told["message"] == f"{name} stored"
    assert told["fields"] == {"path": name, name: 1}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_for_people_has_no_control_characters(name: str) -> None:
    line = HumanLines().format(record("%s stored", name))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    assert line.endswith(" stored")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_traceback_cannot_look_like_a_record(name: str) -> None:
    try:
        raise ValueError(name)
    except ValueError as error:
        failed = record("a request failed", error=error)
    first, *others = HumanLines().format(failed).splitlines()
    assert first.endswith("fileserve.web: a request failed")
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert "ValueError" in others[-1] or "ValueError" in "".join(others)
    assert json.loads(JsonLines().format(failed))["message"].startswith("a request failed\nTraceback")


@pytest.mark.parametrize("others", [logging.Formatter(), JsonLines()])
def test_a_traceback_is_indented_whoever_has_formatted_it_before(others: logging.Formatter) -> None:
    try:
        raise ValueError("\x1b[2J token=s3cr3t")
    except ValueError as error:
        failed = record("a request failed", error=error)
    before = others.format(failed)
    formatted = HumanLines().format(failed)
    assert all(line.startswith("    ") and line.isprintable() for line in formatted.splitlines()[1:])
    assert "s3cr3t" not in formatted
    assert others.format(failed) == before


def test_where_a_record_was_made_cannot_look_like_a_record() -> None:
    made = record("said")
    made.stack_info = "Stack (most recent call last):\n\x1b[2J token=s3cr3t"
    _, *others = HumanLines().format(made).splitlines()
    assert len(others) == 2
    assert all(line.startswith("    ") and line.isprintable() and "s3cr3t" not in line for line in others)


def test_a_traceback_that_has_lost_its_error_is_indented() -> None:
    sent = record("a request failed")
    sent.exc_text = "Traceback (most recent call last):\n\x1b[2JValueError: token=s3cr3t"  # as over a socket or a queue
    _, *others = HumanLines().format(sent).splitlines()
    assert len(others) == 2
    assert all(line.startswith("    ") and line.isprintable() and "s3cr3t" not in line for line in others)


def test_the_fields_of_a_line_of_json() -> None:
    told = json.loads(JsonLines().format(record("said", fields={"sent": 5})))
    at = datetime.fromisoformat(told.pop("time"))
    assert at.tzinfo == UTC
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert isinstance(told.pop("pid"), int)
    expected = {"level": "WARNING", "logger": "fileserve.web", "message": "said", "fields": {"sent": 5}}
    assert told == expected


def test_the_request_is_told_that_is_being_answered_or_that_a_record_names() -> None:
    assert "request_id" not in json.loads(JsonLines().format(record("said")))
    token = request_id.set("one")
    try:
        assert json.loads(JsonLines().format(record("said")))["request_id"] == "one"
        assert HumanLines().format(record("said")).endswith("said (request one)")
        assert json.loads(JsonLines().format(record("said", request_id="other")))["request_id"] == "other"
    finally:
        request_id.reset(token)


@pytest.mark.parametrize("formatter", [JsonLines(), HumanLines()])
def test_no_line_tells_a_secret(formatter: logging.Formatter) -> None:
    assert "s3cr3t" not in formatter.format(record("GET /live?token=%s", "s3cr3t"))
    assert "s3cr3t" not in formatter.format(record("failed", error=ValueError("Authorization: Bearer s3cr3t")))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_people_are_at_terminals() -> None:
    assert not is_json("auto", Terminal())
    assert is_json("auto", io.StringIO())
    assert is_json("json", Terminal())
    assert not is_json("human", io.StringIO())


def test_what_is_written_for_a_client_who_has_left_is_no_line_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loops say it of each piece; whatever else they say stays."""
    asyncio_logger = logging.getLogger("asyncio")
    monkeypatch.setattr(asyncio_logger, "filters", [])
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.setattr(logging, "captureWarnings", lambda _: None)
    monkeypatch.setattr("sys.excepthook", None)
    monkeypatch.setattr(logging.getLogger("fileserve"), "level", logging.INFO)
    set_up_logging()
    for message in ("socket.send() raised exception.", "SSL connection is closed", "Task was destroyed"):
        asyncio_logger.warning(message)
    assert [record.getMessage() for record in caplog.records] == ["Task was destroyed"]
