"""A client whose uploads are taken, and a look around after each test of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.asgi import Client, client_of
from tests.hostile import SECRET, SECRET_PATH
from tests.pool import settle
from tests.web.uploading import open_beneath, settings


@pytest.fixture
async def uploader(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(settings(served_root)) as opened:
        yield opened


@pytest.fixture
def nothing_else_changes(served_root: Path) -> Iterator[None]:
    """Nothing is written beside the root, and no descriptor stays open."""
    (served_root.parent / "outside").mkdir()
    (served_root.parent / SECRET_PATH).write_bytes(SECRET)
    yield
    settle()
    assert (served_root.parent / SECRET_PATH).read_bytes() == SECRET
    assert {path.name for path in served_root.parent.iterdir()} == {"root", "outside"}
    assert not open_beneath(served_root)


@pytest.fixture
def nothing_is_left(served_root: Path, nothing_else_changes: None) -> Iterator[None]:
    """The same, and nothing hidden is left."""
    yield
    settle()
    assert not list(served_root.rglob(".fileserve-*"))
