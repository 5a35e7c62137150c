"""Small requests by ``wrk``, which asks faster than Python can; without it, by our own client."""

import os
import re
import shutil
import subprocess
import time

from benchmarks import client
from benchmarks.client import Address

CONNECTIONS = 32


def is_installed() -> bool:
    """Return whether the program is there."""
    return shutil.which("wrk") is not None


def requests_per_s(address: Address, url: str, head: bytes, seconds: int) -> tuple[float, float]:
    """Return the rate of whole answers on 32 connections that are kept alive, and how busy the client was (0 to 1)."""
    if not is_installed():
        seen = client.repeat(address, head, CONNECTIONS, seconds)
        return seen.answers / seen.elapsed_s, seen.busy
    begin_s, begin_cpu_s = time.perf_counter(), _children_cpu_s()
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    busy = (_children_cpu_s() - begin_cpu_s) / (time.perf_counter() - begin_s)
    return _read_rate(said), busy


def _children_cpu_s() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def _read_rate(said: str) -> float:
    found = re.search(r"^Requests/sec:\s+([\d.]+)$", said, re.MULTILINE)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise client.WrongAnswer(said)
    return float(found[1])
