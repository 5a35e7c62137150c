"""The background pass (``--index``): once after the start, each file whose digest is not known is hashed.

One file after another at low priority, with pauses that keep the average to ``--index-rate``. Of several workers one
does it, the one that gets the lock beside the index; where the index is in memory, each has its own to fill.
"""

import asyncio
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fileserve.storage.checksums import Checksums
from fileserve.storage.errors import Busy, StorageError
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.web.site import Site
from fileserve.web.sums import files_of

log = logging.getLogger("fileserve.index")

BUSY_S = 1.0  # until a full queue is asked again


async def index_all(site: Site, lock: Path | None) -> None:
    """Have all digests computed that are not known, unless another worker holds *lock* and does."""
    with _held(lock) as is_ours:
        if not is_ours:
            return
        try:
            tree = await site.archives.tree(())
        except StorageError as error:
            log.warning("no digests are computed in the background: %s", error)
            return
        hashed = 0
        for member in files_of(tree):
            if await site.checksums.find(tree.status(member)) is None:
                hashed += await _hash(site, tree.path(member))
        log.info("digests computed in the background: %d", hashed)


async def _hash(site: Site, name: Name) -> bool:
    """Queue one file, and pause for as long as the rate asks."""
    try:
        opened = await site.root.open(name)
    except StorageError:  # it is gone, or may not be read
        return False
    try:
        while not _is_taken(site.checksums, opened):  # noqa: ASYNC110  nobody tells when it is worth asking again
            await asyncio.sleep(BUSY_S)
    finally:
        opened.close()
    await asyncio.sleep(opened.status.size / site.settings.index_rate)
    return True


def _is_taken(checksums: Checksums, opened: OpenFile) -> bool:
    try:
        checksums.request(opened)
    except Busy:
        return False
    return True


@contextmanager
def _held(path: Path | None) -> Iterator[bool]:
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
