import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserve.storage import openat2
from fileserve.storage.root import Root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path


@pytest.fixture
def root_fd(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A system whose openat2 fails with the error number given (for the flag given, or always)."""
    number, only_for_flag = request.param
    call = openat2._syscall

    def syscall(code: int, root_fd: int, path: bytes, how: openat2._OpenHow, size: int) -> int:
        if how.resolve & only_for_flag == only_for_flag:
            ctypes.set_errno(number)
            return -1
        return int(call(code, root_fd, path, how, size))

    monkeypatch.setattr(openat2, "_syscall", syscall)


needs_openat2 = pytest.mark.skipif(
    os.uname().sysname != "Linux" or tuple(map(int, os.uname().release.split(".")[:2])) < (5, 12),
    reason="openat2 with RESOLVE_CACHED is in Linux 5.12 and later",
)


@pytest.mark.parametrize("refusing", [(errno.ENOSYS, 0), (errno.EPERM, 0)], indirect=True, ids=["old", "sandbox"])
@pytest.mark.usefixtures("refusing")
async def test_without_openat2_the_walker_serves(folder: Path, root_fd: int) -> None:
    assert not openat2.supported(root_fd)
    root = Root(folder)
    assert not root.uses_openat2
    assert not root.uses_cached
    (await root.open((b"file",))).close()
    root.close()


def test_no_other_system_is_asked(root_fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number is another call there."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not openat2.supported(root_fd)


@needs_openat2
@pytest.mark.parametrize("refusing", [(errno.EINVAL, 0x20)], indirect=True, ids=["linux_5_6_to_5_11"])
@pytest.mark.usefixtures("refusing")
async def test_without_resolve_cached_every_name_is_resolved_in_the_pool(folder: Path, root_fd: int) -> None:
    assert openat2.supported(root_fd)
    assert not openat2.supports_cached(root_fd)
    root = Root(folder)
    assert (root.uses_openat2, root.uses_cached) == (True, False)
    (await root.open((b"file",))).close()
    root.close()


@needs_openat2
@pytest.mark.parametrize("refusing", [(errno.EAGAIN, 0x20)], indirect=True, ids=["nothing_is_cached"])
@pytest.mark.usefixtures("refusing")
async def test_a_name_that_is_not_cached_is_resolved_in_the_pool(folder: Path) -> None:
    root = Root(folder)
    assert root.uses_cached
    (await root.open((b"file",))).close()
    assert (await root.stat((b"file",))).size == 7
    root.close()


@needs_openat2
@pytest.mark.parametrize("refusing", [(errno.EAGAIN, 0)], indirect=True, ids=["renames_race_for_ever"])
@pytest.mark.usefixtures("refusing")
async def test_a_race_that_openat2_gives_up_on_is_decided_by_the_walker(folder: Path) -> None:
    root = Root(folder)
    root.uses_openat2 = root.uses_cached = True
    (await root.open((b"file",))).close()
    root.close()


@needs_openat2
def test_an_interrupted_call_is_repeated(root_fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    call, interruptions = openat2._syscall, iter([errno.EINTR, errno.EINTR])

    def syscall(*arguments: object) -> int:
        if number := next(interruptions, None):
            ctypes.set_errno(number)
            return -1
        return int(call(*arguments))

    monkeypatch.setattr(openat2, "_syscall", syscall)
    assert openat2.stat_beneath(root_fd, (b"file",)).st_size == 7


def test_a_nul_is_never_handed_to_the_kernel(root_fd: int) -> None:
    """C ends a string there: the kernel would open "file"."""
    with pytest.raises(ValueError, match="null byte"):
        openat2.open_beneath(root_fd, (b"file\0.jpg",), os.O_RDONLY)


@needs_openat2
def test_descriptors_are_not_inherited_by_programs(root_fd: int) -> None:
    fd = openat2.open_beneath(root_fd, (b"file",), os.O_RDONLY)
    assert not os.get_inheritable(fd)
    os.close(fd)
