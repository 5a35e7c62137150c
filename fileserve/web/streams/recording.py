"""``Recorder``: the log records of this process as rows of the bus, one line of JSON each.

What the bus itself logs, or what is logged while a thread works for it, is left out: a log that fails at each row would
go on for ever. So is what the supervisor of several workers logs, which has no bus, and the log of requests, of which a
thousand a second would push everything else out. All that is on standard error.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from fileserve.records import values_of
from fileserve.web.workers import bus as bus_module
from fileserve.web.workers.bus import Bus

__all__ = ["TOPIC", "recording"]

TOPIC = "logs"
LOGGERS = ("fileserve", "uvicorn")
ACCESS = "fileserve.access"


class Recorder(logging.Handler):
    """The handler that appends records to *bus*. The structured fields are those of ``extra={"fields": {…}}``."""

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self.addFilter(_is_not_the_bus)

    def emit(self, record: logging.LogRecord) -> None:
        """Append *record*, in a moment; a failure is reported as logging reports them."""
        try:
            text = self.format(copy(record))  # which keeps the traceback's text: others make their own of it
            self._bus.append(TOPIC, _data_of(record, text))
        except Exception:
            self.handleError(record)


@contextmanager
def recording(bus: Bus) -> Iterator[None]:
    """Record what fileserve and uvicorn log during the block."""
    recorder = Recorder(bus)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(recorder)
    try:
        yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(recorder)
        recorder.close()


def _is_not_the_bus(record: logging.LogRecord) -> bool:
    return record.name not in (bus_module.log.name, ACCESS) and not bus_module.is_at_work()


def _data_of(record: logging.LogRecord, message: str) -> str:
    """Return the line of JSON; in ASCII, so that no control or line separator of a name stands in it."""
    return json.dumps({"time": round(record.created, 3), **values_of(record, message)}, default=str)
