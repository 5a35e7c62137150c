"""What ASGI is told of a socket's two ends."""

import socket

import pytest

from fileserve.server import sockets
from fileserve.server.sockets import address_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), ("2001:db8::1", 80)),
        (("::ffff:192.0.2.1", 80, 0, 0), ("192.0.2.1", 80)),
        (("::ffff:0:1", 80, 0, 0), ("::ffff:0:1", 80)),
        (("fe80::1%eth0.5", 80, 0, 2), ("fe80::1%eth0.5", 80)),
        ("/run/socket", ("/run/socket", None)),
        ("", None),
        (None, None),
    ],
)
def test_an_end_of_a_socket_is_told_as_asgi_has_it(name: object, expected: tuple[str, int | None] | None) -> None:
    assert address_of(name) == expected


def test_a_closed_socket_is_over_and_counts_nothing() -> None:
    """Under TLS, uvloop closes a socket one turn before it tells so, and the watch for stalls may look in that turn."""
    sock = socket.socket()
    sock.close()
    assert sockets.acknowledged(sock) == 0
    assert sockets.unacknowledged(sock) == 0
    assert sockets.is_over(sock, half_closed=False)
