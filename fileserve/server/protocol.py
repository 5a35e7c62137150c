"""uvicorn's HTTP/1.1 protocol, with what it lacks for large files and open networks.

`Protocol` is passed to uvicorn as ``http=Protocol`` or ``http=Protocol.with_limits(Limits(...))``. It adds the ASGI
extension ``http.response.zerocopysend`` (plain sockets on Linux), the limits of `Limits`, the wire rules of `Intake`,
and ``scope["extensions"]["fileserve"]`` with these entries:

- ``now_ns``: a callable; the instant of this response in nanoseconds, which is also its Date
- ``client``: a callable; what stands for the client where clients are counted, its address or its network
- ``unsent``: a callable; bytes of the announced content that the connection has not taken yet, also in a region
- ``unacknowledged``: a callable; bytes that the peer's kernel has not taken, even at the end; 0 after a next request
- ``lost``: a callable; ``None``, or how the connection was lost: ``stalled`` (the peer took nothing) or ``left``
- ``hang_up``: a callable; ends the connection as if the client had left it
- ``leaving``: an `asyncio.Event`, set when balancers should turn away; each connection ends after its response
- ``draining``: an `asyncio.Event`, set when the server has begun to shut down; streams end themselves then
- ``is_proxied``: whether the peer is a trusted proxy, whatever it says of its client
- ``request_id``: what the request is called in logs: by the X-Request-ID of a trusted proxy, else by us

Where the peer is a trusted proxy, ``client`` and ``scheme`` of the scope are those that it forwards, and its
X-Request-ID goes back with the answer. What the edge counts is in the lifespan's state (`counts`). Each override says
what of uvicorn it leans on; `tests/server/test_contract.py` fails when that changes. Longer than other modules, because
it is one class of overrides. Left out: HTTP/2.
"""

import asyncio
import time
from typing import Any, ClassVar, Self

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from fileserve.server.clients import Ticket
from fileserve.server.counts import COUNTS
from fileserve.server.exchange import Exchange
from fileserve.server.intake import Intake, Reading
from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal
from fileserve.server.wire import Wire

FIRST_REQUEST_S = 0.5  # how long a drain waits for the first request of a connection it has just accepted
LINGER_S = 2.0  # how long a refused client may still talk, so that it hears the answer instead of a reset


