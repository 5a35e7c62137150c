"""From settings to what uvicorn is told. Each argument that differs from uvicorn's default says why."""

import resource

import uvicorn

from fileserve.server.limits import Limits
from fileserve.server.protocol import Protocol
from fileserve.settings import Settings

__all__ = ["APPLICATION", "configure", "limits_of", "raise_descriptor_limit"]

APPLICATION = "fileserve:create_app"


def configure(settings: Settings) -> uvicorn.Config:
    """Return the configuration of a server process; a missing or broken certificate shows when it is loaded."""
    return uvicorn.Config(
        APPLICATION,
        factory=True,
        http=Protocol.with_limits(
            limits_of(settings), zero_copy=settings.zero_copy == "auto", tuned=True, logs_requests=settings.access_log
        ),
        ws="none",  # nothing here speaks it
        interface="asgi3",
        workers=settings.workers,
        access_log=False,  # uvicorn's; where one is asked for, ours is written, which knows bytes and times
        log_config=None,  # the command has set up logging
        server_header=False,
        date_header=False,  # the protocol owns Date
        proxy_headers=False,  # the protocol reads them, from the trusted proxies only
        timeout_keep_alive=int(settings.keep_alive),
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )


def limits_of(settings: Settings) -> Limits:
    """Return the limits of the socket edge; where a setting's 0 means "no limit", that is ``None`` there."""
    return Limits(
        header_bytes=settings.header_bytes,
        header_count=settings.header_count,
        head_timeout_s=settings.head_timeout,
        stall_timeout_s=settings.stall_timeout or None,
        content_rate=settings.content_rate or None,
        keep_alive_s=settings.keep_alive,
        connections=settings.connections or None,
        connections_per_client=settings.connections_per_client or None,
        transfers_per_client=settings.transfers_per_client or None,
        trusted_proxies=tuple(proxy.strip() for proxy in settings.trusted_proxies.split(",") if proxy.strip()),
        retry_after_s=settings.retry_after,
    )


def raise_descriptor_limit() -> None:
    """Raise the soft limit on descriptors to the hard one: a connection that sends a file holds up to three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
