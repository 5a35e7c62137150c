"""One server and one large file for all of these tests: making them anew costs more than most tests take."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.samples import MIB, Sample, make_sample
from tests.tools import Running, serving

LARGE_SIZE = 256 * MIB + 12_345
MEDIUM_SIZE = 64 * MIB + 321

_numbers = itertools.count()


@pytest.fixture(scope="session")
def served_root() -> Iterator[Path]:
    """A served directory that is gone afterwards: pytest's own temporary folders would keep gigabytes."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture(scope="session")
def server(served_root: Path) -> Iterator[Running]:
    with serving(served_root) as running:
        yield running


@pytest.fixture(scope="session")
def large(served_root: Path) -> Sample:
    return make_sample(served_root / "large.bin", LARGE_SIZE)


@pytest.fixture
def medium(served_root: Path) -> Iterator[Sample]:
    """A file for one test, which may change it. Larger than what sockets hold on the way to a client that waits."""
    sample = make_sample(served_root / f"medium-{next(_numbers)}.bin", MEDIUM_SIZE)
    yield sample
    sample.path.unlink(missing_ok=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty directory to download into."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty directory to serve."""
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def source(tmp_path: Path) -> Sample:
    """A file to upload."""
    return make_sample(tmp_path / "source.bin", 5 * MIB + 77)
