"""``Known``: the digests of lately asked files in memory, so that a request for one of them waits for no thread.

That a file's digests are not known is remembered too, for some seconds: then another process may have found them.

Strategy: a table in the order of use, bounded; the file asked for longest ago goes. One thread uses it.

Left out: the index, which ``UNKNOWN`` says to ask.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal

from fileserve.storage.index import Digests, Identity

__all__ = ["UNKNOWN", "Known", "Unknown"]

_FILES = 4096
_MISS_S = 5.0


class Unknown(Enum):
    """The type of ``UNKNOWN``."""

    UNKNOWN = "unknown"


#: Neither digests nor their absence is remembered.
UNKNOWN: Final = Unknown.UNKNOWN


class Known:
    """Digests by the state of a file. *files* bounds it; *clock* tells seconds."""

    __slots__ = ("_clock", "_files", "_rows")

    def __init__(self, files: int = _FILES, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._rows: OrderedDict[Identity, Digests | float] = OrderedDict()  # a number: absent until then

    def find(self, identity: Identity) -> Digests | Literal[Unknown.UNKNOWN] | None:
        """Return the digests, ``None`` when they are known to be absent, or ``UNKNOWN``."""
        row = self._rows.get(identity)
        if row is None:
            return UNKNOWN
        self._rows.move_to_end(identity)
        if isinstance(row, Digests):
            return row
        return None if self._clock() < row else UNKNOWN

    def remember(self, identity: Identity, digests: Digests | None) -> None:
        """Keep *digests*, or their absence. Absence does not replace digests, nor do fewer digests more of them."""
        old = self._rows.get(identity)
        if isinstance(old, Digests) and (digests is None or (old.sha512 and not digests.sha512)):
            return
        self._rows[identity] = digests or self._clock() + _MISS_S
        self._rows.move_to_end(identity)
        if len(self._rows) > self._files:
            self._rows.popitem(last=False)
