"""The sending side of one connection: its transport, its socket, and the zero-copy sender where there is one.

What leaves the process by the transport and what leaves it by sendfile goes to the same socket; `flush` keeps the two
in order. The counters say how far the peer's kernel has come, for the application (progress) and for the watch
(stalls).

It leans on uvicorn's `FlowControl.drain`, which waits while the transport has paused the protocol.
"""

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from fileserve.server import sockets
from fileserve.server.joining import JoiningTransport
from fileserve.server.rests import Rest, Rests
from fileserve.server.zerocopy import Disconnected, Sender


class Wire:
    """The sending side of one connection. So many attributes, because both ways to the socket meet here."""

    transport: asyncio.Transport
    _flow: FlowControl
    _sock: sockets.Socket

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.joining = JoiningTransport(loop)
        self.offers_zero_copy = False
        self.sender: Sender | None = None  # from the first region on
        self.responses = 0  # that were begun on this connection
        self._rest: Rest | None = None  # what was unacknowledged when the connection was lost
        self._loop = loop

    def begin(self, transport: asyncio.Transport, flow: FlowControl, *, tuned: bool, may_zero_copy: bool) -> None:
        """Send by *transport* from now on. *tuned* tells that the listener was, whose connections have its options.

        Zero-copy is offered where it *may* be and the system can: elsewhere than on Linux, sendfile has other rules.
        """
        self.transport = transport
        self.joining.stand_before(transport)
        self.offers_zero_copy = may_zero_copy and sockets.LINUX
        self._flow = flow
        self._sock = transport.get_extra_info("socket")
        if not tuned:
            sockets.tune(self._sock)

    def sender_of_files(self) -> Sender:
        """Return the zero-copy sender. Made when first asked for: the first byte of a response does not wait for it."""
        if self.sender is None:
            self.sender = Sender(self._loop, self._sock)
            if self._rest is not None:
                self.sender.lose()
        return self.sender

    def release(self) -> None:
        """Give back what a response has used."""
        if self.sender is not None:
            self.sender.release()

    def lose(self, rests: Rests, *, is_answered: bool) -> None:
        """Note that the connection is lost: its descriptor may soon be another's.

        Where all requests are answered, *rests* looks after what is left of the last answer, whoever has closed.
        """
        if self._rest is None:
            left = sockets.unacknowledged(self._sock)  # the transport has dropped its own
            kept = rests.keep(self._sock, left) if left and is_answered else None
            self._rest = kept or Rest(None, left)
        if self.sender is not None:
            self.sender.lose()

    async def flush(self) -> None:
        """Wait until the transport has handed all bytes to the kernel.

        Raises ``Disconnected`` where it is closing: what it still holds must not be overtaken.
        """
        self.joining.flush()
        if not self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)
            try:
                await self._flow.drain()
            finally:
                if not self.transport.is_closing():
                    self.transport.set_write_buffer_limits()
        if self.transport.is_closing():
            raise Disconnected

    def unacknowledged(self, response: int | None = None) -> int:
        """Return how many of the written bytes the peer's kernel has not taken, or had not when the connection ended.

        What the transport held itself is dropped before the loss is told, and is missing then. With a *response*, by
        its number, only of those up to it.

        Policy: who asks for the next response on this connection has taken all of the last one. Of a client that asks
        ahead (RFC 9112 §9.3.2) that is not certain.
        """
        if response is not None and response != self.responses:
            return 0
        if self._rest is not None:
            return self._rest.left
        return self.transport.get_write_buffer_size() + sockets.unacknowledged(self._sock)

    def is_over(self, *, half_closed: bool) -> bool:
        """Tell whether the client has reset the connection, or, where *half_closed* counts, has closed its side."""
        return sockets.is_over(self._sock, half_closed=half_closed)

    def taken(self) -> tuple[int, int]:
        """Return two counts that grow as the peer takes bytes: its kernel's acknowledgements, our sendfile."""
        return sockets.acknowledged(self._sock), self.sender.sent if self.sender is not None else 0

    def stall(self) -> None:
        """Reset the connection, because its peer takes nothing: what is queued would stay in the kernel for minutes."""
        left = self.unacknowledged()
        self.abort(reset=True)
        self._rest = Rest(None, left, has_stalled=True)

    def loss(self) -> str | None:
        """Return how the connection was lost: ``stalled`` (its peer took nothing) or ``left``; else ``None``."""
        if self._rest is None or not self._rest.is_over:
            return None
        return "stalled" if self._rest.has_stalled else "left"

    def abort(self, *, reset: bool) -> None:
        """Close at once. A *reset* also drops what the kernel has queued, and does not look like a proper end."""
        if reset and self._rest is None:
            sockets.reset_on_close(self._sock)
        self.transport.abort()
