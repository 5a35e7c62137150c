"""``Kept``: the counts of one worker in a file, where the others find them, and which a later worker goes on with.

Counters must not fall when a worker ends, is renewed or killed: whoever reads them would take that for a restart. So a
worker takes the first place in the directory that nobody holds, and adds what it counts to what the last holder has
left there. Nothing is ever folded or thrown away, so no crash can count twice, and there are no more files than there
were workers at once. The kernel takes the lock on a place back, however its holder ends.

A file is replaced as a whole, so readers need no lock. Where the directory is deleted under its workers, each takes a
place anew and begins with what it knows. Left out: what the numbers mean, and when they are written.
"""

import fcntl
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from fileserve.web.workers.holding import take

__all__ = ["Kept", "Numbers", "Snapshot", "add"]

#: By family, and in it by what tells one number from another.
Numbers = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one worker has counted, and how it stands; *gauges* are empty where it lives no more."""

    worker: int
    counters: Numbers
    gauges: Numbers


class Kept:
    """One worker's place in *directory*, which is made where it is missing. Blocks; for any thread.

    Raises ``OSError`` where there can be none, also later.
    """

    __slots__ = ("_before", "_directory", "_place", "_writing", "worker")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writing = threading.Lock()  # a thread goes on to write when nobody waits for it any more
        self.worker, self._place = self._take_place()
        self._before: Numbers = self._read(self.worker).counters
        self.write({}, {})  # or what the last holder said of itself would be taken for this one

    def write(self, counters: Numbers, gauges: Numbers) -> None:
        """Put what this worker has counted itself, and how it stands, where others find it."""
        with self._writing:
            if not self._is_held():
                lost = self._place
                self.worker, self._place = self._take_place()
                os.close(lost)  # only now: where no place can be had, its number might become somebody else's
            path = self._path(self.worker, ".json")
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps({"counters": add(self._before, counters), "gauges": gauges}))
            os.replace(beside, path)

    def read_all(self) -> list[Snapshot]:
        """Return what all workers have written, also those that are gone."""
        numbers = sorted(int(path.stem) for path in self._directory.glob("*.json") if path.stem.isdecimal())
        written = map(self._read, numbers)
        return [one if self._lives(one.worker) else Snapshot(one.worker, one.counters, {}) for one in written]

    def close(self) -> None:
        """Leave the place to somebody else."""
        os.close(self._place)

    def _take_place(self) -> tuple[int, int]:
        """Return the number and the locked descriptor of the first place that nobody holds."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in count():
            fd = take(self._path(number, ".lock"))
            if fd is not None:
                return number, fd
        raise AssertionError("numbers do not end")

    def _is_held(self) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.stat(self._path(self.worker, ".lock")), os.fstat(self._place))
        return False

    def _lives(self, worker: int) -> bool:
        """Tell whether somebody holds a place. Who asks just then holds it for a moment, which turns nobody away."""
        if worker == self.worker:
            return True
        with suppress(FileNotFoundError):
            fd = os.open(self._path(worker, ".lock"), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(fd)
        return False

    def _read(self, worker: int) -> Snapshot:
        """Return what is written there; nothing, where that is nothing or no such file."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            read = json.loads(self._path(worker, ".json").read_text())
            return Snapshot(worker, _numbers(read["counters"]), _numbers(read["gauges"]))
        return Snapshot(worker, {}, {})

    def _path(self, number: int, ending: str) -> Path:
        return self._directory / f"{number}{ending}"


def _numbers(read: Any) -> Numbers:
    """Return what was read, where it is what is written here; raises where it is something else."""
    return {family: {key: 0 + number for key, number in numbers.items()} for family, numbers in read.items()}


def add(one: Numbers, other: Numbers) -> Numbers:
    """Return the sums of what is called alike."""
    total = {family: dict(numbers) for family, numbers in one.items()}
    for family, numbers in other.items():
        of_family = total.setdefault(family, {})
        for key, number in numbers.items():
            of_family[key] = of_family.get(key, 0) + number
    return total
