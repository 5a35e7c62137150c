"""Who is counted as one client, and whose word is taken for it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.server import clients
from fileserve.server.clients import Proxies, Tally, Ticket, key_of
from fileserve.server.edge import Edge
from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        pytest.param("1.2.3.4", "1.2.3.4", id="ipv4"),
        pytest.param("::ffff:1.2.3.4", "1.2.3.4", id="ipv4_on_a_dual_stack_socket"),
        pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="ipv6_by_its_64"),
        pytest.param("2001:db8:1:2::ff", "2001:db8:1:2::/64", id="ipv6_neighbour"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="ipv6_with_zone"),
        pytest.param(None, None, id="unix_socket"),
        pytest.param("unknown", None, id="no_address"),
    ],
)
def test_a_client_is_its_address_or_its_network(peer: str | None, key: str | None) -> None:
    assert key_of(peer) == key


def test_a_long_text_that_is_no_address_is_not_kept() -> None:
    kept = clients._parse_short.cache_info().currsize
    assert key_of("1.2.3.4:" + "1" * 60_000) is None
    assert clients._parse_short.cache_info().currsize == kept


def scope_of(peer: str | None, *fields: tuple[bytes, bytes]) -> Any:
    return {"client": (peer, 1) if peer else None, "scheme": "http", "headers": list(fields)}


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        pytest.param((), "10.0.0.1", [b"1.1.1.1"], "10.0.0.1", id="nobody_is_trusted"),
        pytest.param(("10.0.0.1",), "10.0.0.2", [b"1.1.1.1"], "10.0.0.2", id="another_peer"),
        pytest.param(("10.0.0.1",), "10.0.0.1", [b"1.1.1.1"], "1.1.1.1", id="trusted_address"),
        pytest.param(("10.0.0.0/8",), "10.9.9.9", [b"1.1.1.1"], "1.1.1.1", id="trusted_network"),
        pytest.param(("10.0.0.0/8",), "::ffff:10.9.9.9", [b"1.1.1.1"], "1.1.1.1", id="trusted_on_a_dual_stack_socket"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [], "10.0.0.1", id="no_field"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"6.6.6.6, 1.1.1.1"], "1.1.1.1", id="forged_hop_on_the_left"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"1.1.1.1, 10.0.0.2"], "1.1.1.1", id="chain_of_proxies"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"6.6.6.6", b"1.1.1.1"], "1.1.1.1", id="two_field_lines"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3", id="all_trusted"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"1.1.1.1, unknown"], "10.0.0.1", id="no_address_ends_the_search"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"1.1.1.1:4711"], "1.1.1.1", id="with_port"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b"[2001:db8::1]:80"], "2001:db8::1", id="ipv6_with_port"),
        pytest.param(("10.0.0.0/8",), "10.0.0.1", [b" , "], "10.0.0.1", id="empty_members"),
        pytest.param(("unix:",), None, [b"1.1.1.1"], "1.1.1.1", id="unix_socket_trusted"),
        pytest.param((), None, [b"1.1.1.1"], None, id="unix_socket_not_trusted"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(
    trusted: tuple[str, ...], peer: str | None, forwarded: list[bytes], client: str | None
) -> None:
    scope = scope_of(peer, *((b"x-forwarded-for", value) for value in forwarded))
    Proxies(trusted).resolve(scope)
    assert (scope["client"][0] if scope["client"] else None) == client


@pytest.mark.parametrize(
    ("value", "scheme"), [(b"https", "https"), (b"http", "http"), (b"gopher", "http"), (b"", "http")]
)
def test_the_scheme_is_the_forwarded_one_where_it_is_one(value: bytes, scheme: str) -> None:
    scope = scope_of("10.0.0.1", (b"x-forwarded-proto", value))
    Proxies(("10.0.0.1",)).resolve(scope)
    assert scope["scheme"] == scheme


@pytest.mark.parametrize(
    ("peer", "values", "taken"),
    [
        pytest.param(
            "10.0.0.1", [b"0123456789abcdef0123456789abcdef"], b"0123456789abcdef0123456789abcdef", id="nginx_s"
        ),
        pytest.param(
            "10.0.0.1", [b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"], b"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", id="uuid"
        ),
        pytest.param("10.0.0.1", [b"x" * 128], b"x" * 128, id="as_long_as_may_be"),
        pytest.param("10.0.0.1", [b"one", b"two"], b"two", id="the_last_counts"),
        pytest.param("10.0.0.1", [b"x" * 129], None, id="too_long"),
        pytest.param("10.0.0.1", [b"two words"], None, id="a_space"),
        pytest.param("10.0.0.1", [b'quote"'], None, id="a_quote"),
        pytest.param("10.0.0.1", [b"a\n"], None, id="a_line_feed"),
        pytest.param("10.0.0.1", [b"\xff"], None, id="no_ascii"),
        pytest.param("10.0.0.1", [b""], None, id="empty"),
        pytest.param("10.0.0.1", [], None, id="none"),
        pytest.param("10.0.0.2", [b"one"], None, id="of_a_stranger"),
    ],
)
def test_the_id_of_a_trusted_proxy_is_taken_where_it_is_well_formed(
    peer: str, values: list[bytes], taken: bytes | None
) -> None:
    scope = scope_of(peer, *((b"x-request-id", value) for value in values))
    assert Proxies(("10.0.0.1",)).resolve(scope) == taken


@pytest.mark.parametrize("name", ["localhost", "10.0.0.0/99", ""])
def test_a_trusted_proxy_that_is_no_network_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Proxies([name])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_a_tally_holds_what_was_taken_and_not_given_back(steps: list[tuple[str, bool]]) -> None:
    """Any order of taking and giving back: never above the limit, and nothing is kept for who holds nothing."""
    tally, held = Tally(2), {"a": list[Ticket](), "b": list[Ticket](), "c": list[Ticket]()}
    for client, takes in steps:
        if takes:
            ticket = tally.take(client)
            assert (ticket is None) == (len(held[client]) == 2)
            if ticket is not None:
                held[client].append(ticket)
        elif held[client]:
            ticket = held[client].pop()
            ticket.give_back()
            ticket.give_back()  # the second time counts for nothing
    assert len(tally) == sum(1 for tickets in held.values() if tickets)


def test_a_refused_client_takes_no_place_of_all() -> None:
    edge = Edge(Limits(connections=2, connections_per_client=1))
    first = edge.admit_connection("1.1.1.1")
    assert isinstance(first, Ticket)
    assert edge.admit_connection("1.1.1.1") is Refusal.CONNECTIONS
    assert isinstance(edge.admit_connection("2.2.2.2"), Ticket)
    assert edge.admit_connection("3.3.3.3") is Refusal.FULL
    edge.dismiss_connection(first)
    assert isinstance(edge.admit_connection("3.3.3.3"), Ticket)
