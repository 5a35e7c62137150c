"""Opens what a running application needs, and closes it in the end: what is kept (`stores`), and what works with it.

Work ends first, in the reverse of the order in which it was begun; then what it was done with is closed. So it is when
opening fails in the middle, too.
"""

import asyncio
import logging
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fileserve.settings import Settings
from fileserve.storage.archives.archive import Archives
from fileserve.storage.checksums import Checksums
from fileserve.web.changes.forms import MOST_FILES
from fileserve.web.changes.handover import Handover
from fileserve.web.changes.joint import JointWork
from fileserve.web.changes.sweeping import end_expired, sweep_all
from fileserve.web.credentials import Credentials
from fileserve.web.digests.indexing import index_all
from fileserve.web.digests.summing import Summing
from fileserve.web.metrics.counts import SiteCounts
from fileserve.web.metrics.measuring import Measuring, Parts
from fileserve.web.places import Places
from fileserve.web.site import Digesting, Site, Taking
from fileserve.web.stores import Stores, open_stores
from fileserve.web.streams.recording import recording
from fileserve.web.transfers.tracking import Tracking

log = logging.getLogger("fileserve.web")

# Policy: three quarters of the descriptors are for connections and what they download, whatever forms are sent.
_SHARE_OF_FORMS = 4


@asynccontextmanager
async def open_site(settings: Settings, state: Mapping[str, Any]) -> AsyncIterator[Site]:
    """Open what *settings* ask for; close it when the block ends. *state* is the lifespan's (ASGI)."""
    async with AsyncExitStack() as kept, AsyncExitStack() as work:
        stores = open_stores(kept, settings)
        tracking = Tracking(stores.bus, settings.resume_window, settings.accel_log)
        work.push_async_callback(tracking.close)
        digests = _open_digests(work, settings, stores)
        credentials = Credentials(settings.auth, settings.token)
        work.callback(credentials.close)
        taking = _open_taking(work, settings, stores)
        parts = Parts(tracking, digests.checksums, taking.places, SiteCounts())
        measuring = Measuring(parts, state, stores.counts_place)
        kept.push_async_callback(measuring.close)  # writes the last numbers, which are there when all work has ended
        site = Site(settings, credentials, stores.root, stores, digests, taking, tracking, measuring)
        work.push_async_callback(_end, _begin_background(site))
        with recording(stores.bus):
            yield site


def _open_digests(work: AsyncExitStack, settings: Settings, stores: Stores) -> Digesting:
    checksums = Checksums(
        stores.index,
        at_once=settings.checksums,
        at_once_per_client=settings.checksums_per_client,
        settled_ms=settings.weak_etag_ms,
    )
    work.push_async_callback(checksums.close)
    archives = Archives(
        stores.root,
        checksums,
        max_members=settings.archive_members,
        builds=settings.archive_builds,
        cache_bytes=settings.archive_cache,
        portable=settings.etag == "portable",
    )
    work.callback(archives.close)
    summing = Summing(stores.root, checksums)
    work.push_async_callback(summing.close)
    return Digesting(checksums, archives, summing)


def _open_taking(work: AsyncExitStack, settings: Settings, stores: Stores) -> Taking:
    work.push_async_callback(stores.uploads.settle)
    concatenations = JointWork[dict[str, str]]()
    work.push_async_callback(concatenations.close)
    at_once, per_client, retry_after = settings.uploads, settings.uploads_per_client, settings.retry_after
    return Taking(
        Handover(stores.bus, stores.uploads),
        concatenations,
        Places(at_once, per_client, retry_after, "uploads"),
        Places(_affordable_files(settings), MOST_FILES, retry_after, "files in forms"),
        Places(at_once, per_client, retry_after, "questions of uploads"),
    )


def _affordable_files(settings: Settings) -> int:
    """Return how many files forms may hold open: what is set, but no more than a share of the descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(settings.form_files, soft // _SHARE_OF_FORMS))


def _begin_background(site: Site) -> list[asyncio.Task[None]]:
    """Begin what goes on beside the requests; of several workers with one place, each is done by one."""

    def lock(ending: str) -> Path | None:
        place = site.stores.place
        return place.with_suffix(ending) if place is not None else None

    settings, uploads = site.settings, site.stores.uploads
    work = [index_all(site, lock(".lock"))] if settings.index else []
    if settings.upload or uploads.are_open():  # they expire although none are taken any more
        work.append(sweep_all(site.root, uploads, lock(".sweep")))
        work.append(end_expired(site.root, uploads, settings.upload_expiry, lock(".expiry")))
    tasks = [asyncio.ensure_future(one) for one in work]
    for task in tasks:
        task.add_done_callback(_tell_fault)
    return tasks


def _tell_fault(ended: asyncio.Task[None]) -> None:
    """Log what has ended such work but its cancellation: nobody waits for it before the application is closed."""
    if not ended.cancelled() and (error := ended.exception()) is not None:
        log.error("what goes on beside the requests has ended by a fault", exc_info=error)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
