"""One process that answers: uvicorn's server, with an end in steps.

The first signal begins the drain (see `Drain`), the second ends it at once. A worker of a supervisor also drains when
the supervisor is gone (see `Leash`).
"""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from fileserve.server.ahead import Ahead
from fileserve.server.configuration import configure, raise_descriptor_limit
from fileserve.server.edge import Edge, edge_of
from fileserve.server.handshakes import Handshakes
from fileserve.server.leash import Leash
from fileserve.server.listeners import BACKLOG
from fileserve.server.logs import set_up_logging
from fileserve.server.protocol import Protocol
from fileserve.server.superior import Superior
from fileserve.settings import Settings, load_settings

__all__ = ["Drain", "Worker"]

log = logging.getLogger("fileserve.server")

YOUNG_OBJECTS = 50_000  # so many more objects before the garbage collector looks at the new ones; by default 700
LOST_S = 0.1  # Policy: for what a superior has sent before it was gone to be heard first
SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Drain:
    """How a server ends, in seconds.

    For *notice_s* it goes on accepting, tells ``/readyz`` to say 503 and closes each connection after its response,
    so that a balancer turns away. Then it listens no more, streams are told to end, and transfers have *timeout_s* to
    finish, or *interrupt_s* when somebody at a terminal pressed Ctrl-C and waits.
    """

    notice_s: float
    timeout_s: float
    interrupt_s: float

    @classmethod
    def of(cls, settings: Settings) -> "Drain":
        """Return what *settings* say of it."""
        return cls(settings.drain_notice, settings.drain_timeout, settings.interrupt_timeout)


class Worker(uvicorn.Server):
    """One server process.

    Leans on uvicorn for `lifespan`, and to call `capture_signals`, `startup`, `on_tick` and `shutdown`.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, superior: Superior) -> None:
        super().__init__(config)
        self.drain = drain
        self.superior = superior
        self.leave_at: float | None = None

    @property
    def edge(self) -> Edge:
        """What the connections of this server share."""
        protocol = self.config.http_protocol_class
        assert issubclass(protocol, Protocol)
        return edge_of(self.server_state, protocol.limits)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals in the event loop for as long as the server runs; uvicorn's way cannot end a drain at once."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.end, number)
        try:
            with self.superior.attended(lost=self.lose):
                yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so.

        In place of uvicorn's own, whose clients over TLS count only when they have shaken hands. See `Handshakes`.
        """
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        protocol = self.config.http_protocol_class
        assert issubclass(protocol, Protocol)
        connect = Ahead(partial(protocol, self.config, self.server_state, self.lifespan.state))
        self.edge.prepare = connect.prepare
        self.servers = await _servers(sockets or [], connect, self.config.ssl, self.edge)
        self.started = True
        _spare_the_collector()
        self.superior.ready("accepts connections")

    def end(self, number: signal.Signals) -> None:
        """Begin the drain; when it has begun already, end it now."""
        if self.leave_at is not None:
            self._end_now()
            return
        is_interrupt = number == signal.SIGINT
        self.leave_at = time.monotonic() + (0 if is_interrupt else self.drain.notice_s)
        limit_s = self.drain.interrupt_s if is_interrupt else self.drain.timeout_s
        self.config.timeout_graceful_shutdown = limit_s  # type: ignore[assignment]  # handed to wait_for
        self.edge.leave()
        self.superior.stopping(f"what is under way has {limit_s:g} s to finish")
        if self.server_state.tasks:
            again = "; Ctrl-C again ends them now" if is_interrupt else ""
            log.warning("ending: %g s for %d under way%s", limit_s, len(self.server_state.tasks), again)

    def lose(self) -> None:
        """Begin the drain in a moment, since the superior is gone.

        A signal that it sent before may be heard after this; it would then be taken for the second.
        """
        loop = asyncio.get_running_loop()
        loop.call_later(LOST_S, loop.call_soon, self._drain_alone)  # soon: behind a signal that is read in that turn

    def _drain_alone(self) -> None:
        """Begin the drain; one that has begun goes on: nobody asks to break it off."""
        if self.leave_at is None:
            self.end(signal.SIGTERM)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then end the application's lifespan; uvicorn leaves that out when it is told to end now."""
        for server in self.servers:
            if isinstance(server, Handshakes) and not self.force_exit:
                await server.settle()  # so that uvicorn finds the connections that come of them
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()
        self.edge.sparing.end()

    async def on_tick(self, counter: int) -> bool:
        """Tell uvicorn to shut down when the notice is over."""
        if self.leave_at is not None and time.monotonic() >= self.leave_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def _end_now(self) -> None:
        self.should_exit = self.force_exit = True
        self.leave_at = 0
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


async def _servers(
    listeners: Sequence[socket.socket], connect: Callable[[], Protocol], context: ssl.SSLContext | None, edge: Edge
) -> list[Any]:  # what uvicorn closes at the end
    if context is not None:
        handshakes = Handshakes(listeners, context, connect, edge)
        handshakes.listen(BACKLOG)
        return [handshakes]
    loop = asyncio.get_running_loop()
    return [await loop.create_server(connect, sock=listener, backlog=BACKLOG) for listener in listeners]


def _spare_the_collector() -> None:
    """Keep the garbage collector from looking through the program itself, again and again, while clients wait.

    What is there at the start stays: some 200,000 objects, which a full collection goes through in tens of
    milliseconds. Responses leave no circles, so collections of what is new may be rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def main() -> None:
    """Run a worker of a supervisor; its settings are in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listeners", required=True)
    parser.add_argument("--leash", type=int, required=True)
    parser.add_argument("--beat", type=float)
    arguments = parser.parse_args()
    settings = load_settings()
    set_up_logging(settings.log_format)
    raise_descriptor_limit()
    listeners = [socket.socket(fileno=int(fd)) for fd in arguments.listeners.split(",")]
    with socket.socket(fileno=arguments.leash) as end:
        Worker(configure(settings), Drain.of(settings), Leash(end, arguments.beat)).run(sockets=listeners)


if __name__ == "__main__":
    main()
