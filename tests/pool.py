"""Waiting for what goes on in the threads that change files."""

import threading

from fileserve import disk


def settle() -> None:
    """Wait until the pool has done what it was given: each of its four threads comes to one place."""
    place = threading.Barrier(4)
    for done in [disk.submit_change(place.wait, 10) for _ in range(4)]:
        done.result(10)
