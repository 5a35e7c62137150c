"""The background pass (``--index``): once after the start, each file whose digest is not known is hashed.

One file after another, at low priority, and no faster than ``--index-rate``; a client who waits for one of them takes
that brake off. What cannot be read is passed over and counted. Of several workers one does it, the one that gets the
lock beside the index; where the index is in memory, each has its own to fill.
"""

import logging
from collections import Counter
from pathlib import Path

from fileserve.storage.errors import StorageError
from fileserve.storage.names import Name
from fileserve.storage.walk import files_beneath
from fileserve.web.site import Site
from fileserve.web.workers.holding import held

log = logging.getLogger("fileserve.index")


async def index_all(site: Site, lock: Path | None) -> None:
    """Compute all digests that are not known, unless another worker holds *lock* and does."""
    try:
        with held(lock) as is_ours:
            if is_ours:
                await _index_all(site)
    except OSError as error:
        log.warning("digests are computed when somebody asks for them, and not before: %s", error)


async def _index_all(site: Site) -> None:
    counts = Counter[str]()
    async for name in files_beneath(site.root):
        counts[await _hash(site, name)] += 1
    told = (counts["new"], counts["known"], counts["unread"])
    log.info("digests: %d files hashed, %d known before, %d could not be read", *told)


async def _hash(site: Site, name: Name) -> str:
    try:
        opened = await site.root.open(name)
    except StorageError:
        return "unread"
    try:
        if await site.digests.checksums.find(opened.status) is not None:
            return "known"
        await site.digests.checksums.fill(opened, rate=site.settings.index_rate)
    except StorageError as error:  # it changed meanwhile, or the disk failed
        log.warning("a digest was not computed: %s", error)
        return "unread"
    finally:
        opened.close()
    return "new"
