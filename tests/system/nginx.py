"""The real nginx with the configurations that we ship, in a folder of its own and without root."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import stop, tool, wait_until

CONFIGURATIONS = Path(__file__).parent.parent.parent / "nginx"
START_S = 20
MAIN = """\
{user}daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log access.log;
    client_body_temp_path spool/body 1;
    proxy_temp_path spool/proxy 1;
    fastcgi_temp_path spool/fastcgi;
    uwsgi_temp_path spool/uwsgi;
    scgi_temp_path spool/scgi;
    include {site};
}}
"""


@dataclass(frozen=True)
class Nginx:
    """An nginx that runs as a child process: where it answers, and the folder with its logs and all that it writes."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def access_log(self) -> str:
        """What it has logged of requests so far."""
        return (self.folder / "access.log").read_text()

    @property
    def error_log(self) -> str:
        """What it has complained about so far."""
        return (self.folder / "error.log").read_text()

    def spooled(self) -> list[Path]:
        """Return the traces of contents that it has written to temporary files, of requests and of responses.

        The files themselves have no name from the moment they are made; the folders that are made for them stay.
        """
        return [path for kind in ("body", "proxy") for path in (self.folder / "spool" / kind).rglob("*")]


@contextmanager
def nginx(configuration: str, *upstreams: str, changes: Mapping[str, str] | None = None) -> Iterator[Nginx]:
    """Run nginx with one of our configurations for the length of the block, on a port of its own.

    Args:
        configuration: a file in ``nginx/``; the snippets that it includes come along.
        upstreams: URLs of the servers behind it, in place of the shipped address.
        changes: texts of the shipped files and what stands in their place here. Each must stand there.
    """
    program, port = tool("nginx"), free_port()
    servers = " ".join(f"server {url.removeprefix('http://')};" for url in upstreams)
    shipped = {"listen 80;": f"listen 127.0.0.1:{port};", "server 127.0.0.1:8000;": servers}
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        _write(folder, configuration, shipped | dict(changes or {}))
        process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
        try:
            assert wait_until(lambda: accepts(port) or process.poll() is not None, START_S)
            assert process.poll() is None, (folder / "error.log").read_text()
            yield Nginx(f"http://127.0.0.1:{port}", folder, process)
        finally:
            stop(process)


def _write(folder: Path, configuration: str, changes: Mapping[str, str]) -> None:
    """Write the configuration and the snippets into *folder*, with *changes*."""
    sources = [CONFIGURATIONS / configuration, *(CONFIGURATIONS / "snippets").iterdir()]
    texts = {source.relative_to(CONFIGURATIONS): source.read_text() for source in sources}
    for shipped, here in changes.items():
        assert any(shipped in text for text in texts.values()), f"no configuration has: {shipped}"
        texts = {name: text.replace(shipped, here) for name, text in texts.items()}
    for system in ("/var/log/nginx/", "/var/lib/nginx/"):  # where they exist, they are not ours
        texts = {name: text.replace(system, "") for name, text in texts.items()}
    for subfolder in ("snippets", "spool"):
        (folder / subfolder).mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    # Started by root, nginx would become "nobody", who may not write into a folder that only its owner may.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(site=configuration, user=user))


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Tell whether somebody listens on the port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
