"""A served root with awkward names, and a client of the application that serves it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fileserve import Settings
from tests.asgi import Client, client_of

DIGITS = b"0123456789"
LARGE = bytes(range(256)) * 4096  # 1 MiB: several chunks
AN_HOUR_AGO_NS = 1_700_000_000 * 10**9


@pytest.fixture
def served_root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder" / "deeper").mkdir(parents=True)
    files = {
        b"digits.txt": DIGITS,
        b"large.bin": LARGE,
        b"empty": b"",
        b"archive.tar.gz": b"gzip",
        b"with space \"quote\" 'single' & <angle>.txt": b"quotes",
        b"new\nline.txt": b"newline",
        b"back\\slash": b"backslash",
        b"not-utf8-\xff": b"bytes",
        "emoji-😀.txt".encode(): b"emoji",
        b".hidden": b"hidden",
        b"folder/inner.txt": b"inner",
        b"page.html": b"<script>alert(1)</script>",
    }
    for name, content in files.items():
        path = os.path.join(os.fsencode(root), name)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, ns=(AN_HOUR_AGO_NS, AN_HOUR_AGO_NS))
    (root / "leaving").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture(params=[pytest.param(False, id="chunks"), pytest.param(True, id="zero_copy")])
async def client(request: pytest.FixtureRequest, served_root: Path) -> AsyncIterator[Client]:
    settings = Settings(root=served_root, chunk_size=65536, weak_etag_ms=0)
    async with client_of(settings, zero_copy=request.param) as opened:
        yield opened
