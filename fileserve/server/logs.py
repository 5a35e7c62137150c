"""Where the server's words go: standard error, one record a line; for people on a terminal, as JSON elsewhere.

A line of JSON has ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``pid``, ``message``, and where there are any
``request_id`` and ``fields``. It is ASCII, so no name of a file can end it or do anything to a terminal. For people the
same is escaped, and a traceback is indented: no line of it can be taken for a record.
"""

import json
import logging
import sys
import time
from copy import copy
from typing import Literal, TextIO

from fileserve.records import escape, redact, request_id, values_of

__all__ = ["ACCESS", "LogFormat", "is_json", "is_news", "set_up_logging"]

LogFormat = Literal["auto", "human", "json"]
ACCESS = "fileserve.access"  # the logger of `--access-log`
# Policy: what the loops say of each piece that is written for a client who has left, before a response is told that. A
# stranger can cause ten such lines with a request; how each response has ended, the metrics and transfers tell.
_OF_LOST_PIECES = frozenset(("socket.send() raised exception.", "SSL connection is closed"))


def is_json(log_format: LogFormat, stream: TextIO | None = None) -> bool:
    """Tell whether records are written as JSON: where nobody looks at a terminal, unless it is said."""
    return not (stream or sys.stderr).isatty() if log_format == "auto" else log_format == "json"


def set_up_logging(log_format: LogFormat = "auto") -> None:
    """Write warnings of everybody, and what fileserve itself has to say, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if is_json(log_format) else HumanLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("fileserve").setLevel(logging.INFO)
    logging.getLogger("asyncio").addFilter(is_news)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception


def is_news(record: logging.LogRecord) -> bool:
    """Tell whether a *record* of the event loop is more than a remark on a piece that went nowhere."""
    return record.msg not in _OF_LOST_PIECES


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        at = {"time": f"{seconds}.{int(record.msecs):03d}Z"}
        return json.dumps(at | values_of(record, super().format(record)), default=str)


class HumanLines(logging.Formatter):
    """Time, level, process, logger, message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line: the message, whatever stands in it, and the request that it is of."""
        id = getattr(record, "request_id", "") or request_id.get()
        return redact(escape(super().formatMessage(record))) + (f" (request {escape(id)})" if id else "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of *record*. What others have made of its traceback is not taken as it is, and kept."""
        own = copy(record)
        own.exc_text = None if own.exc_info or not own.exc_text else _indented(own.exc_text)
        return super().format(own)

    def formatException(self, ei: object) -> str:
        """Return the traceback, indented."""
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        """Return where the record was made, indented."""
        return _indented(stack_info)


def _indented(text: str) -> str:
    return "\n".join("    " + redact(escape(line)) for line in text.splitlines())


def _log_exception(kind: type[BaseException], error: BaseException, traceback: object) -> None:
    """Log what ends the process, where Python would write lines of its own."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("fileserve.server").critical("the process ends", exc_info=(kind, error, traceback))  # type: ignore[arg-type]
