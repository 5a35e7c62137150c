"""Goes through the table, one check after the other."""

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fileserve.checkproxy.checks import CHECKS, Check
from fileserve.checkproxy.client import Client, NotAskable
from fileserve.checkproxy.observing import NotChecked, Site, is_document


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    FAULT = "fault"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Result:
    """A check and its verdict; *reason* says what is wrong, or why it was not checked."""

    check: Check[Any]
    verdict: Verdict
    reason: str = ""


def run_checks(site: Site) -> Iterator[Result]:
    """Yield the result of each check as soon as there is one."""
    seen: dict[Callable[[Site], Any], Any] = {}
    for check in CHECKS:
        if check.observe not in seen:
            seen[check.observe] = _observe(check, site)
        yield _judged(check, seen[check.observe])


def expect_fileserve(client: Client) -> None:
    """Return if fileserve answers at the URL.

    Raises:
        NotAskable: nobody answers there, or somebody else.
    """
    try:
        answer = client.ask("/healthz")
    except (OSError, http.client.HTTPException) as error:
        raise NotAskable(f"nobody answers: {error}") from None
    if not is_document(answer):
        raise NotAskable(f"no fileserve answers: /healthz is {answer.status} {answer['content-type'] or ''}".rstrip())


def _observe(check: Check[Any], site: Site) -> Any:
    try:
        return check.observe(site)
    except NotChecked as reason:
        return reason
    except (OSError, http.client.HTTPException) as error:
        return NotChecked(f"the connection broke: {error or type(error).__name__}")


def _judged(check: Check[Any], observation: Any) -> Result:
    if isinstance(observation, NotChecked):
        return Result(check, Verdict.NOT_CHECKED, str(observation))
    fault = check.judge(observation)
    return Result(check, Verdict.FAULT, fault) if fault else Result(check, Verdict.OK)
