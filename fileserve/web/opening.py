"""Opens what a running application needs, and closes it in the end: root, bus, index of digests, archives and the rest.

The index is a file outside the served directory: the one that is set, or one in the user's cache directory (that of
systemd, XDG's, or ``~/.cache``), with a name made of the directory's path. Where none can be written it is in memory,
and the log says so: digests are then computed anew after a restart, and by each worker for itself. The log of events
lies beside the index; where that is in memory, as when the served directory holds the cache, in the runtime directory
(systemd's, or that of the user's session), which lasts until the machine restarts; else in memory as well.
"""

import asyncio
import hashlib
import logging
import os
import resource
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fileserve.settings import Settings, SettingsError
from fileserve.storage.archives.archive import Archives
from fileserve.storage.changes.changes import Changes
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.changes.uploads import Uploads
from fileserve.storage.checksums import Checksums
from fileserve.storage.errors import StorageError, Unreadable
from fileserve.storage.index import Index
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from fileserve.web.changes.forms import MOST_FILES
from fileserve.web.changes.handover import Handover
from fileserve.web.changes.joint import JointWork
from fileserve.web.changes.places import Places
from fileserve.web.changes.sweeping import end_expired, sweep_all
from fileserve.web.credentials import Credentials
from fileserve.web.digests.indexing import index_all
from fileserve.web.digests.summing import Summing
from fileserve.web.metrics.counts import SiteCounts
from fileserve.web.metrics.measuring import Measuring, Parts
from fileserve.web.readiness import Readiness
from fileserve.web.site import Site
from fileserve.web.streams.recording import recording
from fileserve.web.transfers.tracking import Tracking
from fileserve.web.workers.bus import open_bus

log = logging.getLogger("fileserve.index")

# Policy: three quarters of the descriptors are for connections and what they download, whatever forms are sent.
_SHARE_OF_FORMS = 4


@asynccontextmanager
async def open_site(settings: Settings, state: Mapping[str, Any]) -> AsyncIterator[Site]:
    """Open what *settings* ask for; close it when the block ends. *state* is the lifespan's (ASGI)."""
    root = Root(settings.root, hidden=settings.hidden)
    real_root = Path(os.fsdecode(root.real_path))
    index, path = open_index(settings, real_root)
    bus = open_bus(_place_of("events", path, real_root), max_rows=settings.event_rows)
    checksums = Checksums(
        index,
        at_once=settings.checksums,
        at_once_per_client=settings.checksums_per_client,
        settled_ms=settings.weak_etag_ms,
    )
    archives = Archives(
        root,
        checksums,
        max_members=settings.archive_members,
        builds=settings.archive_builds,
        cache_bytes=settings.archive_cache,
        portable=settings.etag == "portable",
    )
    summing = Summing(root, checksums)
    tracking = Tracking(bus, settings.resume_window, settings.accel_log)
    credentials = Credentials(settings.auth, settings.token)
    changes = Changes(root, within=_writable(settings))
    concatenations = JointWork[dict[str, str]]()
    places = Places(settings.uploads, settings.uploads_per_client, settings.retry_after)
    form_places = Places(_affordable_files(settings), MOST_FILES, settings.retry_after, "files in forms")
    asking_places = Places(settings.uploads, settings.uploads_per_client, settings.retry_after, "questions of uploads")
    uploads = Uploads(
        root,
        open_sessions(_place_of("uploads", path, real_root)),
        settings.upload_expiry,
        within=changes.within,
    )
    counts = SiteCounts()
    counted = _place_of("metrics", path, real_root)
    site = Site(
        settings,
        credentials,
        root,
        index,
        checksums,
        archives,
        summing,
        changes,
        uploads,
        Handover(bus, uploads),
        concatenations,
        places,
        form_places,
        asking_places,
        bus,
        tracking,
        counts,
        Readiness(root.check, index.check),
        Measuring(Parts(tracking, checksums, places, counts), state, counted and counted.with_suffix(".counts")),
    )
    background = _begin_background(site, path)
    try:
        with recording(bus):
            yield site
    finally:
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)
        await concatenations.close()
        await uploads.settle()
        credentials.close()
        await summing.close()
        archives.close()
        await checksums.close()
        await tracking.close()
        await site.measuring.close()
        await bus.close()
        uploads.close()
        index.close()
        root.close()


def _writable(settings: Settings) -> tuple[Name, ...]:
    """Return the directories beneath which files may be changed."""
    return tuple(tuple(os.fsencode(folder.removesuffix("/")).split(b"/")) for folder in settings.writable) or ((),)


def _affordable_files(settings: Settings) -> int:
    """Return how many files forms may hold open: what is set, but no more than a share of the descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(settings.form_files, soft // _SHARE_OF_FORMS))


def _begin_background(site: Site, place: Path | None) -> list[asyncio.Task[None]]:
    """Begin what goes on beside the requests; of several workers with one *place*, each is done by one."""

    def lock(ending: str) -> Path | None:
        return place.with_suffix(ending) if place is not None else None

    settings, uploads = site.settings, site.uploads
    work = [index_all(site, lock(".lock"))] if settings.index else []
    if settings.upload or uploads.are_open():  # they expire although none are taken any more
        work.append(sweep_all(site.root, uploads, lock(".sweep")))
        work.append(end_expired(site.root, uploads, settings.upload_expiry, lock(".expiry")))
    return [asyncio.ensure_future(one) for one in work]


def open_index(settings: Settings, real_root: Path) -> tuple[Index, Path | None]:
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
        index, path = open_index(settings, real_root)
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


def open_sessions(path: Path | None) -> Sessions:
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
