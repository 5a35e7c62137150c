"""Blocking disk work away from the event loop, and the question whether it would block at all.

A read from a disk may take milliseconds, and an event loop that waits for it makes every client wait. So what
may block runs in one pool of threads for the whole process, and what the page cache already holds is read at once:
``preadv2`` with ``RWF_NOWAIT`` (Linux 4.14) answers from memory or not at all.

What changes files has a second, smaller pool, of low priority: a disk takes seconds to make a large upload durable, and
nobody who reads should wait behind that.

The pools start their threads when they are first needed, and a forked child begins with pools of its own. Whoever
waits may leave: a job that has not begun is dropped, a job that runs ends in its thread. A job therefore must not
depend on its caller still being there, and a result that has to be closed needs ``discard``. One that others build on
is waited for by ``ended``, which drops nothing.

Left out: any knowledge of files beyond a descriptor. The interpreter waits for running jobs when it exits.
"""

import asyncio
import errno
import io
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

__all__ = [
    "CAN_PROBE",
    "ended",
    "give_way",
    "is_resident",
    "read_resident",
    "run",
    "run_change",
    "submit",
    "submit_change",
]

P = ParamSpec("P")
T = TypeVar("T")

# Policy: eight threads keep a few disks busy; more of them only take the interpreter's lock from the event loop.
_THREADS = 8
_CHANGING_THREADS = 4
# Policy: uploads are hashed and copied for as long as they come, and would take the processor from the event loop; so
# they get what is left of it. Where eight of them keep a core busy, others wait a seventh as long for their first byte.
_NICE = 10


def give_way() -> None:
    """Let this thread go after those of the usual priority, whatever that is, where a thread has one of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _new_pools() -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
    reading = ThreadPoolExecutor(_THREADS, thread_name_prefix="disk")
    return reading, ThreadPoolExecutor(_CHANGING_THREADS, "disk-changes", initializer=give_way)


_pool, _changing_pool = _new_pools()


def _forget_pools() -> None:
    """Replace the pools in a forked child, where their threads no longer exist."""
    global _pool, _changing_pool
    _pool, _changing_pool = _new_pools()


os.register_at_fork(after_in_child=_forget_pools)


def submit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Hand a blocking call to the pool and return its future, for callers that do not wait with ``await``."""
    return _pool.submit(function, *args, **kwargs)


def submit_change(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
    """Hand a call that changes files to the pool for those, and return its future."""
    return _changing_pool.submit(function, *args, **kwargs)


async def run(function: Callable[..., T], *args: object, discard: Callable[[T], object] | None = None) -> T:
    """Run a blocking call in the pool and return its result, or raise what it raises.

    When the waiting task is cancelled, a call that has not begun is dropped, and one that runs ends in its thread.
    *discard* then takes the result that nobody waits for any more (in the pool's thread or the loop's), so that
    a descriptor opened for a client who left is closed.
    """
    return await _result_of(submit(function, *args), discard)


async def run_change(function: Callable[..., T], *args: object, discard: Callable[[T], object] | None = None) -> T:
    """Do what ``run`` does, in the pool for what changes files."""
    return await _result_of(submit_change(function, *args), discard)


async def ended(job: Future[T]) -> None:
    """Wait until a job has ended, however; the job itself says how.

    It is not dropped when the waiting task is cancelled: whoever has the job can still wait for it.
    """
    waiting = asyncio.wrap_future(job)
    waiting.add_done_callback(_see)
    await asyncio.wait((waiting,))  # awaiting the future itself would cancel it with the task, and the job with that


def _see(done: asyncio.Future[T]) -> None:
    """Look at how a job has ended; else a fault that nobody waits for any more would be logged as never retrieved."""
    if not done.cancelled():
        done.exception()


async def _result_of(future: Future[T], discard: Callable[[T], object] | None) -> T:
    try:
        return await asyncio.wrap_future(future)
    except BaseException:
        if discard is not None:
            future.add_done_callback(lambda done: _discard_result(done, discard))
        raise


def _discard_result(future: Future[T], discard: Callable[[T], object]) -> None:
    if not future.cancelled() and future.exception() is None:
        discard(future.result())


def _probe_kernel() -> bool:
    """Try a non-waiting read on a file in memory: old kernels and sandboxes refuse the call itself."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    try:
        fd = os.memfd_create("probe")
    except OSError:
        return False
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EOPNOTSUPP)  # this file system declines; others may not
    finally:
        os.close(fd)
    return True


#: Whether the kernel takes non-waiting reads. A file system that does not is answered for by "not resident".
CAN_PROBE: bool = _probe_kernel()


def is_resident(fd: int, offset: int) -> bool:
    """Tell whether the byte at *offset* can be read without waiting for the disk.

    True also at and beyond the end of the file, where there is nothing to wait for. False where the system cannot
    tell, and where reading fails: the read in a thread then reports why.
    """
    if not CAN_PROBE:
        return False
    try:
        os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError:
        return False
    return True


def read_resident(fd: int, offset: int, count: int) -> bytes | None:
    """Return the *count* bytes at *offset* if all of them are in the page cache, without ever waiting for the disk.

    Fewer than *count* bytes mean that the file ends there. ``None`` means "read it in a thread": some of the bytes
    are not in memory, the system cannot tell, or reading fails. Each call returns a buffer of its own: a transport
    may keep a reference to it while it sends.
    """
    if not CAN_PROBE:
        return None
    # A bytes object is made once and filled through its buffer; bytes(bytearray) would copy, and beyond the allocator's
    # 128 KiB threshold that copy costs more than the read itself.
    sheet = io.BytesIO(bytes(count))
    with sheet.getbuffer() as view:
        try:
            taken = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
        except OSError:
            return None
    if taken == count:
        return sheet.getvalue()
    return sheet.getvalue()[:taken] if _ends_at(fd, offset + taken) else None


def _ends_at(fd: int, offset: int) -> bool:
    """Tell an end of file from a page that is missing, after a short read up to *offset*; fstat might wait."""
    try:
        return os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT) == 0
    except OSError:
        return False
