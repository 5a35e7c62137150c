"""``GET /events/tail/{path}``: the lines of a growing file as events, as ``tail -F`` shows them.

Each line is an unnamed message, its data the line's text without the newline. Of a line of more than 64 KiB, all
pieces but the last are ``part`` events, and the last one, which may be empty, is the message. ``lost`` says that lines
may be missing, and why; ``reset`` that the id was not understood. An id is the file's inode number and fingerprint
and the offset of the next byte, so a client that reconnects goes on exactly there.

Bounded by itself: a subscriber's next lines are read from the file when it has taken the last ones.
"""

import json
import re
from collections.abc import Sequence
from http import HTTPStatus

from fileserve.storage.following import Follower, Lost, follow, resume
from fileserve.storage.lines import Line, Position
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.streams.events import Event, Source, reset

# Policy: who wants more lines downloads the file; those before the last 16 MiB are not looked for either.
MOST_LINES = 10_000
_ID = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{16})-([0-9]{1,18})")
_FROM = re.compile(r"-([0-9]{1,18})")


async def open_lines(request: NameRequest, told: str | None) -> Source:
    """Return the lines of the file after the event *told*, or from where ``?from=`` says.

    ``end`` is the default; ``start``; or ``-N``, the last N lines.
    """
    root, name = request.site.root, request.name
    last = _parse_from(request.query.get("from", "end"))
    if told is None:
        return _Lines(await follow(root, name, last=last))
    position = parse_id(told)
    if position is None:
        follower = await follow(root, name, last=last)
        return _Lines(follower, reset(format_id(follower.position)))
    follower, loss = await resume(root, name, position)
    return _Lines(follower, *([_event_of(Lost(loss, follower.position))] if loss else []))


def format_id(position: Position) -> str:
    """Return *position* as the id of an event."""
    return f"{position.inode:x}-{position.fingerprint}-{position.offset}"


def parse_id(text: str) -> Position | None:
    """Return the position that an event's id stands for; ``None``: it is none of ours."""
    parts = _ID.fullmatch(text)
    return Position(int(parts[1], 16), parts[2], int(parts[3])) if parts else None


class _Lines:
    """The events of a followed file, and before them *first*. Owns the follower."""

    def __init__(self, follower: Follower, *first: Event) -> None:
        self.start = format_id(follower.position)
        self._follower = follower
        self._first = first

    async def next(self) -> Sequence[Event]:
        """Return the next lines; they never end."""
        first, self._first = self._first, ()
        if first:
            return first
        while not (told := await self._follower.read()):
            await self._follower.changed()
        return [_event_of(item) for item in told]

    async def close(self) -> None:
        """Close the file."""
        self._follower.close()


def _event_of(item: Line | Lost) -> Event:
    if isinstance(item, Lost):
        return Event(json.dumps({"reason": item.loss.value}), format_id(item.position), "lost")
    # Policy: bytes that are no UTF-8 become U+FFFD: an event stream is UTF-8 and has no other way to say them.
    return Event(item.text.decode("utf-8", "replace"), format_id(item.position), "part" if item.is_part else None)


def _parse_from(value: str) -> int | None:
    """Return how many of the last lines come first; ``None`` for all of them."""
    count = _FROM.fullmatch(value)
    if count is not None:
        return min(int(count[1]), MOST_LINES)
    match value:
        case "end":
            return 0
        case "start":
            return None
        case _:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "from is end, start, or -N for the last N lines.")
