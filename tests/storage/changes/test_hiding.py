"""Files that keep out of sight while they are written."""

import os

import pytest

from fileserve.storage.changes.hiding import open_hidden
from tests.storage.conftest import Served, no_descriptors_left


@pytest.mark.parametrize("left", [0, 1])
def test_without_descriptors_nothing_stays_open_and_nothing_is_left(changing: Served, left: int) -> None:
    directory, before = os.open(changing.path, os.O_RDONLY), os.listdir(changing.path)
    try:
        with no_descriptors_left(but=left), pytest.raises(OSError, match="Too many open files"):
            open_hidden(directory)
        assert os.listdir(changing.path) == before
    finally:
        os.close(directory)
