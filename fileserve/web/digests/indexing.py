"""The background pass (``--index``): once after the start, each file whose digest is not known is hashed.

One file after another, at low priority, and no faster than ``--index-rate``; a client who waits for one of them takes
that brake off. What cannot be read is passed over and counted. Of several workers one does it, the one that gets the
lock beside the index; where the index is in memory, each has its own to fill.
"""

import fcntl
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fileserve.storage.errors import StorageError
from fileserve.storage.names import Name
from fileserve.storage.walk import files_beneath
from fileserve.web.site import Site

log = logging.getLogger("fileserve.index")


async def index_all(site: Site, lock: Path | None) -> None:
    """Compute all digests that are not known, unless another worker holds *lock* and does."""
    with held(lock) as is_ours:
        if not is_ours:
            return
        counts = Counter([await _hash(site, name) async for name in files_beneath(site.root)])
        log.info("digests: %(new)d files hashed, %(known)d known before, %(unread)d could not be read", counts)


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


@contextmanager
def held(path: Path | None) -> Iterator[bool]:
    """Hold the lock *path* during the block; false where another process does."""
    if path is None:
        yield True
        return
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
