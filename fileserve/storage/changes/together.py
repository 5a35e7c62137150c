"""``commit_together``: drafts of one directory get their names all together, or none of them does. All of it blocks.

The names are looked at before anything is flushed, and once more while the directory is locked: what one of them may
not have, ends it for all. What fails behind that (a full disk, a program that knows nothing of the lock) is undone: a
name that was given is taken away again, and what was replaced comes back, which is kept under a hidden name meanwhile.

Policy: where a file system has no second names for a file (hard links), what was replaced is not kept and does not come
back. A crash in the middle leaves the names that were given by then; each of them is a whole file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from fileserve.storage.changes.draft import Committed, Draft, Judge, committed
from fileserve.storage.changes.hiding import hidden_component
from fileserve.storage.changes.placing import alone_in, sync_directory
from fileserve.storage.errors import AlreadyExists, IsDirectory, NoDirectory, NotFound, NotRegular, os_errors_of_changes
from fileserve.storage.names import display_name

__all__ = ["Alternatives", "commit_together"]

#: Yields the names that a file may have instead of the one that it should have, that one first.
Alternatives = Callable[[bytes], Iterator[bytes]]

_Held = tuple[Draft, int]  # with its descriptor

_TAKEN = (AlreadyExists, IsDirectory, NotRegular)


@dataclass(frozen=True, slots=True)
class _Given:
    """A name that was given to a draft; *kept* is the hidden one of what had it before, where there is one."""

    fd: int
    component: bytes
    replaced: bool
    kept: bytes | None


def commit_together(
    drafts: Sequence[Draft], judge: Judge, alternatives: Alternatives | None
) -> list[tuple[bytes, Committed]]:
    """Give all *drafts*, which are for one directory, their names, and return these with what became of the files.

    With *alternatives*, each gets the first of its names that it may have, else its own or none. Raises
    ``AlreadyExists`` where *judge* objects or the name is that of a directory, and what ``Draft.commit`` raises.
    """
    if not drafts:
        return []
    target = drafts[0].target
    target.check()
    with os_errors_of_changes(), ExitStack() as stack, target.directory() as directory:
        if alternatives is None:
            _look(drafts, directory, judge)
        held = [(draft, stack.enter_context(draft.held())) for draft in drafts]
        marks = [draft.flush(fd) for draft, fd in held]
        try:
            with os_errors_of_changes(), alone_in(directory):
                if alternatives is None:
                    _look(drafts, directory, judge)
                given = _give_all(held, directory, judge, alternatives)
        except NotFound:
            raise NoDirectory from None  # it was deleted a moment ago
        sync_directory(directory)
        return [
            (one.component, committed(one.fd, marked, one.replaced)) for one, marked in zip(given, marks, strict=True)
        ]


def _look(drafts: Sequence[Draft], directory: int, judge: Judge) -> None:
    """Raise where a name is not to be had; where two drafts want one, neither has it."""
    names = [draft.target.component for draft in drafts]
    for draft, name in zip(drafts, names, strict=True):
        draft.target.check()
        try:
            if names.count(name) > 1:
                raise AlreadyExists
            current = draft.target.current(directory)
            try:
                judge(current)
            finally:
                if current is not None:
                    current.close()
        except _TAKEN:
            raise _taken(name) from None


def _give_all(held: Sequence[_Held], directory: int, judge: Judge, alternatives: Alternatives | None) -> list[_Given]:
    given: list[_Given] = []
    try:
        for one in held:
            given.append(_give(one, directory, judge, alternatives))
    except BaseException:
        for name in reversed(given):
            with suppress(OSError):  # what cannot be undone stays: whole files under their names
                _take_back(name, directory)
        raise
    for name in given:
        if name.kept is not None:
            with suppress(OSError):  # what cannot be deleted is left to the next sweep
                os.unlink(name.kept, dir_fd=directory)
    return given


def _give(held: _Held, directory: int, judge: Judge, alternatives: Alternatives | None) -> _Given:
    draft, fd = held
    if alternatives is None:
        return _give_own(draft, fd, directory, judge)
    for name in alternatives(draft.target.component):
        with suppress(*_TAKEN, FileExistsError):
            return _Given(fd, name, draft.take_name(fd, directory, judge, name), None)
    raise _taken(draft.target.component)


def _give_own(draft: Draft, fd: int, directory: int, judge: Judge) -> _Given:
    component = draft.target.component
    kept = _keep(directory, component)
    try:
        return _Given(fd, component, draft.take_name(fd, directory, judge), kept)
    except BaseException as error:
        if kept is not None:
            os.unlink(kept, dir_fd=directory)
        if isinstance(error, (*_TAKEN, FileExistsError)):
            raise _taken(component) from None
        raise


def _keep(directory: int, component: bytes) -> bytes | None:
    """Give what has the name a second, hidden one, and return that; ``None`` where that cannot be."""
    kept = hidden_component()
    try:
        os.link(component, kept, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return kept


def _take_back(one: _Given, directory: int) -> None:
    """Take a name away again that was given a moment ago, if it is still that file's."""
    if not os.path.samestat(os.fstat(one.fd), os.stat(one.component, dir_fd=directory, follow_symlinks=False)):
        return
    if one.kept is not None:
        os.replace(one.kept, one.component, src_dir_fd=directory, dst_dir_fd=directory)
    elif not one.replaced:
        os.unlink(one.component, dir_fd=directory)


def _taken(component: bytes) -> AlreadyExists:
    return AlreadyExists(f"the name {display_name(component)} is taken")
