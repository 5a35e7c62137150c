"""uvicorn's HTTP/1.1 protocol, with what it lacks for large files and open networks.

`Protocol` is passed to uvicorn as ``http=Protocol`` or ``http=Protocol.with_limits(Limits(...))``. It adds the limits
of `Limits`, the wire rules of `Intake`, the endings of `Ending`, and what `extension` tells the application.

Where the peer is a trusted proxy, ``client`` and ``scheme`` of the scope are those that it forwards, and its
X-Request-ID goes back with the answer. What the edge counts is in the lifespan's state (`counts`). Each override says
what of uvicorn it leans on; `tests/server/test_contract.py` fails when that changes. Left out: HTTP/2.
"""

import asyncio
from typing import Any, ClassVar, Self

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from fileserve.server.clients import Ticket
from fileserve.server.counts import COUNTS
from fileserve.server.endings import Ending
from fileserve.server.exchange import Exchange
from fileserve.server.intake import Reading
from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal
from fileserve.server.wire import Wire


class Protocol(Ending):
    """One connection of a client."""

    zero_copy: ClassVar[bool] = True
    tuned: ClassVar[bool] = False
    logs_requests: ClassVar[bool] = False

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        app_state.setdefault(COUNTS, self.edge.counts)
        self.wire = Wire(self.loop)
        self.ticket = None
        self.admitted: Ticket | Refusal | None = None  # by who has accepted the connection, where that is not uvicorn
        self.is_proxied = False  # until it is known who the peer is
        if self.limits.keep_alive_s is not None:
            self.timeout_keep_alive = self.limits.keep_alive_s  # type: ignore[assignment]  # may be a fraction

    @classmethod
    def with_limits(
        cls, limits: Limits, *, zero_copy: bool = True, tuned: bool = False, logs_requests: bool = False
    ) -> type[Self]:
        """Return a protocol class for `uvicorn.Config`.

        *tuned*: the listeners are, so that connections need not be. *logs_requests*: each request is one log record.
        """
        told = {"limits": limits, "zero_copy": zero_copy, "tuned": tuned, "logs_requests": logs_requests}
        return type(cls.__name__, (cls,), told)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set up the connection, and refuse it where it is one too many.

        Leans on uvicorn for ``connections``, ``client`` and ``scheme``, which `HttpToolsProtocol.connection_made` sets.
        """
        super().connection_made(transport)
        may_zero_copy = self.zero_copy and self.scheme == "http"
        self.wire.begin(transport, self.flow, tuned=self.tuned, may_zero_copy=may_zero_copy)
        self.edge.stalls.add(self)
        peer = self.client[0] if self.client else None
        self.is_proxied = bool(self.limits.trusted_proxies) and self.edge.proxies.trust(peer)
        admitted, self.admitted = self.admitted or self.edge.admit_connection(peer), None
        if isinstance(admitted, Refusal):
            self.refuse(admitted)
        else:
            self.ticket = admitted
            self.await_head()

    def never_made(self) -> None:
        """Give back the place of a connection that has not come about. Does nothing for one that has."""
        admitted, self.admitted = self.admitted, None
        if admitted is None:
            return
        self.parser = None  # type: ignore[assignment]  # which knows this object: nothing is left for the collector
        if isinstance(admitted, Ticket):
            self.edge.dismiss_connection(admitted)
        self.edge.prepare()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what the connection holds; tell the running request, since uvicorn tells only the newest of all."""
        self.edge.heads.discard(self)
        self._withdraw()
        self.edge.lingering.discard(self)
        self.pipeline.clear()
        self.unparsed = b""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.disconnect()
        self.wire.lose(self.edge.rests, is_answered=exchange is None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.edge.prepare()

    def on_response_complete(self) -> None:
        """Start the next request of a pipeline or the idle time; where neither is due, end or wait.

        In place of uvicorn's own, which sets a timer for each response.
        """
        self.wire.joining.flush()  # the answer to HEAD is a head alone
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.wire.release()
            self.end(exchange)
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.edge.idle.add(self, self.timeout_keep_alive)
        if self.unparsed and self.reading is Reading.PARSED:
            self.parse()
        elif self.exchange is None and (self.reading is not Reading.PARSED or self.arrival.incomplete):
            self.end_or_wait()
        self.flow.resume_reading()

    def _unset_keepalive_if_required(self) -> None:
        """Stop the idle time. Leans on uvicorn to do so by this alone, and for the time of `_linger`."""
        self.edge.idle.discard(self)
        super()._unset_keepalive_if_required()

    def handle_websocket_upgrade(self) -> None:
        """Hand the transport over; what this protocol holds for it ends here, because uvicorn tells it nothing more."""
        self.reading = Reading.DISCARDED
        self.edge.heads.discard(self)
        self._withdraw()
        super().handle_websocket_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Put an `Exchange` between the cycle and the application.

        Leans on uvicorn to start every request here, a pipelined one when it is its turn.
        """
        ticket = given_id = None
        if self.is_proxied:
            given_id = self.edge.proxies.resolve(cycle.scope)
        if self.limits.transfers_per_client is not None:
            client = cycle.scope["client"]
            ticket = self.edge.admit_transfer(client[0] if client else None)
            if ticket is None:
                self.edge.counts.refusals[Refusal.TRANSFERS] += 1
                app = Refusal.TRANSFERS.application(self.limits.retry_after_s)
        cycle.transport = self.wire.joining  # type: ignore[assignment]  # as much of a transport as a cycle uses
        self.exchange = Exchange(self, cycle, app, ticket, given_id)
        super()._start_asgi_task(cycle, self.exchange)

    def end(self, exchange: Exchange) -> None:
        """Give back what *exchange* holds of the connection. May be called again."""
        if exchange.ticket is not None:
            exchange.ticket.give_back()
        if exchange is self.exchange:
            self.wire.release()

    def _withdraw(self) -> None:
        self.edge.stalls.discard(self)
        if self.ticket is not None:
            self.edge.dismiss_connection(self.ticket)
            self.ticket = None
