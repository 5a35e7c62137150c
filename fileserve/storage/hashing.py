"""One pass over a file: SHA-256 and CRC-32, on request SHA-512 and the SHA-256 of its pieces.

Strategy: one thread, one buffer, read once and given to each hash while it is in the processor's cache. The hashes and
the read let go of the interpreter's lock, so the event loop waits for no more than what lies between them. Whoever
started a pass reads ``hashed`` while it runs, and stops it: it looks for that after each buffer.

A file that changes has no digest. A pass belongs to the state in which the file was opened, and fails unless fstat
says the same before the first byte and after the last.

Left out: threads and waiting (``computation``); which results to keep (``checksums``).
"""

import hashlib
import os
import threading
import time
import zlib
from dataclasses import dataclass

from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import Busy, ContentChanged, os_errors
from fileserve.storage.index import Digests, Identity, Pieces, identity
from fileserve.storage.reader import OpenFile

__all__ = ["Pass", "Sums", "Work", "piece_length"]

# As fast as any other size from 256 KiB up, and stopped within milliseconds.
_BUFFER = 1024 * 1024
# Policy: 4,096 digests are a document of 300 KB; so a piece is 1 MiB up to 4 GiB, and 16 MiB for 50 GB.
_MOST_PIECES = 4096


@dataclass(frozen=True, slots=True)
class Work:
    """What to compute beside SHA-256 and CRC-32."""

    sha512: bool = False
    pieces: bool = False

    def covers(self, other: "Work") -> bool:
        """Return whether this gives all that *other* asks for."""
        return self.sha512 >= other.sha512 and self.pieces >= other.pieces


def piece_length(size: int) -> int:
    """Return the piece length for a file of *size* bytes: the least power of two from 1 MiB that makes few pieces.

    >>> piece_length(0), piece_length(4096 << 20), piece_length((4096 << 20) + 1)
    (1048576, 1048576, 2097152)
    """
    length = 1024 * 1024
    while length * _MOST_PIECES < size:
        length *= 2
    return length


class Pass:
    """A pass over *opened*, which may be closed meanwhile: the pass has a descriptor of its own, and closes it.

    ``hashed`` is the number of bytes done; *rate* bounds it by the second. Raises ``Busy`` when no descriptor is left.
    """

    __slots__ = ("_descriptor", "_rate", "_woken", "hashed", "status", "stopped", "work")

    def __init__(self, opened: OpenFile, work: Work, rate: float | None = None) -> None:
        with os_errors():
            self._descriptor = Descriptor(os.dup(opened.fd))
        self.status = opened.status
        self.work = work
        self.hashed = 0
        self.stopped = False
        self._rate = rate
        self._woken = threading.Event()

    @property
    def identity(self) -> Identity:
        """The state of the file that this pass is over."""
        return identity(self.status)

    @property
    def is_slowed(self) -> bool:
        """Whether there is a rate."""
        return self._rate is not None

    def stop(self) -> None:
        """Let ``run`` end after the buffer at hand; for any thread, and without effect afterwards."""
        self.stopped = True
        self._woken.set()

    def hurry(self) -> None:
        """Forget the rate: somebody waits. For any thread."""
        self._rate = None
        self._woken.set()

    def close(self) -> None:
        """Close the descriptor of a pass that is not run."""
        self._descriptor.close()

    def run(self) -> tuple[Digests, Pieces | None]:
        """Hash the file, and close it; blocks.

        Raises ``ContentChanged`` when the file is not, or does not stay, as it was opened; ``Unreadable`` and its
        like when reading fails; ``Busy`` when stopped.
        """
        try:
            with os_errors():
                return self._hash(self._descriptor.fd)
        finally:
            self._descriptor.close()

    def _hash(self, fd: int) -> tuple[Digests, Pieces | None]:
        size = self.status.size
        sums = Sums(self.work.sha512, piece_length(size) if self.work.pieces else None)
        buffer = memoryview(bytearray(min(size, _BUFFER)))
        began_s = time.monotonic()
        self._check_unchanged(fd)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while self.hashed < size:
            if self.stopped:
                raise Busy("the computation was stopped")
            # Reads end where the buffer would, counted from the start of the file: none crosses the end of a piece.
            wanted = min(_BUFFER - self.hashed % _BUFFER, size - self.hashed)
            count = os.preadv(fd, [buffer[:wanted]], self.hashed)
            if not count:
                raise ContentChanged
            sums.update(buffer[:count])
            self.hashed += count
            rate = self._rate  # another thread may take it away meanwhile
            if rate is not None:
                self._woken.wait(began_s + self.hashed / rate - time.monotonic())
        self._check_unchanged(fd)
        return sums.results()

    def _check_unchanged(self, fd: int) -> None:
        """Policy: growth counts as a change too. What was hashed would be the digest of no state that is served."""
        now, then = os.fstat(fd), self.status
        if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (then.size, then.mtime_ns, then.ctime_ns):
            raise ContentChanged


class Sums:
    """The hashes of the bytes so far, given in order; no update crosses the end of a piece."""

    __slots__ = ("_crc32", "_hashes", "_left", "_piece", "_piece_length", "_pieces")

    def __init__(self, sha512: bool, piece_length: int | None = None) -> None:
        self._hashes = [hashlib.sha256(), *([hashlib.sha512()] if sha512 else [])]
        self._crc32 = 0
        self._piece_length = piece_length
        self._pieces: list[bytes] = []
        self._piece = hashlib.sha256()
        self._left = piece_length or 0

    def update(self, content: bytes | memoryview) -> None:
        """Take the next bytes in."""
        for digest in self._hashes:
            digest.update(content)
        self._crc32 = zlib.crc32(content, self._crc32)
        if self._piece_length is not None:
            self._update_piece(content, self._piece_length)

    def _update_piece(self, content: bytes | memoryview, length: int) -> None:
        if not self._left:
            self._end_piece(length)
        self._piece.update(content)
        self._left -= len(content)

    def _end_piece(self, length: int) -> None:
        self._pieces.append(self._piece.digest())
        self._piece = hashlib.sha256()
        self._left = length

    def results(self) -> tuple[Digests, Pieces | None]:
        """Return the digests of all bytes, and of the pieces where there are any."""
        sha256, *others = (digest.digest() for digest in self._hashes)
        digests = Digests(sha256, self._crc32, *others)
        if self._piece_length is None:
            return digests, None
        if self._left < self._piece_length:
            self._end_piece(self._piece_length)
        return digests, Pieces(self._piece_length, tuple(self._pieces))
