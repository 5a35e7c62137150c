"""Waiting for what goes on in the threads that change files."""

import threading

from fileserve import disk


def settle(*, held: int = 0) -> None:
    """Wait until the pool has done what it was given: each of its four threads comes to one place, but those *held*."""
    threads = 4 - held
    place = threading.Barrier(threads)
    for done in [disk.submit_change(place.wait, 10) for _ in range(threads)]:
        done.result(10)
