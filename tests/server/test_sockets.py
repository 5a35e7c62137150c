"""What ASGI is told of a socket's two ends."""

import pytest

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
