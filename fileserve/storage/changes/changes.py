"""``Changes``: everything that may be changed beneath a root, each thing whole or not at all.

``Root`` stays the only guard of the way: a directory is opened beneath it, and what is done happens in there. Each
change is made while the directory is locked, after the caller has judged what has the name then, and is on the disk
when it is answered.

Directories are deleted only when they are empty: a mistake costs one name.
"""

import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

from fileserve import disk
from fileserve.storage.changes.draft import Judge
from fileserve.storage.changes.patience import patiently
from fileserve.storage.changes.placing import alone_in, rename_new, sync_directory
from fileserve.storage.changes.room import Need, check_room
from fileserve.storage.changes.target import Target
from fileserve.storage.changes.writer import StagedFile, stage
from fileserve.storage.errors import AlreadyExists, IsDirectory, NoDirectory, NotFound, os_errors_of_changes
from fileserve.storage.names import Name
from fileserve.storage.reader import OpenFile
from fileserve.storage.root import Root

__all__ = ["Changes", "Following"]

#: Holds during its block what belongs to a name that is moved there to a new one: both, or neither, have happened then.
Following = Callable[[Name, Name], AbstractContextManager[None]]


def _nothing_follows(name: Name, new: Name) -> AbstractContextManager[None]:
    return nullcontext()


class Changes:
    """What may be done to the files beneath *root*, for the event loop's thread; all work is done in the pool.

    *within* are the directories beneath which alone anything may be changed. With *unnamed*, files are staged without a
    name where the file system can do that.
    """

    __slots__ = ("_root", "_unnamed", "within")

    def __init__(self, root: Root, *, within: tuple[Name, ...] = ((),), unnamed: bool = True) -> None:
        self._root = root
        self.within = within
        self._unnamed = unnamed

    def allows(self, directory: Name) -> bool:
        """Say whether names in *directory* may be given and taken away at all."""
        return any(directory[: len(within)] == within for within in self.within)

    async def look(self, name: Name, *, parents: bool = False) -> OpenFile | None:
        """Open the file that has *name* now, to judge before anything is done; ``None``: nothing has it.

        Raises ``NoDirectory`` unless *parents* would be made, and what ``Target.current`` raises.
        """
        return await disk.run(_look, self._target(name), parents, discard=_close)

    async def stage(self, name: Name, need: Need, *, parents: bool = False) -> StagedFile:
        """Begin a file that is to have *name*; with *parents*, missing directories are made when it is committed.

        Policy: not without being asked. A name with a typing error would become a tree of directories, and WebDAV
        (RFC 4918 §9.7.1) and nginx refuse it, too.
        """
        return await stage(self._target(name, parents), need, unnamed=self._unnamed)

    async def check_room(self, directory: Name, need: Need) -> None:
        """Raise ``NoDirectory`` or ``NoSpace`` unless files may be staged in *directory*, with room for *need*."""
        await disk.run(check_room, self._target((*directory, b"any")), need)

    async def make_directory(self, name: Name, *, parents: bool = False) -> None:
        """Make the directory *name*. Raises ``AlreadyExists``, ``NoDirectory`` and their like."""
        await disk.run_change(_make_directory, self._target(name, parents))

    async def delete(self, name: Name, judge: Judge) -> None:
        """Delete the file, the link or the empty directory *name*; *judge* sees the file, or ``None`` of a directory.

        Raises ``NotFound``, ``NotEmpty`` and their like, and what *judge* raises.
        """
        await patiently(_delete, self._target(name), judge)

    async def move(
        self, name: Name, new: Name, judge: Judge, *, replace: bool, following: Following = _nothing_follows
    ) -> bool:
        """Rename a file, a link or a directory to *new*, and return whether that took the place of a file.

        *judge* sees the file that is moved, or ``None`` of a directory. Raises ``AlreadyExists`` where *new* is taken,
        unless *replace* is set and both are files; ``OtherDevice``, and what *judge* and *following* raise.
        """
        source, target = self._target(name), self._target(new)
        return await patiently(_move, source, target, judge, replace, following)

    def _target(self, name: Name, parents: bool = False) -> Target:
        return Target(self._root, name, parents, self.within)


def _close(opened: OpenFile | None) -> None:
    if opened is not None:
        opened.close()


def _look(target: Target, parents: bool) -> OpenFile | None:
    target.check()
    try:
        with target.directory() as directory:
            return target.current(directory)
    except NoDirectory:
        if parents:
            return None
        raise


def _make_directory(target: Target) -> None:
    target.check()
    with target.directory() as directory, os_errors_of_changes():
        os.mkdir(target.component, dir_fd=directory)
        sync_directory(directory)


def _delete(target: Target, judge: Judge) -> None:
    target.check()
    with target.directory() as directory, os_errors_of_changes():
        with alone_in(directory):
            remove = _judged(target, directory, judge)
            remove(target.component, dir_fd=directory)
        sync_directory(directory)


def _judged(target: Target, directory: int, judge: Judge) -> Callable[..., None]:
    """Have what has the name judged, and return what removes it: a file, a link or a directory."""
    status = os.stat(target.component, dir_fd=directory, follow_symlinks=False)
    try:
        current = target.current(directory)
    except IsDirectory:
        judge(None)
        return os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink
    except AlreadyExists:
        raise NotFound from None  # a link that leads nowhere is not seen, so it is not there
    if current is None:
        raise NotFound
    try:
        judge(current)
    finally:
        current.close()
    return os.unlink


def _move(source: Target, target: Target, judge: Judge, replace: bool, following: Following) -> bool:
    source.check()
    target.check()
    with source.directory() as old, target.directory() as new, os_errors_of_changes():
        with alone_in(old, new):
            moves_file = _judged(source, old, judge) is os.unlink
            replaces = replace and moves_file and _is_file(target, new)
            if replaces:
                with following(source.name, target.name), os_errors_of_changes():
                    _replace(source.component, old, target.component, new)
            else:
                _rename(source, old, target, new, following)
        sync_directory(new)
        sync_directory(old)
    return replaces


def _rename(source: Target, old: int, target: Target, new: int, following: Following) -> None:
    """Rename in one with what follows; where that fails in its last moment, take the name back."""
    is_renamed = False
    try:
        with following(source.name, target.name), os_errors_of_changes():
            rename_new(old, source.component, new, target.component)
            is_renamed = True
    except BaseException:
        if is_renamed:
            with suppress(OSError):
                rename_new(new, target.component, old, source.component)
        raise


def _replace(component: bytes, old: int, taken: bytes, new: int) -> None:
    """Give *component* of the directory *old* the name *taken* in *new*.

    Two names of one file are left alone by rename(2); what is moved has its old name no more all the same.
    """
    one, other = os.lstat(component, dir_fd=old), os.lstat(taken, dir_fd=new)
    if os.path.samestat(one, other) and (component != taken or not os.path.samestat(os.fstat(old), os.fstat(new))):
        return os.unlink(component, dir_fd=old)
    os.replace(component, taken, src_dir_fd=old, dst_dir_fd=new)


def _is_file(target: Target, directory: int) -> bool:
    current = target.current(directory)
    _close(current)
    return current is not None
