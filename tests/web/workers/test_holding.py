"""Locks that one worker holds at a time: what is done once is done by that one."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from fileserve.web.workers.holding import held


def descriptors() -> list[str]:
    return os.listdir("/dev/fd")


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "lock") as is_first, held(tmp_path / "lock") as is_second:
        assert (is_first, is_second) == (True, False)
    with held(tmp_path / "lock") as is_third:
        assert is_third


def test_without_a_place_each_holds_its_own() -> None:
    with held(None) as is_first, held(None) as is_second:
        assert (is_first, is_second) == (True, True)


def test_where_there_can_be_no_lock_nobody_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "none left")

    before = descriptors()
    with pytest.raises(FileNotFoundError), held(tmp_path / "missing" / "lock"):
        raise AssertionError
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="none left"), held(tmp_path / "lock"):
        raise AssertionError
    assert descriptors() == before
