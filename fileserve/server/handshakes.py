"""``Handshakes``: accepts connections over TLS, each of which counts from its first moment.

The event loop's own server tells of a connection when its handshake is done. Until then it would have no place, and
clients that stay silent could take all descriptors. Here a connection is admitted when it is accepted, and its
`Protocol` is handed the place; one whose handshake fails, or never comes, gives it back.

Policy: who is refused still shakes hands, to be told why, where not too many do (see `Edge.may_linger`); of others the
connection is closed without a word.

Left out: servers that other programs start with uvicorn's own ``startup``, where the limits begin with the first byte.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress

from fileserve.server.edge import Edge
from fileserve.server.protocol import Protocol
from fileserve.server.refusals import Refusal
from fileserve.server.sockets import address_of

__all__ = ["Handshakes"]

AT_ONCE = 32  # connections that are accepted in one turn of the loop
MOMENT_S = 0.5  # how long the beginning of a drain waits for handshakes
RETRY_S = 1.0  # where no descriptor is left for another
# Policy: the loops' own 30 s would cut a slow client off from the end of its last response, behind which the connection
# closes. One that takes nothing more, or says no goodbye, is found by the watch for stalls.
GOODBYE_S = 3600.0


class Handshakes:
    """Accepts on *listeners*. *connect* makes a protocol. It stands where uvicorn has the loop's own server."""

    def __init__(
        self, listeners: Sequence[socket.socket], context: ssl.SSLContext, connect: Callable[[], Protocol], edge: Edge
    ) -> None:
        self._listeners = listeners
        self._context = context
        self._connect = connect
        self._edge = edge
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def listen(self, backlog: int) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(backlog)
            self._attend(listener)

    def close(self) -> None:
        """Accept no more: close the listeners, as the loop's own server does. Handshakes that are under way go on."""
        if not self._is_closed:
            self._is_closed = True
            for listener in self._listeners:
                self._loop.remove_reader(listener)
                listener.close()

    async def settle(self) -> None:
        """Accept no more, and give the handshakes that are under way a moment.

        Policy: their clients came when this server still took them, and a renewal loses nobody.
        """
        self.close()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=MOMENT_S)

    async def wait_closed(self) -> None:
        """End the handshakes that are still under way: nobody waits for what comes of them."""
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    def _attend(self, listener: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # descriptors or memory are short: the listener would be ready for ever
                self._edge.sparing.warning("failures to accept", "no connection can be accepted: %s", error)
                self._loop.remove_reader(listener)
                self._loop.call_later(RETRY_S, self._attend, listener)
                return
            self._admit(sock, address_of(address))

    def _admit(self, sock: socket.socket, client: tuple[str, int | None] | None) -> None:
        sock.setblocking(False)
        admitted = self._edge.admit_connection(client[0] if client is not None and client[1] is not None else None)
        if isinstance(admitted, Refusal) and not self._edge.may_linger(sock):
            self._edge.counts.refusals[admitted] += 1
            sock.close()
            return
        protocol = self._connect()
        protocol.admitted = admitted
        task = self._loop.create_task(self._shake_hands(sock, protocol))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _shake_hands(self, sock: socket.socket, protocol: Protocol) -> None:
        seconds = self._edge.limits.head_timeout_s
        try:
            with suppress(OSError):  # it fails, takes too long, or the client leaves
                await self._loop.connect_accepted_socket(
                    lambda: protocol,
                    sock,
                    ssl=self._context,
                    ssl_handshake_timeout=seconds,
                    ssl_shutdown_timeout=GOODBYE_S,
                )
        finally:
            self._edge.lingering.discard(sock)
            protocol.never_made()
