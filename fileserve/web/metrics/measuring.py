"""``Measuring``: what one worker has counted, in one place, written each second for the others, and read from all.

The parts count for themselves, in plain integers: the server (its counts are in the lifespan's state), ``transfers``,
the uploads, the streams, the digests. Here they get the names of families. A worker tells no number that it has not
written, so what was told once is never less afterwards, whoever is asked and whoever has died; those of the other
workers are a second old at the most.

Where there is no place for files, each worker tells its own numbers alone.
"""

import asyncio
import logging
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fileserve import disk
from fileserve.web.metrics.kept import Kept, Numbers, Snapshot, add

if TYPE_CHECKING:
    from fileserve.web.site import Site

__all__ = ["Measuring"]

log = logging.getLogger("fileserve.metrics")

PACE_S = 1.0
SERVER = "fileserve.counts"  # where our server puts its counts; others have none


class ServerCounts(Protocol):
    """What our server counts."""

    def counters(self) -> Numbers:
        """Return what only grows."""

    def gauges(self) -> Numbers:
        """Return how it stands."""


class Measuring:
    """The measuring of one worker; *state* is that of the lifespan, *place* where the workers keep their counts."""

    def __init__(self, site: "Site", state: Mapping[str, Any], place: Path | None) -> None:
        self._site = site
        self._state = state
        self._kept = _open(place)
        self._told: Numbers = {}
        self._is_failing = False
        self._writing = asyncio.Lock()
        self._work = asyncio.ensure_future(self._write_on())

    async def snapshots(self) -> Sequence[Snapshot]:
        """Return what all workers have counted, this one until now."""
        written = await self._write()
        if self._kept is None or self._is_failing:
            return (written,)
        try:
            return await disk.run(list, self._kept.read_all())
        except OSError:
            return (written,)

    async def close(self) -> None:
        """Write the last numbers, and leave the place."""
        self._work.cancel()
        await asyncio.wait((self._work,))
        await self._write()
        if self._kept is not None:
            self._kept.close()

    async def _write_on(self) -> None:
        while True:
            await self._write()
            await asyncio.sleep(PACE_S)

    async def _write(self) -> Snapshot:
        """Write how it stands, where that is new, and return it."""
        async with self._writing:
            before = self._told
            self._told = counters = _never_less(before, self._counters())
            gauges = await disk.run(_gauges_of_process) | self._gauges()
            if self._kept is not None:
                try:
                    await disk.run(self._kept.write, counters, gauges)
                    self._is_failing = False
                except OSError as error:
                    if not self._is_failing:
                        log.warning("the counts of this worker cannot be kept: %s", error)
                    self._is_failing = True
            return Snapshot(self._kept.worker if self._kept else 0, counters, gauges)

    def _counters(self) -> Numbers:
        site, server = self._site, self._server
        progress, digests = site.tracking.progress, site.checksums.figures()
        sent = {route: float(sent) for route, (_, sent) in progress.under_way().items()}
        own = {
            "outcomes": site.tracking.keeper.ended,
            "received": {"": site.counts.received},
            "stored": {"": site.counts.stored},
            "hashed_files": {"": digests.files},
            "hashed_bytes": {"": digests.bytes},
        }
        return add(add(progress.counts.counters(), {"sent": sent}), own) | (server.counters() if server else {})

    def _gauges(self) -> Numbers:
        site, server = self._site, self._server
        digests = site.checksums.figures()
        under_way = site.tracking.progress.under_way()
        return {
            "under_way": {route: count for route, (count, _) in under_way.items()},
            "kept": {"": site.tracking.keeper.kept},
            "streams": {"": site.counts.streams},
            "uploads": {"": site.places.taken},
            "hashing": {"": digests.running},
            "waiting": {"": digests.waiting},
        } | (server.gauges() if server else {})

    @property
    def _server(self) -> ServerCounts | None:
        """The server's counts, which are there from its first connection on."""
        counts: ServerCounts | None = self._state.get(SERVER)
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


def _gauges_of_process() -> dict[str, dict[str, float]]:
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
