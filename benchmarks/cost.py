"""What a server costs: processor time and memory of its whole process tree.

Processor time is each process's own clock, read from outside (``clock_getcpuclockid``): nanoseconds, all threads,
those that have ended included. ``/proc/PID/stat`` counts in steps of 10 ms, and ``schedstat`` forgets ended threads.
Work that the kernel does for a server in threads of its own, or in the time of others, is not seen. With loopback that
is next to nothing, unless it is acknowledgements that send, as under bbr: see `network`. What the kernel does in an
interrupt counts for whoever it has interrupted, but not where it keeps such time apart (CONFIG_IRQ_TIME_ACCOUNTING).

Memory is resident memory, and its peak as the kernel has kept it since the last reset: no sampling can miss it.
"""

import re
import time
from pathlib import Path

import psutil

_RESET_PEAK = "5"  # written to /proc/PID/clear_refs, see proc(5)
KIB = 1024


def processes(pid: int) -> list[int]:
    """Return the process *pid* and all that descend from it."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time that the tree of *pid* has used; children that have ended are not in it."""
    return sum(time.clock_gettime(_cpu_clock(process)) for process in processes(pid))


def _cpu_clock(pid: int) -> int:
    """Return the clock of another process, as the C library's ``clock_getcpuclockid`` does, which Python lacks."""
    per_process_scheduled = 2
    return (~pid << 3) | per_process_scheduled


def resident(pid: int) -> int:
    """Return the resident memory of the tree in bytes."""
    return sum(_status(process, "VmRSS") for process in processes(pid))


def peak_resident(pid: int) -> int:
    """Return the largest resident memory since `reset_peak` in bytes: the sum of each process's own peak."""
    return sum(_status(process, "VmHWM") for process in processes(pid))


def reset_peak(pid: int) -> None:
    """Begin anew with the peak."""
    for process in processes(pid):
        Path(f"/proc/{process}/clear_refs").write_text(_RESET_PEAK)


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{name} of process {pid}")
    return int(found[1]) * KIB
