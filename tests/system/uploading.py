"""What tests of uploads to a real server share: its options, requests in parts, moments to kill it at, a small disk."""

import random
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools import Running

OPTIONS = ("--upload", "--replace", "--keep-free", "0")
KILLS = 20


def left_in(root: Path) -> list[str]:
    """Return the names of all files in *root*, hidden ones among them."""
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def begin_request(
    server: Running, method: str, path: str, fields: Mapping[str, str], content: bytes = b""
) -> socket.socket:
    """Send the head of a request and *content*, all of it or a part, and return the connection."""
    host, _, port = server.url.rpartition("//")[2].partition(":")
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields.items())]
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


def moments_of(length: int, kills: int, seed: int) -> list[tuple[int, float]]:
    """Return random moments spread evenly over an upload: bytes that are sent by then, and seconds that pass behind.

    Three quarters are in the content, each in a stretch of its own; the rest lie behind its last byte, while the file
    is flushed and gets its name.
    """
    drawn, within = random.Random(seed), kills * 3 // 4
    sent = [(int((number + drawn.random()) * length / within), 0.0) for number in range(within)]
    return sent + [(length, drawn.uniform(0, 0.03)) for _ in range(kills - within)]


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Mount a file system in memory of this size, where that is allowed."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("mounting is not permitted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)
