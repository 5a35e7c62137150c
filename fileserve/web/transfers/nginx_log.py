"""nginx's log of what it has sent: ``parse_line`` reads a line, ``follow_log`` gives out the lines as they come.

The format is that of ``nginx/fileserve-accel.conf``: a line is a JSON object of strings and numbers, none of which is a
client's word. It is read as if each were: what is not exactly such an object is no line, and costs nobody anything.

The log is followed over its rotation and truncation. It is read from where the first response began that a line is
waited for, since it may have ended while nobody read; what was read before is nobody's news.
"""

import asyncio
import json
import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from fileserve.storage.errors import NotFound, StorageError
from fileserve.storage.following import Follower, follow_from
from fileserve.storage.lines import Line
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root
from fileserve.web.transfers.offloaded import LogLine

__all__ = ["follow_log", "parse_line"]

LONGEST = 512  # bytes of a line
RETRY_S = 1.0
MOST_BYTES = 1 << 63
LOOK_BACK = 16 << 20  # bytes of the log, some 80,000 lines, that are looked through at the beginning
BLOCK = 64 << 10
_ID = re.compile(r"[0-9a-f]{9,40}-n[0-9a-f]{1,16}")
_RANGE = re.compile(r"(?:bytes (?:[0-9]{1,19}-[0-9]{1,19}|\*)/[0-9]{1,19})?")

log = logging.getLogger("fileserve.transfers")


def parse_line(text: bytes, now_s: float) -> LogLine | None:
    """Return what a line of the log says, read at *now_s*; ``None``: it is none.

    >>> parse_line(b'{"transfer":"1a2b3c4d5-n0","returned":1}', 7.0)
    LogLine(id='1a2b3c4d5-n0', at_s=7.0, status=0, content_range='', sent=0, is_completed=False, is_same=False)
    """
    if len(text) > LONGEST:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match values:
        case {"transfer": str(id), "returned": 1, **rest} if not rest and _ID.fullmatch(id):
            return LogLine(id, now_s)
        case {"transfer": str(id), "at": float(at_s), **rest} if _ID.fullmatch(id):
            return _sent(id, min(at_s, now_s) if at_s > 0 else now_s, rest)
    return None


def _sent(id: str, at_s: float, values: dict[Any, Any]) -> LogLine | None:
    match values:
        case {
            "status": int(status),
            "range": str(told),
            "sent": int(sent),
            "completion": str(completion),
            "same": same,
        }:
            is_sane = len(values) == 5 and 100 <= status < 600 and 0 <= sent < MOST_BYTES and completion in ("", "OK")
            if is_sane and same in (0, 1) and _RANGE.fullmatch(told):
                return LogLine(id, at_s, status, told, sent, completion == "OK", same == 1)
    return None


async def follow_log(
    path: Path, since: Callable[[], Awaitable[float]], hear: Callable[[Sequence[LogLine]], None]
) -> None:
    """Tell *hear* of the lines of the log *path*, for ever; where it is missing or cannot be read, wait for it.

    It begins with lines of the time that *since* tells, in seconds since 1970, or before.
    """
    complains = True
    while True:
        try:
            folder, name = _place_of(path)
            with closing(folder):
                since_s = await since()
                follower = await follow_from(folder, name, partial(_offset_since, since_s))
                complains = True
                await _tell(follower, path, hear)
        except StorageError as error:
            if complains:
                _complain(path, error)
            complains = False
        await asyncio.sleep(RETRY_S)


def _place_of(path: Path) -> tuple[Root, Name]:
    """Return the directory of *path* and the name in it, links followed."""
    found = path.resolve()
    return Root(found.parent, hidden=True), (os.fsencode(found.name),)


def _complain(path: Path, error: StorageError) -> None:
    cause = error.__cause__ or error
    hint = ": give fileserve the right to read it (Debian: the group adm)" if isinstance(cause, PermissionError) else ""
    log.warning("the log of nginx, %s, cannot be read, and is waited for: %s%s", path, cause, hint)


async def _offset_since(since_s: float, opened: OpenFile) -> int:
    """Return an offset at which a line begins, before all lines since *since_s* that are in the last `LOOK_BACK`."""
    earliest = max(0, opened.status.size - LOOK_BACK)
    start = opened.status.size
    while start > earliest:
        start = max(earliest, start - BLOCK)
        data = await opened.read(start, 2 * LONGEST)
        begin = data.find(b"\n") + 1 if start else 0
        line = parse_line(data[begin:].partition(b"\n")[0], math.inf)
        if start == earliest or (line is not None and line.at_s < since_s):
            return start + begin
    return start


async def _tell(follower: Follower, path: Path, hear: Callable[[Sequence[LogLine]], None]) -> None:
    complains = True
    with closing(follower):
        goes_on = False  # the line before was a piece of a long one
        while True:
            told = await follower.read()
            now_s, lines = time.time(), []
            for one in told:
                whole = one.text if isinstance(one, Line) and not (goes_on or one.is_part) else b""
                goes_on = isinstance(one, Line) and one.is_part
                if (line := parse_line(whole, now_s)) is not None:
                    lines.append(line)
            if lines:
                hear(lines)
            error = follower.missing  # in the moment of a rotation there is none, which is no news
            if complains and error is not None and not isinstance(error, NotFound):
                _complain(path, error)
            complains = error is None
            if not told:
                await follower.changed()
