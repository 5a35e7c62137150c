"""The machine that is measured on: its processors and who gets which, its versions, its disturbances.

The server has the first processor that this process may use and everything else the last one. Unpinned, figures are
bimodal: where both land on one processor, the hand-over is in a hot cache. With one processor both share it, and the
report says so.
"""

import os
import platform
import re
import subprocess
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil

import fileserve

QUICK = bool(os.environ.get("QUICK"))
PROCESSORS = tuple(sorted(os.sched_getaffinity(0)))
SERVER, CLIENT = PROCESSORS[0], PROCESSORS[-1]
Number = TypeVar("Number", int, float)
PACKAGES = ("uvicorn", "httptools", "uvloop", "starlette", "fastapi", "aiofiles")


def choose(full: Number, quick: Number) -> Number:
    """Return the number for this run: *full*, or *quick* where ``QUICK`` is set in the environment."""
    return quick if QUICK else full


def pin(processor: int) -> None:
    """Keep this process, and what it starts from now on, on one processor."""
    os.sched_setaffinity(0, {processor})


@contextmanager
def pinned(processor: int) -> Iterator[None]:
    """Start child processes on *processor* for the length of the block."""
    before = os.sched_getaffinity(0)
    pin(processor)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def steal_s() -> float:
    """Return the seconds that the hypervisor has withheld from this machine so far, of all processors."""
    return float(psutil.cpu_times().steal)


def busy_s() -> float:
    """Return the seconds for which processors have not been idle so far, of all processes and of the kernel itself."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def idle_s(processor: int) -> float:
    """Return the seconds for which *processor* has had nothing to do so far."""
    for name, *ticks in map(str.split, Path("/proc/stat").read_text().splitlines()):
        if name == f"cpu{processor}":
            return (int(ticks[3]) + int(ticks[4])) / os.sysconf("SC_CLK_TCK")  # idle, and idle while a disk works
    raise LookupError(f"no line for processor {processor} in /proc/stat")


def describe() -> list[str]:
    """Return lines on the hardware, the system and who runs where."""
    memory_gib = psutil.virtual_memory().total / 2**30
    placed = f"server on processor {SERVER}, clients on processor {CLIENT}"
    return [
        f"{len(PROCESSORS)} processors: {_processor_model()}; {memory_gib:.0f} GiB memory",
        f"{platform.system()} {platform.release()}, {_virtualization()}",
        placed if SERVER != CLIENT else "one processor, shared by server and client: figures do not compare",
        "load average at the start " + ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    ]


def versions() -> list[str]:
    """Return the version of everything that takes part."""
    python = f"Python {platform.python_version()} ({_object_ns():.0f} ns for an object and a call of it)"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    tools = (_first_line("nginx", "-v"), _first_line("wrk", "-v"), _first_line("openssl", "version"))
    return [f"fileserve {fileserve.__version__}, {python}, {packages}", "; ".join(filter(None, tools))]


def _object_ns() -> float:
    """Return how fast this Python is: of two builds of one version, one may take twice as long as the other."""

    class Thing:
        def __init__(self, value: int) -> None:
            self.value = value

        def get(self) -> dict[str, int]:
            return {"value": self.value}

    made = 100_000
    return 1e9 * min(timeit.repeat(lambda: Thing(1).get(), number=made, repeat=5)) / made


def _processor_model() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _virtualization() -> str:
    is_guest = " hypervisor " in Path("/proc/cpuinfo").read_text()
    return "a virtual machine" if is_guest else "no hypervisor seen"


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {command[0]}"
    return (done.stdout or done.stderr).partition("\n")[0]
