"""What becomes of a symbolic link in an archive: a link, the file that it leads to, or nothing.

Policy: a link is archived as a link only where it cannot lead out of the folder that is unpacked: its target is
relative, ``..`` stands only at its beginning and climbs no higher than the archived directory, every component on
the way is a real directory, and what it names is a member; where that is a link again, the same holds for that one. A
``..`` behind another component is not believed, because that component may become a link.

Policy: any other link that Root follows to a regular file is archived as that file: datasets keep their blobs beside
the folder, and a download of the link gives the same bytes. The rest is left out.
"""

import os
import stat
from collections.abc import Callable
from enum import Enum

from fileserve.storage.descent import status_inside
from fileserve.storage.errors import InvalidName, LinkLoop, NotDirectory, NotFound, OutsideRoot
from fileserve.storage.names import Name
from fileserve.storage.root import Root

__all__ = ["Fate", "follow", "judge"]

MAX_HOPS = 40  # as many as the kernel follows

Admits = Callable[[Name, bool], bool]


class Fate(Enum):
    """What is archived in the place of a link."""

    LINK = "link"
    FILE = "file"
    NOTHING = "nothing"


def follow(root: Root, name: Name) -> os.stat_result | None:
    """Return the status of what the link *name* leads to; ``None``: nothing that Root serves. Blocks.

    Raises ``NotPermitted``, ``Busy`` or ``Unreadable`` when that cannot be told.
    """
    try:
        return root.status(name)
    except (NotFound, OutsideRoot, LinkLoop, NotDirectory, InvalidName):
        return None


def judge(top: int, path: Name, target: bytes, led: os.stat_result, admits: Admits) -> Fate:
    """Return what becomes of the link *path* below the directory *top*, with the text *target*. Blocks.

    *led* is the status of what it leads to in the end; *admits* tells whether a path is a member, given whether it is
    a directory's.
    """
    is_directory = stat.S_ISDIR(led.st_mode)
    if (is_directory or stat.S_ISREG(led.st_mode)) and _stays_inside(top, path, target, admits, is_directory):
        return Fate.LINK
    return Fate.FILE if stat.S_ISREG(led.st_mode) else Fate.NOTHING


def _stays_inside(top: int, path: Name, target: bytes | None, admits: Admits, is_directory: bool) -> bool:
    for _ in range(MAX_HOPS):
        if target is None:
            return True
        led = _resolve(path[:-1], target)
        if led is None or not admits(led, is_directory):
            return False
        if not led:
            return True
        path = led
        try:
            target = status_inside(top, path)[1]
        except OSError:
            return False
    return False


def _resolve(way: Name, target: bytes) -> Name | None:
    """Return where *target* leads from the real directory *way*; ``None``: not surely beneath the top."""
    if target.startswith(b"/"):
        return None
    components = tuple(component for component in target.split(b"/") if component not in (b"", b"."))
    climbs = next((at for at, component in enumerate(components) if component != b".."), len(components))
    if climbs > len(way) or b".." in components[climbs:]:
        return None
    return way[: len(way) - climbs] + components[climbs:]
