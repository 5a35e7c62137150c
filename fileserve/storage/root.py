"""``Root``: everything beneath one directory, and nothing else. The only traversal guard.

The directory is opened once; each name is resolved relative to that descriptor, so a path of the server is never
looked up again. On Linux openat2 does it in one call. What openat2 declines (an absolute link that may lead back
in, a link loop, a race it noticed) the walker decides, so both ways give the same answers, and the walker alone
serves where openat2 does not work. Which of the two is settled once, by a probe of the root.

A name that the kernel has cached is opened on the event loop, in a few microseconds; every other in the pool. Files
are opened with ``O_NONBLOCK`` and judged by their descriptor: a FIFO or a device answers at once, and is closed.

When the directory is moved, Root goes on serving it; when it is deleted, everything is ``NotFound``. ``check`` says so
of both, and of another that has taken its place: which of the two is meant, only a restart can settle.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Literal, TypeVar

from fileserve import disk
from fileserve.storage import openat2, walker
from fileserve.storage.descriptor import Descriptor
from fileserve.storage.errors import Busy, NotFound, NotRegular, from_os_error, os_errors
from fileserve.storage.listing import Entry, Listing, SortKey, entry_of, read_listing
from fileserve.storage.names import Name, check_name
from fileserve.storage.reader import OpenFile

__all__ = ["Root"]

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
# Policy: a listing of a large directory takes a thread for half a second. Two at once leave the others to reads.
_LISTINGS = 2
_LISTINGS_ASKED = 64

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK

# What openat2 leaves open: a link that is absolute or leaves; a loop or a magic link; a rename that raced, or
# (RESOLVE_CACHED) a name to be read from the disk. Policy: EAGAIN is not repeated, because the walker never fails
# for a race.
_UNDECIDED = frozenset((errno.EXDEV, errno.ELOOP, errno.EAGAIN))

_DELETED = b" (deleted)"  # how Linux ends the path of a file without a name; a name may end so, too

T = TypeVar("T")


class Root:
    """The directory *path* and what lies beneath it.

    *hidden* says whether names that begin with a dot are seen. ``resolver="walker"`` leaves openat2 unused. *path*
    may itself be a link. Raises ``NotFound``, ``NotDirectory`` or ``NotPermitted`` when it cannot be opened.
    ``real_path`` is for the operator; it never stands in an error. ``uses_openat2`` and ``uses_cached`` (names are
    opened on the event loop where the kernel has them) say what the probe found.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str],
        *,
        hidden: bool = False,
        resolver: Literal["auto", "walker"] = "auto",
    ) -> None:
        given = os.path.abspath(os.fsencode(path))
        with os_errors():
            self._directory = Descriptor(os.open(given, walker.DIRECTORY))
        self.hidden = hidden
        self._listings = asyncio.Semaphore(_LISTINGS)
        self._listings_asked = 0
        self.real_path = os.path.realpath(given)
        self._anchors = (_components(self.real_path), _components(given))
        self.uses_openat2 = resolver == "auto" and openat2.supported(self._directory.fd)
        self.uses_cached = self.uses_openat2 and openat2.supports_cached(self._directory.fd)

    def close(self) -> None:
        """Close the directory, once no thread uses it any more. Files that were opened stay open."""
        self._directory.close()

    async def open(self, name: Name) -> OpenFile:
        """Open the regular file *name*; the caller closes it.

        Raises ``IsDirectory`` or ``NotRegular`` when the name is that of something else, and otherwise what ``errors``
        lists.
        """
        check_name(name, self.hidden)
        if self.uses_cached:
            try:
                return OpenFile(openat2.open_beneath(self._directory.fd, name, _FILE, cached=True))
            except OSError as error:
                if error.errno not in _UNDECIDED:
                    raise from_os_error(error) from error
        return await disk.run(self.open_file, name, discard=OpenFile.close)

    async def stat(self, name: Name) -> Entry:
        """Return the entry of a file or directory, links followed. Needs no permission to read it.

        Raises ``NotRegular`` for anything else.
        """
        check_name(name, self.hidden)
        status = self._cached_status(name)
        if status is None:
            status = await disk.run(self._stat, name)
        entry = entry_of(name[-1] if name else b"", status)
        if entry is None:
            raise NotRegular
        return entry

    async def list(
        self,
        name: Name,
        *,
        sort: SortKey = SortKey.NAME,
        descending: bool = False,
        offset: int = 0,
        limit: int = 1000,
    ) -> Listing:
        """Return *limit* entries of the directory *name* from the *offset*-th on (neither negative), directories first.

        Raises ``NotDirectory`` when it is a file, and ``Busy`` when too many listings wait already.
        """
        check_name(name, self.hidden)
        if self._listings_asked >= _LISTINGS_ASKED:
            raise Busy("too many directories are being listed")
        self._listings_asked += 1
        try:
            async with self._listings:
                return await disk.run(self._list, name, sort, descending, offset, limit)
        finally:
            self._listings_asked -= 1

    def check(self) -> None:
        """Return if the root can be read now, and is still what its path leads to. Blocks; for a thread.

        Raises what ``list`` does; ``NotFound`` says what is at the path now.
        """
        fd = self.open_directory(())
        try:
            with os_errors(), os.scandir(fd) as entries:
                next(entries, None)
                self._check_place(os.fstat(fd))
        finally:
            os.close(fd)

    def _check_place(self, held: os.stat_result) -> None:
        try:
            found = os.stat(b"/" + b"/".join(self._anchors[1]))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound("nothing is at its path any more: bring it back and restart the server") from error
        except PermissionError:
            return  # Policy: of a path that leads through what is closed now nothing is known, and files are served
        if not os.path.samestat(found, held):
            raise NotFound("its path is another directory now: restart the server to serve that one")

    def open_file(self, name: Name) -> OpenFile:
        """Open the regular file *name*, as ``open`` does. Blocks; for a thread."""
        check_name(name, self.hidden)
        return OpenFile(self._open_beneath(name, _FILE))

    def open_directory(self, name: Name) -> int:
        """Open the directory *name*, to be read and looked into, and return its descriptor; the caller closes it.

        Blocks; for a thread. Raises ``NotDirectory`` when it is something else.
        """
        check_name(name, self.hidden)
        return self._open_beneath(name, _DIRECTORY)

    def status(self, name: Name) -> os.stat_result:
        """Return the status of *name*, whatever it is, links followed. Blocks; for a thread."""
        check_name(name, self.hidden)
        return self._stat(name)

    def resolved(self, opened: OpenFile) -> Name | None:
        """Return by which name, without links, *opened* is beneath the root now.

        ``None``: it has none any more, the root has been moved, or the system does not tell (only Linux does).
        """
        try:
            path = os.readlink(b"/proc/self/fd/%d" % opened.fd)  # the kernel has it; no disk is asked
        except OSError:
            return None
        components, root = _components(path), self._anchors[0]
        if components[: len(root)] != root or path.endswith(_DELETED):
            return None
        return components[len(root) :]

    def _list(self, name: Name, sort: SortKey, descending: bool, offset: int, limit: int) -> Listing:
        fd = self._open_beneath(name, _DIRECTORY)
        try:
            with os_errors():
                listing = read_listing(
                    fd, self.hidden, lambda link: self._stat((*name, link)), sort, descending, offset, limit
                )
                if not listing.total and not os.fstat(fd).st_nlink:  # the root was deleted; reading it is no error
                    raise NotFound
                return listing
        finally:
            os.close(fd)

    def _open_beneath(self, name: Name, flags: int) -> int:
        return self._resolve(
            lambda root_fd: openat2.open_beneath(root_fd, name, flags),
            lambda root_fd: walker.open_beneath(root_fd, self._anchors, name, flags),
        )

    def _stat(self, name: Name) -> os.stat_result:
        return self._resolve(
            lambda root_fd: openat2.stat_beneath(root_fd, name),
            lambda root_fd: walker.stat_beneath(root_fd, self._anchors, name),
        )

    def _resolve(self, by_kernel: Callable[[int], T], by_walker: Callable[[int], T]) -> T:
        """Ask openat2, and the walker where openat2 is not used or does not decide. Blocks; for any thread."""
        with os_errors(), self._directory.held() as root_fd:
            if self.uses_openat2:
                try:
                    return by_kernel(root_fd)
                except OSError as error:
                    if error.errno not in _UNDECIDED:
                        raise
            return by_walker(root_fd)

    def _cached_status(self, name: Name) -> os.stat_result | None:
        """Ask openat2 without waiting for the disk; ``None``: this needs ``_stat``. For the event loop's thread."""
        try:
            return openat2.stat_beneath(self._directory.fd, name, cached=True) if self.uses_cached else None
        except OSError as error:
            if error.errno in _UNDECIDED:
                return None
            raise from_os_error(error) from error


def _components(path: bytes) -> Name:
    return tuple(component for component in path.split(b"/") if component)
