"""What all connections of one server share.

uvicorn makes one `ServerState` for each server, and a protocol for each connection. An `Edge` stands beside the
`ServerState` and lives as long: it owns the tallies of clients, the watch for stalled peers and the signals of the end.
Two servers in one process share nothing, and no global is to be set before a start. More attributes than elsewhere,
because what is shared has this one owner.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from uvicorn.server import ServerState

from fileserve.records import new_request_ids
from fileserve.server.clients import Proxies, Tally, Ticket, key_of
from fileserve.server.counts import Counts
from fileserve.server.deadlines import Deadlines
from fileserve.server.limits import RESERVED_DESCRIPTORS, Limits
from fileserve.server.refusals import Refusal
from fileserve.server.rests import Rests
from fileserve.server.sparing import Sparing
from fileserve.server.stalls import StallWatch

MAX_LINGERING = RESERVED_DESCRIPTORS // 2  # more would take the descriptors that admitted connections count on


class Waiting(Protocol):
    """What a connection is told when its time is over."""

    def head_is_late(self) -> None:
        """The time of a request head, or of a connection that asks for nothing."""

    def timeout_keep_alive_handler(self) -> None:
        """The idle time between two requests."""


class Edge:
    """The shared state of one server's connections. It belongs to the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.free_places = limits.affordable_connections()
        self.counts = Counts(self.free_places)
        self.request_ids = new_request_ids()
        self.lingering: set[object] = set()
        self.proxies = Proxies(limits.trusted_proxies)
        self.connections_by_client = Tally(limits.connections_per_client)
        self.transfers_by_client = Tally(limits.transfers_per_client)
        self.stalls = StallWatch(limits.stall_timeout_s)
        self.prepare: Callable[[], None] = lambda: None  # called when a connection has ended
        self.leaving = asyncio.Event()
        self.draining = asyncio.Event()
        self.rests = Rests()
        self.sparing = Sparing(logging.getLogger("uvicorn.error"))
        self.heads: Deadlines[Waiting] = Deadlines(lambda connection: connection.head_is_late())
        self.idle: Deadlines[Waiting] = Deadlines(lambda connection: connection.timeout_keep_alive_handler())

    def admit_connection(self, peer: str | None) -> Ticket | Refusal:
        """Count a connection from *peer*, or refuse it. Who is admitted is dismissed once.

        Policy: what is refused takes no place, though it may live a moment longer (see `may_linger`); otherwise a flood
        of refused connections would keep the freed places from everyone.
        """
        if self.free_places <= 0:
            return Refusal.FULL
        tally = self.connections_by_client
        client = key_of(peer) if tally.limit is not None and not self.proxies.trust(peer) else None
        ticket = tally.take(client)
        if ticket is None:
            return Refusal.CONNECTIONS
        self.free_places -= 1
        self.counts.admitted += 1
        return ticket

    def dismiss_connection(self, ticket: Ticket) -> None:
        """Count the connection that got *ticket* no more."""
        self.free_places += 1
        self.counts.dismissed += 1
        ticket.give_back()

    def may_linger(self, refused: object) -> bool:
        """Let a refused connection be heard out until it is dropped from `lingering`, where not too many are."""
        if len(self.lingering) < MAX_LINGERING:
            self.lingering.add(refused)
        return refused in self.lingering

    def admit_transfer(self, client: str | None) -> Ticket | None:
        """Count a request from the address *client* as a transfer; ``None`` where it is one too many."""
        return self.transfers_by_client.take(key_of(client))

    def leave(self) -> None:
        """Begin to turn clients away: from now on each connection ends after its response, and says so."""
        self.leaving.set()

    def drain(self) -> None:
        """Tell streams to end: the server accepts no more and waits for what is under way."""
        self.leaving.set()
        self.draining.set()
        self.rests.close()


_EDGE = "fileserve.edge"  # among the attributes of a `ServerState`, beside uvicorn's own


def edge_of(server_state: ServerState, limits: Limits) -> Edge:
    """Return the edge that belongs to *server_state*; the first connection makes it, with *limits*."""
    attributes = vars(server_state)
    edge: Edge | None = attributes.get(_EDGE)
    if edge is None:
        edge = attributes[_EDGE] = Edge(limits)
    return edge
