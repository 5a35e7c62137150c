"""Who reaches an address that is listened on."""

import socket
from contextlib import closing, suppress

import pytest

from fileserve.server import listeners
from fileserve.settings import Settings


def reached_from(host: str) -> set[str]:
    """Return the loopback addresses by which a server on *host* is reached."""
    (listener,) = listeners.listen(Settings(host=host, port=0))
    reached = set()
    with closing(listener):
        for address in ("127.0.0.1", "::1"):
            with suppress(OSError), socket.create_connection((address, listener.getsockname()[1]), 10):
                reached.add(address)
    return reached


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no sockets for both families")
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("::", {"127.0.0.1", "::1"}),
        ("0::0", {"127.0.0.1", "::1"}),
    ],
)
def test_an_address_is_reached_by_its_family_and_all_of_ipv6_by_both(host: str, expected: set[str]) -> None:
    assert reached_from(host) == expected


def test_a_system_without_sockets_for_both_has_ipv6_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert reached_from("::") == {"::1"}
