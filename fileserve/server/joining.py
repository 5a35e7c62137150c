"""The transport as uvicorn's cycle sees it: a response's head leaves together with its first content.

uvicorn writes the head as soon as the application starts the response, and the loops hand it to the kernel at once: two
system calls, two packets and two wake-ups of the client for each small file. So a head waits for the write that
follows it, or for the loop's next turn when none does: a stream that has nothing to say yet still shows its head.
"""

import asyncio

__all__ = ["JoiningTransport"]


class JoiningTransport:
    """Stands before a transport; leans on uvicorn's cycle to call nothing but `write`, `is_closing` and `close`."""

    __slots__ = ("_held", "_holding", "_loop", "_transport")

    _transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._holding = False
        self._held: list[bytes] = []

    def stand_before(self, transport: asyncio.Transport) -> None:
        """Begin, before anything else is called."""
        self._transport = transport

    def hold(self) -> None:
        """Say that the next write is a head."""
        self._holding = True

    def write(self, data: bytes) -> None:
        """Write *data*, or keep it when it is a head, or write it with the head that is kept."""
        if not self._holding:
            self._transport.write(data)
        elif self._held:
            if data:  # from Python 3.12 on, asyncio waits for ever for an empty piece at the end to be sent
                self._held.append(data)
            self.flush()
        else:
            self._held.append(data)
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is kept, if anything is, and anyone is there to read it."""
        if self._held:
            held, self._held = self._held, []
            self._holding = False
            if not self._transport.is_closing():  # uvloop raises when it is closed, and this may be the loop's call
                self._transport.writelines(held)

    def is_closing(self) -> bool:
        """Tell whether the transport is closed or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Write what is kept, and close the transport, once: asyncio's for TLS loses itself at a second time."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.close()
