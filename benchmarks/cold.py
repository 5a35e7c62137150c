"""A file that is not in the page cache, on a disk of a known speed.

The disk is slowed down for a server by the kernel's control groups (version 1: blkio, version 2: io), where this user
may make one; elsewhere it is taken as it is, and the report says so.
"""

import ctypes
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import cost

MB = 1_000_000
EVICTION_S = 10
NEGLIGIBLE = 0.01
CONTROL_GROUPS = Path("/sys/fs/cgroup")
GROUP = f"fileserve-benchmark-{os.getpid()}"


def evict(path: Path) -> None:
    """Drop *path* from the page cache, written back before, because dirty pages would stay.

    Pages that are being read at this moment stay as well: it is tried until they are gone.

    Raises:
        RuntimeError: some of it stays.
    """
    end = time.monotonic() + EVICTION_S
    while (cached := _evict_once(path)) > NEGLIGIBLE:
        if time.monotonic() > end:
            raise RuntimeError(f"{cached:.0%} of {path.name} stays in the page cache")
        time.sleep(0.1)


def _evict_once(path: Path) -> float:
    """Return which part is left."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return resident_part(path)


def warm(path: Path) -> None:
    """Bring *path* into the page cache.

    Raises:
        RuntimeError: it does not stay there: this machine has too little memory for these figures.
    """
    if resident_part(path) < 1 - NEGLIGIBLE:
        with path.open("rb", buffering=0) as file:
            while file.read(16 * MB):
                pass
    cached = resident_part(path)
    if cached < 1 - NEGLIGIBLE:
        raise RuntimeError(f"only {cached:.0%} of {path.name} stays in the page cache; it needs that much free memory")


def resident_part(path: Path) -> float:
    """Return which part of a file of ours is in the page cache.

    By mincore(2), which only looks. A read that may not wait (``RWF_NOWAIT``) brings in what it has not found.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        begin = ctypes.c_char.from_buffer(mapped)
        address, length = ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(mapped))
        failed = ctypes.CDLL(None, use_errno=True).mincore(address, length, pages)
        del begin  # or the mapping could not be closed
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return sum(page & 1 for page in bytes(pages)) / len(pages)


@contextmanager
def slowed(pid: int, path: Path, rate: int) -> Iterator[bool]:
    """Let the tree of *pid* read from the disk of *path* at *rate* bytes a second; yield whether that could be done.

    The processes must have ended when the block ends: a control group that is not empty cannot be removed.
    """
    group = _make_group(_device(path), rate)
    try:
        if group is not None:
            for process in cost.processes(pid):
                (group / "cgroup.procs").write_text(str(process))
        yield group is not None
    finally:
        if group is not None:
            _leave(group)


def _make_group(device: str, rate: int) -> Path | None:
    limits = {
        CONTROL_GROUPS / "blkio" / GROUP: ("blkio.throttle.read_bps_device", f"{device} {rate}"),
        CONTROL_GROUPS / GROUP: ("io.max", f"{device} rbps={rate}"),
    }
    for group, (file, limit) in limits.items():
        if not (group.parent / "cgroup.procs").exists():
            continue
        try:
            group.mkdir()
            (group / file).write_text(limit)
            return group
        except OSError:
            with suppress(OSError):
                group.rmdir()
    return None


def _leave(group: Path) -> None:
    for pid in (group / "cgroup.procs").read_text().split():
        (group.parent / "cgroup.procs").write_text(pid)
    group.rmdir()


def _device(path: Path) -> str:
    """Return the numbers of the whole disk that holds *path*: limits are not for partitions."""
    number = os.stat(path).st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    whole = device.parent if (device / "partition").exists() else device
    return (whole / "dev").read_text().strip() if (whole / "dev").exists() else "0:0"
