"""``Several``: the events of several sources as those of one, each under its topic.

An unnamed message of a topic is an event with the topic's name; a named one has both, with a colon between. An id is
the ids of all topics as a query string, so that a client that reconnects goes on everywhere at once. A topic that ends
leaves the others going; an error is an event ``{topic}:error``, and ends its topic alone.

Strategy: each source's wait is a task of its own that is kept from round to round, so no wait is broken off because
another one ended first. A source has one batch under way at the most, as it has alone.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, quote_plus

from fileserve.storage.errors import StorageError
from fileserve.web.problems import problem_of
from fileserve.web.streams.events import Batch, Event, Source

__all__ = ["Several", "open_several"]

log = logging.getLogger("fileserve.events")

_HERE = "\0"  # stands in no encoded id
_FRAMES = 8  # the last batches, for subscribers who stand at a few different ids

#: Opens the events of one topic after the id that the client was told last; ``None``: nothing is left to be told.
Opener = Callable[[str | None], Awaitable[Source | None]]


async def open_several(openers: Mapping[str, Opener], given: str | None) -> "Several | None":
    """Return the events of all topics after the common id *given*; ``None``: nothing is left to be told of any.

    A topic that is not in the id begins as for a new client; where none is, the id was not understood, and each topic
    says so. Raises what the first topic raises, if none can be opened.
    """
    told = {topic: id for topic, id in parse_qsl(given or "") if topic in openers}
    sources: dict[str, Source] = {}
    failures: dict[str, StorageError] = {}
    async with AsyncExitStack() as held:
        for topic, opener in openers.items():
            try:
                source = await opener(told.get(topic) if told else given)
            except StorageError as error:
                failures[topic] = error
                continue
            if source is not None:
                held.push_async_callback(source.close)
                sources[topic] = source
        if not sources:
            for failure in failures.values():
                raise failure
            return None
        held.pop_all()
    return Several(sources, told, failures)


@dataclass(frozen=True, slots=True)
class _Block:
    """Events as they stand in the stream, and the id of the last of them."""

    id: str
    encoded: bytes

    def encode(self) -> bytes:
        """Return them."""
        return self.encoded


class Several:
    """The events of *sources*, which it owns; of the other topics, what the client was *told*, and the *failures*."""

    def __init__(
        self, sources: Mapping[str, Source], told: Mapping[str, str], failures: Mapping[str, StorageError]
    ) -> None:
        self._sources = dict(sources)
        self._waits: dict[str, asyncio.Task[Sequence[Event]]] = {}
        starts = {topic: source.start for topic, source in sources.items()}
        self._ids = {topic: _encode_id(topic, id) for topic, id in {**told, **starts}.items()}
        self._failures = dict(failures)

    @property
    def start(self) -> str:
        """The ids of all topics of a client that has got no event yet."""
        return "&".join(self._ids.values())

    async def next(self) -> Sequence[_Block]:
        """Wait for the next events of any topic; none: all have ended."""
        blocks = [self._fail(topic, error) for topic, error in self._failures.items()]
        self._failures.clear()
        while self._sources and not blocks:
            for topic, source in self._sources.items():
                if topic not in self._waits:
                    self._waits[topic] = asyncio.ensure_future(source.next())
            await asyncio.wait(self._waits.values(), return_when=asyncio.FIRST_COMPLETED)
            for topic in [topic for topic, wait in self._waits.items() if wait.done()]:
                blocks += await self._take(topic)
        return blocks

    async def close(self) -> None:
        """End all waits, and close all sources, whatever one of them raises."""
        for wait in self._waits.values():
            wait.cancel()
        async with AsyncExitStack() as stack:
            for source in self._sources.values():
                stack.push_async_callback(source.close)
            await asyncio.gather(*self._waits.values(), return_exceptions=True)

    async def _take(self, topic: str) -> Sequence[_Block]:
        """Return what the wait of *topic* has brought."""
        try:
            events = self._waits.pop(topic).result()
        except StorageError as error:
            log.warning("a topic of an event stream ended: %s", error)
            await self._end(topic)
            return (self._fail(topic, error),)
        if not events:
            await self._end(topic)
            return ()
        return (self._encode(topic, events),)

    async def _end(self, topic: str) -> None:
        await self._sources.pop(topic).close()

    def _fail(self, topic: str, error: StorageError) -> _Block:
        event = Event(json.dumps({"detail": problem_of(error).detail}), "", "error")
        encoded = event.lines(f"{topic}:error") + _id_line(self.start)
        return _Block(self.start, encoded)

    def _encode(self, topic: str, events: Sequence[Event]) -> _Block:
        """Return *events* under *topic*. A batch is encoded once for all who stand at the same ids, as most do."""
        ids = self._ids | {topic: _HERE}
        before, _, after = "&".join(ids.values()).partition(_HERE)
        self._ids[topic] = _encode_id(topic, events[-1].id)
        if isinstance(events, Batch):
            encoded = _frame_once(_Same(events), topic, before, after)
        else:
            encoded = _frame(events, topic, before, after)
        return _Block(self.start, encoded)


class _Same:
    """A batch as a key: equal to itself alone, so that it need not be compared."""

    __slots__ = ("events",)

    def __init__(self, events: Batch) -> None:
        self.events = events

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.events is self.events

    def __hash__(self) -> int:
        return id(self.events)


@lru_cache(_FRAMES)
def _frame_once(same: _Same, topic: str, before: str, after: str) -> bytes:
    return _frame(same.events, topic, before, after)


def _frame(events: Sequence[Event], topic: str, before: str, after: str) -> bytes:
    """Return *events* as they stand in the stream; the ids of the other topics come *before* and *after* theirs."""
    parts: list[bytes] = []
    last: str | None = None
    for event in events:
        if event.id != last:
            last = event.id
            id_line = _id_line(before + _encode_id(topic, last) + after)
        parts += (event.lines(f"{topic}:{event.name}" if event.name else topic), id_line)
    return b"".join(parts)


def _encode_id(topic: str, id: str) -> str:
    return f"{quote_plus(topic)}={quote_plus(id)}"


def _id_line(id: str) -> bytes:
    return b"id: %b\n\n" % id.encode()
