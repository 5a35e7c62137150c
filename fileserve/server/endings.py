"""How connections end: refused, stalled, idle, half-closed, left by the server; and that nobody loses an answer by it.

`Ending` stands between `Intake`, which judges what comes in, and `Protocol`, which runs what is asked. Nothing here is
in the path of a usual request. Each override says what of uvicorn it leans on.
"""

import time

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fileserve.server.clients import Ticket
from fileserve.server.intake import Intake, Reading
from fileserve.server.refusals import Refusal
from fileserve.server.wire import Wire

FIRST_REQUEST_S = 0.5  # how long a drain waits for the first request of a connection it has just accepted
LINGER_S = 2.0  # how long a refused client may still talk, so that it hears the answer instead of a reset


class Ending(Intake):
    """One connection, as it ends. `Protocol` sets its wire and its ticket."""

    wire: Wire
    ticket: Ticket | None
    _untaken = 0  # of the last answer, when the idle time was over

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection as long as an answer is due whose end the client can see. RFC 9112 §9.6.

        Policy: a stream without Content-Length is not such an answer: nobody may be there any more, and its end would
        never come.
        """
        exchange = self.exchange
        if exchange is None or self.scheme == "https" or self.cycle.more_body or not exchange.has_known_end():
            if exchange is not None:
                exchange.disconnect()  # now, and not when what is left has been taken: whatever it sends is dropped
            return False
        if self.reading is Reading.PARSED:
            self.reading = Reading.ENDED
        return True

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, which is idle; but not as long as its client goes on taking the last answer."""
        untaken, self._untaken = self._untaken, self.wire.unacknowledged()
        if self._untaken and self._untaken != untaken and self.reading is Reading.PARSED:
            self.edge.idle.add(self, self.timeout_keep_alive)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Tell the streams of this server to end, then let uvicorn close the connection, now or after its response.

        Policy: a connection that has asked for nothing yet is given a moment: its first request may be on the way, sent
        when this server still took it, and a renewal loses nobody.
        """
        self.edge.drain()
        if self.transport.is_closing():
            return
        if self.cycle is None and self.reading is Reading.PARSED:
            self.loop.call_later(FIRST_REQUEST_S, self._close_unasked)
        else:
            super().shutdown()

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
        exchange, is_ending = self.exchange, self._is_ending()
        if exchange is None and not is_ending and not self.transport.get_write_buffer_size():
            return None
        half_closed = exchange is not None and not exchange.has_known_end()  # then that is an end too
        if exchange is not None and self.flow.read_paused and self.wire.is_over(half_closed=half_closed):
            self.transport.abort()  # the loop does not read while pipelined requests wait, so cannot see it
        outstanding = self.wire.unacknowledged()
        if not outstanding and not is_ending and not self._awaits_content():
            return None
        # Policy: a byte now and then keeps no place. What arrives counts in steps: one in each stall timeout at least.
        arrived = self.arrival.total // self.limits.content_step()
        return outstanding, self.wire.taken(), arrived, exchange.sent if exchange is not None else 0

    def stalled(self) -> None:
        """Tell whose content is late that nobody waits for it any more (408); reset the connection of another.

        One whose peer has taken everything, and does not say goodbye, ends without a word.
        """
        if self._is_ending() and not self.wire.unacknowledged():
            return self.wire.abort(reset=False)
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

    def _is_ending(self) -> bool:
        """Tell whether the loop sends what is left over TLS, and then waits for the peer's goodbye."""
        return self.scheme == "https" and self.transport.is_closing()

    def _close_unasked(self) -> None:
        if self.cycle is None and not self.arrival.incomplete and not self.transport.is_closing():
            self.transport.close()

    def _awaits_content(self) -> bool:
        cycle, paused = self.cycle, self.flow.read_paused
        return cycle is not None and cycle.more_body and not cycle.waiting_for_100_continue and not paused
