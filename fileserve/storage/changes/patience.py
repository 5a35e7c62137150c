"""``patiently``: waits for a directory that somebody else has locked, without a thread that waits.

Few threads make all changes. One that waited for the lock of a directory, which another program may hold for as long
as it likes, would hold up what is changed in all the others; so a thread waits for a moment, and comes again.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from fileserve import disk
from fileserve.storage.errors import Occupied

__all__ = ["patiently"]

T = TypeVar("T")

# Policy: who waits for longer than it takes to give a thousand names is told to come again.
_PATIENCE_S = 10.0
_PAUSE_S = 0.05


async def patiently(function: Callable[..., T], *args: object) -> T:
    """Run a call that changes files, again and again while its directory is ``Occupied``, and return its result.

    Raises what it raises; ``Occupied`` when that takes too long.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return await disk.run_change(function, *args)
        except Occupied:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(_PAUSE_S)
