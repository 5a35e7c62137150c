"""A newcomer: how long one request, on a connection of its own, waits for its first byte.

The clock starts before the connection is made. The prober runs with real-time priority where it may, so that it
measures the server and not its wait for the processor that it shares with the load.
"""

import os
import socket
import time

from benchmarks.client import Address, WrongAnswer


def probe(address: Address, head: bytes, seconds: float, interval_s: float) -> list[float]:
    """Return the seconds to first byte of requests that follow one another at *interval_s*, or later if they wait.

    Each leaves when it has its first bytes: of a large file, that is an aborted download.
    """
    hurry()
    waits = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        waits.append(first_byte(address, head))
        due = now + interval_s
        time.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
    return waits


def hurry() -> bool:
    """Take the processor whenever there is something to do; return whether that is permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def first_byte(address: Address, head: bytes) -> float:
    """Return the seconds to the first bytes of the answer to *head*, on a connection of its own."""
    begin = time.perf_counter()
    with socket.create_connection(address) as sock:
        sock.sendall(head)
        first = sock.recv(64)
        wait = time.perf_counter() - begin
    if not first.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
        raise WrongAnswer(first.decode("latin-1"))
    return wait


def quantile(values: list[float], part: float) -> float:
    """Return the value that *part* of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def count_missed(waits: list[float], interval_s: float) -> list[float]:
    """Add the waits of those who would have come while one was waiting, had they not queued behind it.

    Without them, a server that stands still for a second is seen once, where 500 newcomers would have seen it.
    """
    all_waits = list(waits)
    for wait in waits:
        missed = wait - interval_s
        while missed > 0:
            all_waits.append(missed)
            missed -= interval_s
    return all_waits
