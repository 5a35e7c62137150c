"""Who is measured, and how each is started.

A peer is a row of `PEERS`: how to say its command line, and what it needs to be there. Each server is one process
(nginx: a master and one worker), starts on the server's processor, and is stopped by its process id.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import certificate, nginx

REPOSITORY = Path(__file__).parent.parent
WATCHED_TOKEN = "for-benchmarks-only"
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--backlog", "4096")
_UPLOADS = ("--upload", "--replace", "--keep-free", "0", "--uploads-per-client", "64")
# With its default buffer of 16 KiB nginx takes twice the processor time.
_DAV = ("dav_methods PUT;", "client_max_body_size 0;", "client_body_buffer_size 256k;")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server serves: *root* on *port* of 127.0.0.1, with *folder* for what it has to write."""

    root: Path
    port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One server: its name in tables, its command line, why it cannot run here (if so), the path before a file's name.

    *slowness* divides what it has to transfer, so that a sample lasts about as long as that of a fast one.
    """

    name: str
    command: Callable[[Place], list[str]]
    lacks: Callable[[], str | None]
    prefix: str = "/"
    slowness: int = 1


def _fileserve(*options: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        return [sys.executable, "-m", "fileserve", "serve", str(place.root), "--port", str(place.port), *options]

    return command


def _fileserve_chunks(place: Place) -> list[str]:
    """Serve without zero-copy; before there was the option, fileserve never used it."""
    return _fileserve(*(("--zero-copy", "off") if "--zero-copy" in _fileserve_options() else ()))(place)


def _fileserve_asyncio(place: Place) -> list[str]:
    """Serve with asyncio's own event loop, as where uvloop is not installed."""
    program = "import sys; sys.modules['uvloop'] = None; from fileserve.cli import main; main()"
    return [sys.executable, "-c", program, *_fileserve()(place)[3:]]


def _fileserve_tls(place: Place) -> list[str]:
    certificate_path, key_path = certificate.make(place.folder)
    return _fileserve("--ssl-certfile", str(certificate_path), "--ssl-keyfile", str(key_path))(place)


def _nginx(*directives: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        listen = f"127.0.0.1:{place.port} backlog=4096"
        return _run_nginx(place, nginx.write_configuration(place.folder, place.root, listen, *directives))

    return command


def _nginx_tls(place: Place) -> list[str]:
    certificate_path, key_path = certificate.make(place.folder)
    directives = (f"ssl_certificate {certificate_path};", f"ssl_certificate_key {key_path};", "ssl_protocols TLSv1.3;")
    listen = f"127.0.0.1:{place.port} ssl backlog=4096"
    return _run_nginx(place, nginx.write_configuration(place.folder, place.root, listen, *directives))


def _run_nginx(place: Place, configuration: Path) -> list[str]:
    folder = str(place.folder)
    return [_nginx_path() or "nginx", "-p", folder, "-c", str(configuration), "-e", f"{folder}/error.log"]


def _uvicorn(app: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        return [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{app}", "--port", str(place.port), *UVICORN]

    return command


def _nothing() -> None:
    return None


def _lacks_nginx() -> str | None:
    return None if _nginx_path() else "nginx is not installed"


def _lacks_nginx_dav() -> str | None:
    if not (reason := _lacks_nginx()) and "--with-http_dav_module" not in _nginx_build():
        return "nginx is built without WebDAV"
    return reason


def _lacks_nginx_threads() -> str | None:
    if not (reason := _lacks_nginx()) and "--with-threads" not in _nginx_build():
        return "nginx is built without threads"
    return reason


def _nginx_build() -> str:
    return subprocess.run([_nginx_path() or "nginx", "-V"], capture_output=True, text=True, check=True).stderr


def _lacks_fileserve_tls() -> str | None:
    return certificate.lacks() if "--ssl-certfile" in _fileserve_options() else "fileserve serve has no --ssl-certfile"


def _nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@functools.cache
def _fileserve_options() -> frozenset[str]:
    command = [sys.executable, "-m", "fileserve", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(Path()))
    return frozenset(re.findall(r"--[a-z-]+", done.stdout))


def environment(root: Path) -> dict[str, str]:
    """Return what a server's process is told: nothing of this user's settings for fileserve, and where the code is."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FILESERVE_")}
    return inherited | {"PYTHONPATH": str(REPOSITORY), "BENCHMARK_FOLDER": str(root), "XDG_CACHE_HOME": os.devnull}


FILESERVE = Peer("fileserve", _fileserve(), _nothing, "/download/")
WATCHED = Peer("fileserve", _fileserve("--operator-token", WATCHED_TOKEN), _nothing, "/download/")
FILESERVE_CHUNKS = Peer("fileserve, chunks", _fileserve_chunks, _nothing, "/download/")
FILESERVE_UPLOADS = Peer("fileserve, uploads", _fileserve(*_UPLOADS), _nothing, "/upload/")
FILESERVE_UNHASHED = Peer("fileserve, no digests", _fileserve(*_UPLOADS, "--no-upload-digests"), _nothing, "/upload/")
FILESERVE_TLS = Peer("fileserve, TLS", _fileserve_tls, _lacks_fileserve_tls, "/download/")
FILESERVE_ASYNCIO = Peer("fileserve, asyncio", _fileserve_asyncio, _nothing, "/download/")
NGINX = Peer("nginx", _nginx(), _lacks_nginx)
NGINX_DAV = Peer("nginx, WebDAV", _nginx(*_DAV), _lacks_nginx_dav)
NGINX_THREADS = Peer("nginx, aio threads", _nginx("aio threads;"), _lacks_nginx_threads)
NGINX_TLS = Peer("nginx, TLS", _nginx_tls, lambda: _lacks_nginx() or certificate.lacks())
STARLETTE = Peer("Starlette", _uvicorn("file_response"), _nothing, slowness=16)
NAIVE = Peer("naive 8 KiB", _uvicorn("naive"), _nothing, slowness=64)
