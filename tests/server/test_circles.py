"""What is over leaves nothing for the garbage collector, which would stop everybody to look for it."""

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.apps import file_app, hello
from tests.server.harness import Client, Served, wait_until

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def nothing(client: Client) -> None:
    client.sock.close()


def whole(client: Client) -> None:
    assert client.get("/?0-70000").response().content


def two(client: Client) -> None:
    for _ in range(2):
        client.get("/?0-10")
    client.response()
    client.response()


def left(client: Client) -> None:
    client.get()
    client.exactly(100_000)


def reset(client: Client) -> None:
    client.get()
    client.exactly(100_000)
    client.reset()


def incomplete(client: Client) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost:")


def refused(client: Client) -> None:
    client.send(b"GET / HTTP/9.9\r\n\r\n").rest()


def with_content(client: Client) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello").response()


@pytest.mark.parametrize("visit", [nothing, whole, two, left, reset, incomplete, refused, with_content])
def test_a_connection_that_is_over_is_gone(shared: Served, file: Path, visit: Callable[[Client], None]) -> None:
    shared.app = hello if visit is with_content else file_app(file)
    with shared.connect() as client:
        wait_until(lambda: shared.connections() == 1)
        connection = weakref.ref(shared.protocols()[0])
        visit(client)
    wait_until(lambda: connection() is None)
