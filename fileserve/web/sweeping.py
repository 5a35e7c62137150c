"""After the start, what a crash has left of uploads is deleted: once, by one worker, behind everybody's back."""

import logging
from pathlib import Path

from fileserve import disk
from fileserve.storage.errors import StorageError
from fileserve.storage.root import Root
from fileserve.storage.sweep import sweep
from fileserve.web.indexing import held

log = logging.getLogger("fileserve.uploads")


async def sweep_all(root: Root, lock: Path | None) -> None:
    """Sweep everything beneath *root*, unless another worker holds *lock* and does. Ends soon when it is cancelled."""
    is_wanted = True
    with held(lock) as is_ours:
        if not is_ours:
            return
        try:
            count = await disk.run_change(sweep, root, lambda: is_wanted)
        except StorageError as error:
            log.warning("what is left of uploads was not all deleted: %s", error)
        else:
            if count:
                log.info("%d files deleted that were left of uploads", count)
        finally:
            is_wanted = False
