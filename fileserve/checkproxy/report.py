"""What was found, as lines for people or as one JSON document."""

import json
from collections.abc import Iterable

from fileserve.checkproxy.checks import CHECKS
from fileserve.checkproxy.running import Result, Verdict

_WIDTH = max(len(check.name) for check in CHECKS)


def line(result: Result) -> str:
    """Return the line that tells of one check."""
    told = (
        f"{result.verdict.value:11}  {result.check.name:{_WIDTH}}  {result.reason or result.check.question + ': yes'}"
    )
    return f"{told}\n{'':11}  {'':{_WIDTH}}  mend: {result.check.mend}" if result.verdict is Verdict.FAULT else told


def document(url: str, results: Iterable[Result]) -> str:
    """Return the JSON document that tells of all checks."""
    checks = [
        {"name": result.check.name, "question": result.check.question, "verdict": result.verdict.value}
        | ({"reason": result.reason} if result.reason else {})
        | ({"mend": result.check.mend} if result.verdict is Verdict.FAULT else {})
        for result in results
    ]
    return json.dumps({"url": url, "checks": checks}, indent=2)