class Protocol(Intake):
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
        self.wire: Wire = None  # type: ignore[assignment]  # until the connection is made
        self.ticket: Ticket | None = None
        self.is_proxied = False  # until it is known who the peer is
        self._untaken = 0  # of the last answer, when the idle time was over
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
        self.wire = Wire(self.loop, transport, self.flow, tuned=self.tuned)
        if self.zero_copy and self.scheme == "http":
            self.wire.offer_zero_copy()
        self.edge.stalls.add(self)
        peer = self.client[0] if self.client else None
        self.is_proxied = bool(self.limits.trusted_proxies) and self.edge.proxies.trust(peer)
        admitted = self.edge.admit_connection(peer)
        if isinstance(admitted, Refusal):
            self.refuse(admitted)
        else:
            self.ticket = admitted
            self.await_head()

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

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection as long as an answer is due whose end the client can see. RFC 9112 §9.6.

        Policy: a stream without Content-Length is not such an answer: nobody may be there any more, and its end would
        never come.
        """
        exchange = self.exchange
        if exchange is None or self.scheme == "https" or self.cycle.more_body or not exchange.has_known_end():
            return False
        if self.reading is Reading.PARSED:
            self.reading = Reading.ENDED
        return True

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

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, which is idle; but not as long as its client goes on taking the last answer."""
        untaken, self._untaken = self._untaken, self.wire.unacknowledged()
        if self._untaken and self._untaken != untaken and self.reading is Reading.PARSED:
            self.edge.idle.add(self, self.timeout_keep_alive)
        else:
            super().timeout_keep_alive_handler()

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

    def shutdown(self) -> None:
        """Tell the streams of this server to end, then let uvicorn close the connection, now or after its response.

        Policy: a connection that has asked for nothing yet is given a moment: its first request may be on the way, sent
        when this server still took it, and a renewal loses nobody.
        """
        self.edge.drain()
        if self.cycle is None and self.reading is Reading.PARSED:
            self.loop.call_later(FIRST_REQUEST_S, self._close_unasked)
        else:
            super().shutdown()

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

    def may_stream(self) -> bool:
        """Tell whether anyone may be there for a response without a known end. See `eof_received`."""
        return self.reading is not Reading.ENDED

    def outlast(self, cycle: RequestResponseCycle) -> None:
        """Let the connection outlast a response that ends before the request's content does. RFC 9112 §9.6.

        A close with unread bytes is a reset, which destroys what the client has not read of the response.
        """
        if not cycle.disconnected:
            cycle.keep_alive = True  # uvicorn would close at once
            self.reading = Reading.DISCARDED

    def break_off(self, reason: str, *, reset: bool) -> None:
        """Close the connection at once, with a line in the log. A *reset* also drops what the kernel has queued.

        Policy: a reset is for a response whose end is the connection's end; elsewhere the missing bytes show, and those
        that were sent are worth having.
        """
        self.edge.counts.broken_off += 1
        self.edge.sparing.warning("responses broken off", "%s - response broken off: %s", self.peer, reason)
        self.wire.abort(reset=reset)

    def progress(self) -> object | None:
        """Return what changes with each byte that the peer takes, or owes and sends; ``None`` where nothing is due."""
        exchange = self.exchange
        if exchange is None and not self.transport.get_write_buffer_size():
            return None
        half_closed = exchange is not None and not exchange.has_known_end()  # then that is an end too
        if exchange is not None and self.flow.read_paused and self.wire.is_over(half_closed=half_closed):
            self.transport.abort()  # the loop does not read while pipelined requests wait, so cannot see it
        outstanding = self.wire.unacknowledged()
        if not outstanding and not self._awaits_content():
            return None
        # Policy: a byte now and then keeps no place. What arrives counts in steps: one in each stall timeout at least.
        arrived = self.arrival.total // self.limits.content_step()
        return outstanding, self.wire.taken(), arrived, exchange.sent if exchange is not None else 0

    def stalled(self) -> None:
        """Tell whose content is late that nobody waits for it any more (408); reset the connection of another."""
        self.edge.counts.stalls += 1
        of = {"request_id": self.exchange.request_id} if self.exchange is not None else None
        stall_s = self.limits.stall_timeout_s
        if self._awaits_content() and not self.cycle.response_started and not self.wire.unacknowledged():
            message = "%s - content too slow for %g s; refused"
            self.edge.sparing.warning("requests with slow content", message, self.peer, stall_s, extra=of)
            return self.refuse(Refusal.SLOW_CONTENT)
        message = "%s - stalled for %g s; connection reset"
        self.edge.sparing.warning("stalled connections", message, self.peer, stall_s, extra=of)
        self.wire.stall()

    def refuse(self, refusal: Refusal) -> None:
        """Count what is refused."""
        self.edge.counts.refusals[refusal] += 1
        super().refuse(refusal)

    def _close_unasked(self) -> None:
        if self.cycle is None and not self.arrival.incomplete:
            self.transport.close()

    def _withdraw(self) -> None:
        self.edge.stalls.discard(self)
        if self.ticket is not None:
            self.edge.dismiss_connection(self.ticket)
            self.ticket = None

    def _awaits_content(self) -> bool:
        cycle, paused = self.cycle, self.flow.read_paused
        return cycle is not None and cycle.more_body and not cycle.waiting_for_100_continue and not paused

    def end_or_wait(self) -> None:
        """Do what is due when nothing is being answered."""
        if self.transport.is_closing():
            return
        if self.refusal is not None:
            self.transport.write(self.refusal.response(int(time.time()), self.limits.retry_after_s))
        if self.reading is Reading.DISCARDED:
            self._linger()
        elif self.reading is Reading.ENDED:
            self.transport.close()
        elif self.arrival.incomplete:
            self._unset_keepalive_if_required()
            self.await_head()

    def _linger(self) -> None:
        """Say that nothing more is coming, and hear the client out for a moment. RFC 9112 §9.6.

        Leans on uvicorn's timer of the idle time.
        """
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof() and (self.ticket is not None or self.edge.may_linger(self)):
            self.transport.write_eof()
            self.timeout_keep_alive_task = self.loop.call_later(LINGER_S, self.timeout_keep_alive_handler)
        else:
            self.transport.close()
