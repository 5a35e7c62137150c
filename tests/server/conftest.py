"""What every test of the server gets: both loops, a file, and a look at the descriptors afterwards."""

import asyncio
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.server.downloading import digest_of, fill
from tests.server.harness import Served, descriptors, serving, wait_until
from tests.tools import tool

MIB = 1 << 20


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """The event loop that the server runs on."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """A self-signed certificate, as uvicorn's settings."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-days", "1"]
    command = [tool("openssl"), "req", "-x509", *curve, "-keyout", key, "-out", certificate, *subject]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {"ssl_keyfile": key, "ssl_certfile": certificate}


@pytest.fixture(scope="session")
def content() -> bytes:
    """24 MiB in which every position looks different."""
    return random.Random(1).randbytes(24 * MIB)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Path:
    """A file with that content."""
    path = tmp_path / "file"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to serve that no test changes, with a large file and a small one."""
    return fill(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="session")
def digest(root: Path) -> str:
    """Of the large file."""
    return digest_of(root / "large")


@pytest.fixture(scope="session")
def warmed_up() -> None:
    """Let uvloop take the descriptors that a process keeps for all its loops."""
    with suppress(ImportError):
        import uvloop

        uvloop.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
def no_descriptor_stays(warmed_up: None) -> Iterator[None]:
    """Each test leaves as many descriptors as it found."""
    before = descriptors()
    yield
    wait_until(lambda: descriptors() <= before)


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def shared(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server with the default limits for a whole module; a test sets its ``app``."""
    from tests.server.apps import hello

    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    with serving(hello, str(request.param)) as served:
        wait_until(lambda: served.server.started)
        yield served
