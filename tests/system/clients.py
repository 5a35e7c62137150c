"""The clients that people download with, as child processes that know nothing of this user's configuration."""

import http.client
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

from tests.tools import clean_environment, tool, wait_until

TIMEOUT_S = 60


def run_client(
    name: str, *arguments: str, folder: Path, timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run the client *name* in *folder* to its end, and return what it said."""
    return subprocess.run(
        [tool(name), *arguments],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
    )


@contextmanager
def started_client(name: str, *arguments: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the client *name* in *folder* for the length of the block; kill it when it has not ended by then."""
    with subprocess.Popen(
        [tool(name), *arguments],
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _environment(folder: Path) -> dict[str, str]:
    """No proxies, and no .curlrc, .wgetrc or aria2.conf: the home directory is *folder*."""
    inherited = {name: value for name, value in clean_environment().items() if not name.lower().endswith("_proxy")}
    return {**inherited, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LC_ALL": "C.UTF-8"}


def head(url: str) -> Message:
    """Return the fields of a HEAD of *url*."""
    address, _, path = url.partition("//")[2].partition("/")
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request("HEAD", f"/{path}")
        return connection.getresponse().headers
    finally:
        connection.close()


def strong_etag(url: str) -> str:
    """Return the entity tag of *url*, once the file's last change is long enough ago for the tag to be strong."""
    assert wait_until(lambda: not head(url)["etag"].startswith("W/"), timeout_s=10)
    return head(url)["etag"]
