"""``Measuring``: what one worker has counted, in one place, written each second for the others, and read from all.

The parts count for themselves, in plain integers: the server (its counts are in the lifespan's state), ``transfers``,
the uploads, the streams, the digests. Here they get the names of families. A worker tells no number that it has not
written, so what was told once is never less afterwards, whoever is asked and whoever has died; those of the other
workers are a second old at the most. Of each response under way, the server has to be asked how far it is, which takes
microseconds; so with more than `AT_PACE` of them, they are a little older.

Where there is no place for files, each worker tells its own numbers alone.
"""

import asyncio
import logging
import os
import resource
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fileserve import disk
from fileserve.storage.checksums import Checksums
from fileserve.web.metrics.counts import SiteCounts
from fileserve.web.metrics.kept import Kept, Numbers, Snapshot, add
from fileserve.web.places import Places
from fileserve.web.transfers.tracking import Tracking

__all__ = ["Measuring", "Parts"]

log = logging.getLogger("fileserve.metrics")

PACE_S = 1.0
AT_PACE = 500  # responses under way
SERVER = "fileserve.counts"  # where our server puts its counts; others have none


class ServerCounts(Protocol):
    """What our server counts."""

    def counters(self) -> Numbers:
        """Return what only grows."""

    def gauges(self) -> Numbers:
        """Return how it stands."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What counts for itself in one worker."""

    tracking: Tracking
    checksums: Checksums
    places: Places
    counts: SiteCounts


class Measuring:
    """The measuring of the *parts* of one worker. *place* is where all workers keep their counts.

    *state* is the lifespan's, which the server and the application share.
    """

    def __init__(self, parts: Parts, state: Mapping[str, Any], place: Path | None) -> None:
        self.state = state
        self._parts = parts
        self._kept = _open(place)
        self._told: tuple[Numbers, Numbers] = {}, {}
        self._is_failing = False
        self._writing = asyncio.Lock()
        self._is_closed = asyncio.Event()
        self._work = asyncio.ensure_future(self._write_on())

    @property
    def counts(self) -> SiteCounts:
        """What the routes of this worker count."""
        return self._parts.counts

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return what all workers have counted, this one until now."""
        written = await self._write()
        if self._kept is None or self._is_failing:
            return (written,)
        try:
            return await disk.run(self._kept.read_all)
        except OSError:
            return (written,)

    async def close(self) -> None:
        """Write the last numbers, and leave the place."""
        self._is_closed.set()
        await asyncio.wait((self._work,))
        await self._write()
        if self._kept is not None:
            self._kept.close()

    async def _write_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PACE_S * max(1.0, self._parts.tracking.progress.live / AT_PACE)):
                    await self._is_closed.wait()
                    return
            try:
                if self._is_failing or self._numbers() != self._told:
                    await self._write()
            except Exception:  # ours; what is counted next is to be written all the same
                log.exception("counts were not written as they should be")

    async def _write(self) -> Snapshot:
        """Write how it stands, and return it."""
        async with self._writing:
            now, gauges = self._numbers()
            counters, _ = self._told = _never_less(self._told[0], now), gauges
            snapshot = Snapshot(self._kept.worker if self._kept else 0, counters, gauges | _gauges_of_process())
            if self._kept is not None:
                await self._keep(self._kept, snapshot)
            return snapshot

    async def _keep(self, kept: Kept, snapshot: Snapshot) -> None:
        try:
            await disk.run(kept.write, snapshot.counters, snapshot.gauges)
        except OSError as error:
            if not self._is_failing:
                log.warning("the counts of this worker cannot be kept: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False

    def _numbers(self) -> tuple[Numbers, Numbers]:
        """Return counters and gauges: what the parts have counted, under the names of families."""
        parts, server = self._parts, self._server
        progress, digests = parts.tracking.progress, parts.checksums.figures()
        under_way = progress.under_way()
        counters: Numbers = {
            "outcomes": dict(parts.tracking.keeper.ended),
            "received": {"": parts.counts.received},
            "stored": {"": parts.counts.stored},
            "hashed_files": {"": digests.files},
            "hashed_bytes": {"": digests.bytes},
        }
        gauges: Numbers = {
            "under_way": {route: count for route, (count, _) in under_way.items()},
            "kept": {"": parts.tracking.keeper.kept},
            "streams": {"": parts.counts.streams},
            "uploads": {"": parts.places.taken},
            "hashing": {"": digests.running},
            "waiting": {"": digests.waiting},
        }
        sent: Numbers = {"sent": {route: taken for route, (_, taken) in under_way.items()}}
        counters = add(add(progress.counts.counters(), sent), counters)
        return counters | (server.counters() if server else {}), gauges | (server.gauges() if server else {})

    @property
    def _server(self) -> ServerCounts | None:
        """The server's counts, which are there from its first connection on."""
        counts: ServerCounts | None = self.state.get(SERVER)
        return counts


def _open(place: Path | None) -> Kept | None:
    try:
        return Kept(place) if place is not None else None
    except OSError as error:
        log.warning("counts cannot be kept in %s; each worker tells its own, from its start on: %s", place, error)
        return None


def _never_less(before: Numbers, now: Numbers) -> Numbers:
    """Return *now*, but no number less than *before*: of bytes under way, some may turn out not to have arrived."""
    return {
        family: {key: max(number, before.get(family, {}).get(key, 0)) for key, number in numbers.items()}
        for family, numbers in now.items()
    }


def _gauges_of_process() -> Numbers:
    return {
        "descriptors": {"": _descriptors()},
        "descriptors_limit": {"": resource.getrlimit(resource.RLIMIT_NOFILE)[0]},
    }


def _descriptors() -> int:
    """Return how many descriptors this process holds. Linux 6.2 tells as the directory's size; else they are listed."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            size = os.stat(directory).st_size if directory.startswith("/proc") else 0
            return size or len(os.listdir(directory)) - 1
        except OSError:
            continue
    return 0
