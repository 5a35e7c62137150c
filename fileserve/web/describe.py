"""From what ``stat`` knows of a file to what is said of it: in HTTP (validators, media type, name) and to people."""

import mimetypes
from datetime import datetime
from functools import lru_cache
from typing import Literal

from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag, moment_of
from fileserve.settings import Settings
from fileserve.storage.names import Name
from fileserve.storage.reader import FileStatus, OpenFile

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

mimetypes.init()  # reads the system's tables now, not under the first request

_COMPRESSED = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
}


def describe(opened: OpenFile, name: Name, settings: Settings, now_ns: int) -> Representation:
    """Return the representation that the open file *name* is at *now_ns* (nanoseconds since 1970)."""
    return represent(opened.status, name[-1], settings.etag, now_ns - settings.weak_etag_ms * NS_PER_MS)


def represent(
    status: FileStatus, component: bytes, etag_made_of: Literal["inode", "portable"], settled_before_ns: int
) -> Representation:
    """Return the representation that a file in this state is, called *component*. The rest is `entity_tag`'s."""
    return Representation(
        length=status.size,
        etag=entity_tag(status, etag_made_of, settled_before_ns),
        last_modified_s=status.mtime_ns // NS_PER_S,
        media_type=media_type(component),
        filename=filename_of(component),
    )


def filename_of(component: bytes) -> str:
    """Return a name's component as a `Representation` has it: bytes that are no UTF-8 as surrogate escapes."""
    return component.decode("utf-8", "surrogateescape")


def entity_tag(status: FileStatus, made_of: Literal["inode", "portable"], settled_before_ns: int) -> EntityTag:
    """Return the entity tag of a file in this state (RFC 9110 §8.8.3).

    Policy: no ctime, because a hard link or a chmod must not cost a resume; no device number, because it changes over
    a reboot. A file that was changed at or after *settled_before_ns* may change once more within the clock's
    granularity and keep its mtime: its tag is weak and has another text, so that nothing is resumed by it.
    """
    identity = f"{status.inode:x}-" if made_of == "inode" else ""
    opaque = f"{identity}{status.size:x}-{status.mtime_ns:x}"
    return EntityTag(opaque) if status.ctime_ns < settled_before_ns else EntityTag(opaque + "-new", weak=True)


@lru_cache(maxsize=4096)
def media_type(file_name: bytes) -> str:
    """Return the media type that a file's name stands for, ``application/octet-stream`` where it says nothing.

    A compressed file is of its compressed type: ``.tar.gz`` is a gzip file, not a tar file with a content coding.
    Policy: text is announced as UTF-8, which nearly all text is; without a charset browsers guess an older one.
    """
    guessed, coding = mimetypes.guess_type("./" + file_name.decode("latin-1"), strict=False)
    if coding is not None:
        return _COMPRESSED.get(coding, "application/octet-stream")
    if guessed is None:
        return "application/octet-stream"
    return guessed + "; charset=utf-8" if guessed.startswith("text/") else guessed


def modified(mtime_ns: int) -> datetime:
    """Return a modification time in UTC, to the second."""
    return moment_of(mtime_ns // NS_PER_S)


def readable_size(size: int) -> str:
    """Return *size* bytes in binary units, with three figures at the most.

    >>> readable_size(999), readable_size(1536), readable_size(8 * 2**30)
    ('999 B', '1.5 KiB', '8 GiB')
    """
    amount, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if amount < 1000 or unit == "PiB":
            break
        amount /= 1024
    figures = f"{amount:.0f}" if amount >= 100 or unit == "B" else f"{amount:.1f}".removesuffix(".0")
    return f"{figures} {unit}"
