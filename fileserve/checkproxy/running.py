"""Goes through the table, one check after the other."""

import http.client
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fileserve.checkproxy.checks import CHECKS, Check
from fileserve.checkproxy.client import Client, NotAskable
from fileserve.checkproxy.documents import is_document
from fileserve.checkproxy.reasons import LeftOut, NotChecked
from fileserve.checkproxy.site import Site

LONGEST = 300  # signs of what is told of an answer


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    FAULT = "fault"
    NOT_CHECKED = "not checked"
    LEFT_OUT = "left out"


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
    except ssl.SSLCertVerificationError as error:
        mend = "--ca-file FILE trusts a certificate of your own"
        raise NotAskable(f"its certificate is not trusted ({error.verify_message}); {mend}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotAskable(f"nobody answers: {visible(str(error) or type(error).__name__)}") from None
    if 300 <= answer.status < 400 and answer["location"]:
        raise NotAskable(f"it redirects; ask {visible(answer['location']).removesuffix('/healthz')}")
    if not is_document(answer):
        told = visible(f"{answer.status} {answer['content-type'] or ''}".rstrip())
        raise NotAskable(f"no fileserve answers: /healthz is {told}")


def visible(text: str) -> str:
    """Return *text*, which a stranger has sent, without what a terminal would obey, and not at any length."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:LONGEST])


def _observe(check: Check[Any], site: Site) -> Any:
    try:
        return check.observe(site)
    except NotChecked as reason:
        return reason
    except TimeoutError:
        return NotChecked(f"no whole answer came within {site.client.timeout_s:g} s; --timeout waits longer")
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: what is sent is no HTTP
        return NotChecked(f"the connection broke: {error or type(error).__name__}")


def _judged(check: Check[Any], observation: Any) -> Result:
    if isinstance(observation, NotChecked):
        verdict = Verdict.LEFT_OUT if isinstance(observation, LeftOut) else Verdict.NOT_CHECKED
        return Result(check, verdict, visible(str(observation)))
    fault = check.judge(observation)
    return Result(check, Verdict.FAULT, visible(fault)) if fault else Result(check, Verdict.OK)
