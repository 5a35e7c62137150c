"""What a connection is made with: uvicorn's `HttpToolsProtocol`, begun in half the time.

A client that comes for one file pays for a whole connection, so its beginning counts. uvicorn's own looks up two
loggers and their handlers for each, and asks the system for the addresses in a way that takes nine calls with uvloop.
Here the same attributes are set without that; `tests/server/test_contract.py` holds the two together.

Left out: what happens on the connection. `Intake` and `Protocol` know.
"""

import asyncio
import logging
from collections import deque
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fileserve.server.flow import Flow
from fileserve.server.sockets import address_of

_logger = logging.getLogger("uvicorn.error")
_access_logger = logging.getLogger("uvicorn.access")


class Connection(HttpToolsProtocol):
    """One connection of a client, before anything has happened on it. Its attributes are uvicorn's."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.loop = _loop or asyncio.get_running_loop()
        self.logger = _logger
        self.access_logger = _access_logger
        self.access_log = config.access_log and _access_logger.hasHandlers()
        self.parser = self.new_parser()
        self.ws_protocol_class = config.ws_protocol_class
        self.root_path = config.root_path
        self.asgi_version = config.asgi_version
        self.limit_concurrency = config.limit_concurrency
        self.app_state = app_state
        self.timeout_keep_alive_task = None
        self.timeout_keep_alive = config.timeout_keep_alive
        self.server_state = server_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.transport = self.flow = self.scope = self.cycle = None  # type: ignore[assignment]  # until there is one
        self.server = self.client = self.scheme = None
        self.pipeline = deque()
        self.headers = []
        self.expect_100_continue = False

    def new_parser(self) -> httptools.HttpRequestParser:
        """Return a parser that tells this connection what it finds."""
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        return parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set up the connection, with a flow that rests while requests wait."""
        self.connections.add(self)
        self.transport = transport
        self.flow = Flow(transport, self.pipeline)
        self.server = address_of(transport.get_extra_info("sockname"))
        client = address_of(transport.get_extra_info("peername"))
        self.client = client if client is not None and client[1] is not None else None  # type: ignore[assignment]
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"

    @property
    def peer(self) -> str:
        """The other end, for a log."""
        return f"{self.client[0]}:{self.client[1]}" if self.client else "unix"
