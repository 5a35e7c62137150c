"""Make a large sample file of random bytes: ``python -m benchmarks.sample 8GiB`` writes ``data/large/sample-8GiB.bin``.

Random, because zeros are compressed, deduplicated and turned into holes by file systems and networks, and prove
nothing when compared. A sample is kept for the next time; git ignores the folder.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

MIB = 1024 * 1024
FOLDER = Path(__file__).parent.parent / "data" / "large"


def make_sample(path: Path, size: int) -> None:
    """Write *size* random bytes to *path*, beside it first, so that a sample is never half a sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - offset)))
            if sys.stderr.isatty() and offset % (256 * MIB) == 0:
                print(f"\r{path.name}: {offset * 100 // size} %", end="", file=sys.stderr)
    unfinished.rename(path)


def ensure_sample(size: str) -> Path:
    """Return the sample of *size* (``8GiB``), made unless it is there already."""
    count = TypeAdapter(ByteSize).validate_python(size)
    path = FOLDER / f"sample-{size}.bin"
    if not path.exists() or path.stat().st_size != count:
        make_sample(path, count)
    return path


@dataclass(frozen=True, slots=True)
class Samples:
    """The files that are served, all in one folder: *large* has 4 GiB, *small* 1 KiB, *cold* 512 MiB."""

    large: Path
    small: Path
    cold: Path


def ensure_samples() -> Samples:
    """Return the samples of the benchmarks."""
    return Samples(ensure_sample("4GiB"), ensure_sample("1KiB"), ensure_sample("512MiB"))


def main(size: str) -> None:
    """Make the sample of the given size, and say where it is."""
    try:
        path = ensure_sample(size)
    except ValidationError:
        sys.exit(f"make sample: {size!r} is not a size; SIZE=8GiB is one")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
