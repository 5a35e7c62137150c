"""``Target``: a name that something is to be given, or taken away from, and what has it now.

The directory is opened beneath the root, links followed there as everywhere; what is done happens in that open
directory, and never through a link that has the name itself. A directory is opened anew for each step: between the
first byte of an upload and the last it may have been moved.

Policy: where something may be changed is a matter of names, not of where links lead: who puts a link there means it.
A link that leads to a file beneath the root counts as that file, and is itself replaced, deleted or moved; what
it leads to stays. A link that leads nowhere a client may see has its name all the same.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from fileserve.storage.changes.placing import sync_directory
from fileserve.storage.errors import (
    AlreadyExists,
    InvalidName,
    LinkLoop,
    NoDirectory,
    NotDirectory,
    NotFound,
    NotPermitted,
    OutsideRoot,
    StorageError,
    os_errors_of_changes,
)
from fileserve.storage.names import Name, check_name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root

__all__ = ["Target"]

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
# Policy: a path may have two thousand components; nobody means as many new directories.
_MOST_MADE = 64


@dataclass(frozen=True, slots=True)
class Target:
    """The *name* beneath *root*; with *parents*, directories on the way are made where they are missing.

    *within* are the directories beneath which alone names may be given and taken away; the root itself is one, too.
    All methods block, and are for threads.
    """

    root: Root
    name: Name
    parents: bool = False
    within: tuple[Name, ...] = ((),)

    def check(self) -> None:
        """Raise ``InvalidName`` or ``NotPermitted`` when nothing may be given this name."""
        if not self.name:
            raise InvalidName("the root itself cannot be changed")
        try:
            check_name(self.name, self.root.hidden)
        except NotFound:
            raise NotPermitted("names that begin with a dot are not taken") from None
        if not any(self.name[: len(directory)] == directory != self.name for directory in self.within):
            raise NotPermitted("nothing may be changed in this directory")

    @property
    def component(self) -> bytes:
        """The name within its directory."""
        return self.name[-1]

    def beside(self, component: bytes) -> "Target":
        """Return the target of another name in the same directory."""
        return replace(self, name=(*self.name[:-1], component))

    @contextmanager
    def directory(self) -> Iterator[int]:
        """Open the directory of the name for the block, made where that was asked for. Raises ``NoDirectory``.

        When the block fails, what was made for it, and is empty still, is taken away again.
        """
        made: list[Name] = []
        try:
            fd = self._make_parents(made)
            try:
                yield fd
            finally:
                os.close(fd)
        except BaseException:
            self._take_away(made)
            raise

    @contextmanager
    def nearest(self) -> Iterator[int]:
        """Open the directory of the name, or the nearest one that is there, for the block: where files are staged."""
        with self.staging() as (fd, _):
            yield fd

    @contextmanager
    def staging(self) -> Iterator[tuple[int, Name]]:
        """Do what ``nearest`` does, and tell the name of that directory."""
        fd, above = self._open_nearest()
        try:
            yield fd, self.name[:above]
        finally:
            os.close(fd)

    def current(self, directory: int) -> OpenFile | None:
        """Open the file that has the name in the open *directory*; ``None`` where nothing has it.

        Raises ``IsDirectory``, ``NotRegular`` or ``NotPermitted`` for what is no file to be replaced, and
        ``AlreadyExists`` for a link that leads nowhere.
        """
        with os_errors_of_changes():
            try:
                status = os.stat(self.component, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISLNK(status.st_mode):
                return OpenFile(os.open(self.component, _FILE, dir_fd=directory))
        try:
            return self.root.open_file(self.name)
        except (NotFound, OutsideRoot, LinkLoop, NotDirectory):
            raise AlreadyExists("the name is taken by a link that leads nowhere") from None

    def _open(self, directory: Name) -> int:
        try:
            return self.root.open_directory(directory)
        except (NotFound, OutsideRoot, NotDirectory, LinkLoop):
            raise NoDirectory from None

    def _open_nearest(self) -> tuple[int, int]:
        """Return the nearest directory that is there, open, and how many components lead to it."""
        above = len(self.name) - 1
        while True:
            try:
                return self._open(self.name[:above]), above
            except NoDirectory:
                if not self.parents or not above:
                    raise
                above -= 1
                if len(self.name) - 1 - above > _MOST_MADE:
                    raise NoDirectory("too many directories are missing") from None

    def _make_parents(self, made: list[Name]) -> int:
        """Make what is missing on the way, each in the open directory above it; add it to *made*; return the last."""
        fd, above = self._open_nearest()
        for length in range(above + 1, len(self.name)):
            try:
                child = self._open_or_make(fd, self.name[:length], made)
            finally:
                os.close(fd)
            fd = child
        return fd

    def _take_away(self, made: list[Name]) -> None:
        for directory in reversed(made):
            with suppress(OSError, StorageError):  # somebody has put something there, or has moved it
                above = self._open(directory[:-1])
                try:
                    os.rmdir(directory[-1], dir_fd=above)
                finally:
                    os.close(above)

    def _open_or_make(self, above: int, directory: Name, made: list[Name]) -> int:
        try:
            return self._open(directory)
        except NoDirectory:
            with os_errors_of_changes():
                try:
                    os.mkdir(directory[-1], dir_fd=above)
                    made.append(directory)
                except OSError as error:
                    if error.errno != errno.EEXIST:  # somebody else made it a moment ago; or it is no directory
                        raise
                sync_directory(above)
            return self._open(directory)
