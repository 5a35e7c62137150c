"""Files of random bytes to download, and their digests to compare by."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A file as it was made: *size* in bytes, *digest* of its content (SHA-256)."""

    path: Path
    size: int
    digest: str

    @property
    def name(self) -> str:
        """The file's name, which is also the end of its URL."""
        return self.path.name


def make_sample(path: Path, size: int) -> Sample:
    """Write *size* random bytes to *path*."""
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))
    return Sample(path, size, digest(path))


def digest(path: Path) -> str:
    """Return the SHA-256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_content_of(path: Path, arrived: IO[bytes]) -> bool:
    """Tell whether *arrived* has the bytes of the file, no more and no fewer; of gigabytes a digest would take longer.

    All of it is read, also behind a difference: who sends it is not held up.
    """
    is_same = True
    with path.open("rb") as file:
        while data := arrived.read(MIB):
            is_same &= data == file.read(len(data))
        return is_same and not file.read(1)


def append(path: Path, *lines: str) -> None:
    """Add *lines* to the end of a file, as who writes a log does."""
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
