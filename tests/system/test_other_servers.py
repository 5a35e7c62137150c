"""The same downloads on servers without our extension, and on the event loop that is there."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.samples import MIB, Sample, make_sample
from tests.tools import Running, running, serving

pytestmark = pytest.mark.system

Start = Callable[[Path], AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    made = make_sample(tmp_path_factory.mktemp("root") / "sample", 20 * MIB)
    yield made
    made.path.unlink()


def uvicorn_itself(root: Path) -> AbstractContextManager[Running]:
    command = (sys.executable, "-m", "uvicorn", "--factory", "fileserve:create_app", "--port", "0")
    return running(*command, FILESERVE_ROOT=str(root))


@contextmanager
def hypercorn(root: Path) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sys.executable, "-m", "hypercorn", "fileserve.web.app:create_app()", "--bind", f"127.0.0.1:{port}")
    with running(*command, FILESERVE_ROOT=str(root)) as server:
        yield server


def without_zero_copy(root: Path) -> AbstractContextManager[Running]:
    return serving(root, "--zero-copy", "off")


@contextmanager
def without_uvloop(root: Path) -> Iterator[Running]:
    """Run fileserve where uvloop cannot be imported."""
    folder = root.parent / "hiding"
    folder.mkdir(exist_ok=True)
    (folder / "uvloop.py").write_text("raise ImportError\n")
    command = (sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0")
    with running(*command, PYTHONPATH=os.pathsep.join((str(folder), *sys.path))) as server:
        yield server


@pytest.mark.parametrize("start", [serving, without_uvloop, without_zero_copy, uvicorn_itself, hypercorn])
def test_the_whole_and_a_range_arrive(start: Start, sample: Sample) -> None:
    with start(sample.path.parent) as server:
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
        connection.request("GET", "/download/sample")
        whole = connection.getresponse()
        assert sha256(whole.read()).hexdigest() == sample.digest
        connection.request("GET", "/download/sample", headers={"range": f"bytes={3 * MIB}-"})
        rest = connection.getresponse()
        assert rest.status == 206
        assert rest.read() == sample.path.read_bytes()[3 * MIB :]
        connection.close()
        assert "Traceback" not in server.log.read_text()
