"""What is left of uploads is deleted, by one worker, behind everybody's back: after a crash, and when time is over.

Once after the start all directories are looked through; from then on, sessions that expire are ended as they do.
All are looked through again when what the start found too young is old enough, and when the file of an expired session
is not where it belongs: somebody has moved its directory.
"""

import asyncio
import logging
import math
import time
from pathlib import Path

from fileserve import disk
from fileserve.storage.changes.sweep import sweep
from fileserve.storage.changes.uploads import Uploads
from fileserve.storage.errors import StorageError
from fileserve.storage.root import Root
from fileserve.web.workers.holding import held

log = logging.getLogger("fileserve.uploads")

_PAUSES = 10  # in the time that a session lasts
_LONGEST_PAUSE_S = 600.0
_SHORTEST_PAUSE_S = 0.2


async def sweep_all(root: Root, uploads: Uploads, lock: Path | None) -> None:
    """Sweep everything beneath *root*, unless another worker holds *lock* and does. Ends soon when it is cancelled."""
    try:
        with held(lock) as is_ours:
            if is_ours:
                await _sweep(root, uploads)
    except OSError as error:
        log.warning("what is left of uploads was not looked for: %s", error)


async def end_expired(root: Root, uploads: Uploads, lifetime_s: float, lock: Path | None) -> None:
    """End the sessions that expire, in whichever worker holds *lock* at the time. Ends only when it is cancelled."""
    pause_s = min(_LONGEST_PAUSE_S, max(_SHORTEST_PAUSE_S, lifetime_s / _PAUSES))
    sweeps_at_s = time.monotonic() + lifetime_s + pause_s
    is_failing = False
    while True:
        try:
            with held(lock) as is_ours:
                if is_ours:
                    is_due = time.monotonic() > sweeps_at_s
                    if await _end_expired(uploads) or is_due:
                        sweeps_at_s = math.inf if is_due else sweeps_at_s
                        await _sweep(root, uploads)
        except OSError as error:  # descriptors are short, or somebody has cleared the directory of the lock
            if not is_failing:
                log.warning("uploads that expire wait for their end: %s", error)
            is_failing = True
        else:
            is_failing = False
        await asyncio.sleep(pause_s)


async def _sweep(root: Root, uploads: Uploads) -> None:
    is_wanted = True
    try:
        count = await disk.run_change(sweep, root, lambda: is_wanted, uploads.is_left)
    except StorageError as error:
        log.warning("what is left of uploads was not all deleted: %s", error)
    else:
        if count:
            log.info("%d files deleted that were left of uploads", count)
    finally:
        is_wanted = False


async def _end_expired(uploads: Uploads) -> bool:
    """Return whether a session's file may be somewhere else."""
    try:
        count, lost = await disk.run_change(uploads.end_expired)
    except StorageError as error:
        log.warning("uploads that have expired were not all deleted: %s", error)
        return False
    if count:
        log.info("%d uploads have expired", count)
    return bool(lost)
