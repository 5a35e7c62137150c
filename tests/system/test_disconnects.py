"""Clients that leave in the middle of a download, in every way there is, cost the server no descriptor."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.clients import run_client
from tests.system.forwarding import RESET_ON_CLOSE
from tests.system.samples import Sample, digest
from tests.tools import Running, serving

pytestmark = [pytest.mark.system, pytest.mark.alone]

CLIENTS = 500
AT_ONCE = 100
READ = 64 * 1024


@pytest.fixture(
    params=[
        pytest.param(("--workers", "1"), id="one_worker"),
        pytest.param(("--workers", "2"), id="two_workers"),
    ]
)
def busy_server(request: pytest.FixtureRequest, served_root: Path) -> Iterator[Running]:
    with serving(served_root, *request.param) as running:
        yield running


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    client.close()


def half_close(client: socket.socket) -> None:
    """Say that no more requests come, read on a little, and leave."""
    client.shutdown(socket.SHUT_WR)
    client.recv(READ)
    client.close()


WAYS_TO_LEAVE = (close, reset, half_close)


def begin_download(server: Running, sample: Sample) -> socket.socket:
    """Return a connection on which a large download has begun, and a little of it was read."""
    host, _, port = server.url.rpartition("/")[2].rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    client.sendall(f"GET /download/{sample.name} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.recv(READ).startswith(b"HTTP/1.1 200 ")
    return client


def download_whole(server: Running, sample: Sample, folder: Path) -> str:
    ended = run_client("curl", "-sS", "-f", "-O", f"{server.url}/download/{sample.name}", folder=folder)
    assert ended.returncode == 0, ended.stderr
    return digest(folder / sample.name)


def test_500_clients_that_leave_mid_content_cost_no_descriptor(
    busy_server: Running, large: Sample, folder: Path
) -> None:
    """Afterwards the server holds as many descriptors as before, and still answers."""
    assert download_whole(busy_server, large, folder) == large.digest
    before = busy_server.descriptors()
    for _ in range(CLIENTS // AT_ONCE):
        with ExitStack() as stack:
            clients = [stack.enter_context(begin_download(busy_server, large)) for _ in range(AT_ONCE)]
            assert busy_server.descriptors() >= before + AT_ONCE
            for number, client in enumerate(clients):
                WAYS_TO_LEAVE[number % len(WAYS_TO_LEAVE)](client)
    assert busy_server.wait_for_descriptors(before) <= before
    assert download_whole(busy_server, large, folder) == large.digest
