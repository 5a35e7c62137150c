"""Opens what a running application keeps on disks: served root, index of digests, sessions of uploads, log of events.

The index is a file outside the served directory: the one that is set, or one in the user's cache directory (that of
systemd, XDG's, or ``~/.cache``), with a name made of the directory's path. Where none can be written it is in memory,
and the log says so: digests are then computed anew after a restart, and by each worker for itself. The log of events
lies beside the index; where that is in memory, as when the served directory holds the cache, in the runtime directory
(systemd's, or that of the user's session), which lasts until the machine restarts; else in memory as well.
"""

import hashlib
import logging
import os
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from fileserve.settings import Settings, SettingsError
from fileserve.storage.changes.changes import Changes
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.uploads import Uploads
from fileserve.storage.errors import StorageError, Unreadable
from fileserve.storage.index import Index
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from fileserve.web.readiness import Readiness
from fileserve.web.workers.bus import Bus, open_bus

__all__ = ["Stores", "check_sessions", "open_stores"]

log = logging.getLogger("fileserve.index")


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, and whether it can be read and written.

    *place* is that of the index, beside which workers lock what one of them does; ``None``: it is in memory.
    """

    root: Root
    changes: Changes
    uploads: Uploads
    index: Index
    place: Path | None
    bus: Bus
    counts_place: Path | None
    readiness: Readiness


def open_stores(opened: AsyncExitStack, settings: Settings) -> Stores:
    """Open what *settings* ask for; *opened* closes it."""
    root = Root(settings.root, hidden=settings.hidden)
    opened.callback(root.close)
    real_root = Path(os.fsdecode(root.real_path))
    index, place = _open_index(settings, real_root)
    opened.callback(index.close)
    changes = Changes(root, within=_writable(settings))
    sessions = _open_sessions(_place_of("uploads", place, real_root))
    uploads = Uploads(root, sessions, settings.upload_expiry, within=changes.within)
    opened.callback(uploads.close)
    bus = open_bus(_place_of("events", place, real_root), max_rows=settings.event_rows)
    opened.push_async_callback(bus.close)
    counts = _place_of("metrics", place, real_root)
    counts_place = counts and counts.with_suffix(".counts")
    return Stores(root, changes, uploads, index, place, bus, counts_place, Readiness(root.check, index.check))


def _writable(settings: Settings) -> tuple[Name, ...]:
    """Return the directories beneath which files may be changed."""
    return tuple(tuple(os.fsencode(folder.removesuffix("/")).split(b"/")) for folder in settings.writable) or ((),)


def _open_index(settings: Settings, real_root: Path) -> tuple[Index, Path | None]:
    """Return the index in the first place where one can be written, and that place; else one in memory."""
    for path in _places(settings, real_root):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Index(path, max_rows=settings.index_rows), path
        except (OSError, StorageError) as error:
            log.warning("digests cannot be kept in %s: %s", path, error.__cause__ or error)
    log.warning("digests are kept in memory only; --index-file names a place for them")
    return Index(None, max_rows=settings.index_rows), None


def _places(settings: Settings, real_root: Path) -> list[Path]:
    if settings.index_file is not None:
        return [settings.index_file.resolve()]
    places = [place / _name("digests", real_root) for place in _cache_places()]
    return [place for place in places if not place.is_relative_to(real_root)]


def check_sessions(settings: Settings) -> None:
    """Raise `SettingsError` where uploads could not go on: each of several workers would know only its own."""
    root = Root(settings.root, hidden=settings.hidden)
    try:
        real_root = Path(os.fsdecode(root.real_path))
        index, path = _open_index(settings, real_root)
        index.close()
        place = _place_of("uploads", path, real_root)
        if place is None:
            raise Unreadable
        Sessions(place).close()
    except StorageError:
        raise SettingsError(
            "--upload with --workers needs a file that all workers can write, and the user's cache directory has no "
            "place for one; --index-file names one outside the served directory"
        ) from None
    finally:
        root.close()


def _open_sessions(path: Path | None) -> Sessions:
    """Return the sessions of uploads in *path*; in memory where that cannot be written, each worker its own."""
    if path is None:
        log.warning("sessions of uploads are kept in memory only; --index-file names a place for them")
    try:
        return Sessions(path)
    except StorageError as error:
        log.warning("sessions of uploads cannot be kept in %s: %s", path, error.__cause__ or error)
        return Sessions(None)


def _place_of(kind: str, index: Path | None, real_root: Path) -> Path | None:
    """Return where the log of events or the sessions of uploads are to be, which all workers find alike."""
    runtime = [Path(os.environ[key]) for key in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR") if os.environ.get(key)]
    places = [index.parent] if index else [(directory / "fileserve").resolve() for directory in runtime]
    return next((place / _name(kind, real_root) for place in places if not place.is_relative_to(real_root)), None)


def _cache_places() -> list[Path]:
    caches = [Path(os.environ[key]) for key in ("CACHE_DIRECTORY", "XDG_CACHE_HOME") if os.environ.get(key)]
    with suppress(RuntimeError):  # there is no home
        caches.append(Path.home() / ".cache")
    return [(cache / "fileserve").resolve() for cache in caches]


def _name(kind: str, real_root: Path) -> str:
    return f"{kind}-{hashlib.sha256(os.fsencode(real_root)).hexdigest()[:16]}.sqlite"
