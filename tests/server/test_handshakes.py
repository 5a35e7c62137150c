"""A connection over TLS counts from its first moment, and its place comes back, however its handshake ends."""

import errno
import gc
import logging
import socket
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from fileserve.server import Limits, handshakes
from fileserve.server.edge import MAX_LINGERING, Edge, edge_of
from fileserve.server.protocol import Protocol
from fileserve.server.refusals import Refusal
from tests.server.apps import hello
from tests.server.harness import PATIENCE_S, Served, ShakingServer, connect_tls, serving, wait_until

PLACES = 50
MORE = 20  # than are refused with a word


@contextmanager
def shaking(loop: str, tls: dict[str, Any], **limits: Any) -> Iterator[tuple[Served, Edge]]:
    given = Limits(connections=PLACES, **limits)
    with serving(hello, loop, given, kind=ShakingServer, **tls) as served:
        wait_until(lambda: served.server.started)
        yield served, edge_of(served.server.server_state, given)


def silent(served: Served) -> socket.socket:
    return socket.create_connection(served.address, PATIENCE_S)


def all_is_given_back(edge: Edge) -> bool:
    given_back = edge.free_places == PLACES and not edge.lingering and not len(edge.connections_by_client)
    return given_back and edge.counts.admitted == edge.counts.dismissed


@pytest.mark.parametrize(
    ("limits", "held", "refusal"),
    [
        pytest.param({"connections_per_client": 3}, 3, Refusal.CONNECTIONS, id="of_one_client"),
        pytest.param({}, PLACES, Refusal.FULL, id="of_all"),
    ],
)
def test_silent_clients_hold_no_more_than_they_may(
    loop: str, tls: dict[str, Any], limits: dict[str, Any], held: int, refusal: Refusal
) -> None:
    with shaking(loop, tls, **limits) as (served, edge), ExitStack() as stack:
        clients = [stack.enter_context(silent(served)) for _ in range(held + MAX_LINGERING + MORE)]
        wait_until(lambda: edge.counts.refusals[refusal] == MORE)
        assert edge.counts.admitted == held
        assert len(edge.lingering) == MAX_LINGERING
        for client in clients[-MORE:]:
            assert client.recv(1) == b""
        stack.close()
        wait_until(lambda: all_is_given_back(edge))
        with connect_tls(served, tls) as shaken:
            assert shaken.get().response().status == 200


def test_who_is_refused_is_told_why(loop: str, tls: dict[str, Any]) -> None:
    with shaking(loop, tls, connections_per_client=1) as (served, edge):
        with silent(served):
            wait_until(lambda: edge.counts.admitted == 1)
            with connect_tls(served, tls) as refused:
                assert refused.response().status == 429
            assert edge.counts.refusals[Refusal.CONNECTIONS] == 1
        wait_until(lambda: all_is_given_back(edge))


def leave(client: socket.socket) -> None:
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def speak_plainly(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")


def begin_and_leave(client: socket.socket) -> None:
    client.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    client.close()


@pytest.mark.parametrize("fail", [leave, half_close, reset, speak_plainly, begin_and_leave])
@pytest.mark.parametrize("is_heard", [True, False])
def test_a_handshake_that_fails_gives_its_place_back_and_is_not_in_the_log(
    loop: str,
    tls: dict[str, Any],
    fail: Callable[[socket.socket], None],
    is_heard: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also at once, before the server has looked."""
    caplog.set_level(logging.WARNING)
    with shaking(loop, tls, connections_per_client=5) as (served, edge):
        client = silent(served)
        if is_heard:
            wait_until(lambda: edge.counts.admitted == 1)
        fail(client)
        wait_until(lambda: edge.counts.admitted == 1 and all_is_given_back(edge))
        client.close()
        assert not served.connections()
    assert not caplog.messages


@pytest.mark.parametrize("fail", [leave, speak_plainly])
def test_a_handshake_that_fails_leaves_nothing_for_the_garbage_collector(
    tls: dict[str, Any], fail: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With uvloop; what asyncio's own transports leave is theirs."""
    pytest.importorskip("uvloop")
    made: weakref.WeakSet[Protocol] = weakref.WeakSet()
    init = Protocol.__init__

    def remembered(protocol: Protocol, *args: Any) -> None:
        init(protocol, *args)
        made.add(protocol)

    monkeypatch.setattr(Protocol, "__init__", remembered)
    gc.disable()
    try:
        with shaking("uvloop", tls) as (served, edge), silent(served) as client:
            wait_until(lambda: edge.counts.admitted == 1)
            assert len(made) == 1
            fail(client)
            wait_until(lambda: edge.counts.dismissed == 1)
            wait_until(lambda: not made)
    finally:
        gc.enable()


def test_a_handshake_that_takes_too_long_gives_its_place_back(
    loop: str, tls: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with shaking(loop, tls, head_timeout_s=0.2) as (served, edge), silent(served) as client:
        assert client.recv(1) == b""
        wait_until(lambda: edge.counts.admitted == 1 and all_is_given_back(edge))
    assert not caplog.messages


def test_a_connection_has_one_place_from_its_beginning_to_its_end(loop: str, tls: dict[str, Any]) -> None:
    with shaking(loop, tls, connections_per_client=5) as (served, edge):
        with connect_tls(served, tls) as client:
            assert client.get().response().status == 200
            assert (edge.counts.admitted, edge.free_places, len(edge.connections_by_client)) == (1, PLACES - 1, 1)
        wait_until(lambda: edge.counts.dismissed == 1 and all_is_given_back(edge))


def test_a_server_that_ends_leaves_no_handshake_behind(
    loop: str, tls: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with ExitStack() as stack:
        with shaking(loop, tls) as (served, edge):
            clients = [stack.enter_context(silent(served)) for _ in range(5)]
            wait_until(lambda: edge.counts.admitted == 5)
        assert [client.recv(1) for client in clients] == [b""] * 5
        assert all_is_given_back(edge)
    assert not caplog.messages


def test_where_descriptors_are_short_it_is_tried_again(
    loop: str, tls: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handshakes, "RETRY_S", 0.05)
    errors = [OSError(errno.EMFILE, "no descriptors"), OSError(errno.ENOBUFS, "no memory")]
    accept = socket.socket.accept

    def failing(listener: socket.socket) -> Any:
        if errors:
            raise errors.pop(0)
        return accept(listener)

    with shaking(loop, tls) as (served, _):
        monkeypatch.setattr(socket.socket, "accept", failing)
        with connect_tls(served, tls) as client:
            assert client.get().response().status == 200
    assert [message.split("] ")[1] for message in caplog.messages] == ["no descriptors", "no memory"]
