"""What one connection, one client and the whole server may cost.

One frozen value holds every limit of the socket edge with its unit in its name. Timeouts are for idleness and stalls;
nothing here limits the whole time of a transfer. Whoever runs the server makes one `Limits` and passes it with
`Protocol.with_limits`; a plain `uvicorn.Config(app, http=Protocol)` gets the defaults. ``None`` switches a limit off,
but for `connections`, where it means "as many as the descriptors of this process allow".

Eleven fields in one class, because they are one table.

Left out: limits that need to know what a request means (ranges, members of an archive, the size of an upload). They
belong to the application.
"""

import resource
from dataclasses import dataclass

DESCRIPTORS_PER_CONNECTION = 3  # the socket, its duplicate while a file is sent, and the file
RESERVED_DESCRIPTORS = 64  # listeners, logs, databases, the event loop, the threads that wait for a disk


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the socket edge. Bytes and numbers are plain; seconds end in ``_s``."""

    header_bytes: int = 64 * 1024
    """Bytes of a request head: request line and fields. More is 431, or 414 where the target alone is longer."""
    header_count: int = 100
    """Field lines of a request head. More is 431."""
    head_timeout_s: float = 10
    """From the first byte of a head, or from the connection's start, to the head's end. Later is 408."""
    stall_timeout_s: float | None = 60
    """How long a peer may take no byte while there is something to send. Then the connection is reset."""
    content_rate: int | None = 256
    """Bytes per second of a request's content, at the least, over each `stall_timeout_s`. Less is 408."""
    keep_alive_s: float | None = None
    """How long a connection may idle between requests; ``None`` leaves it to uvicorn's ``timeout_keep_alive``."""
    connections: int | None = None
    """Connections at once. More are answered 503."""
    connections_per_client: int | None = None
    """Connections at once of one client (`clients`). More are answered 429. Trusted proxies are not counted."""
    transfers_per_client: int | None = None
    """Requests being answered at once for one client. More are answered 429."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose word is taken (`clients`); ``unix:`` stands for every peer on a Unix socket."""
    retry_after_s: int = 5
    """What Retry-After says with 503 and 429."""

    def content_step(self) -> int:
        """Return how many bytes of content have to arrive within each stall timeout; at least 1."""
        return max(1, int((self.content_rate or 0) * (self.stall_timeout_s or 0)))

    def affordable_connections(self) -> int:
        """Return `connections`, or what the soft limit on descriptors allows where that is ``None``; at least 1."""
        if self.connections is not None:
            return self.connections
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, (soft - RESERVED_DESCRIPTORS) // DESCRIPTORS_PER_CONNECTION)
