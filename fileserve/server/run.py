"""Listens, and runs the workers that answer."""

import os
import socket
from dataclasses import dataclass

import uvicorn
from uvicorn.supervisors import Multiprocess

from fileserve.settings import Settings

BACKLOG = 4096
GRACE_S = 10


@dataclass(frozen=True, slots=True)
class CannotListen(Exception):
    """The address cannot be listened on: it is taken, not ours, or not allowed."""

    reason: str


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on *host* and *port*; port 0 takes a free one.

    Raises:
        CannotListen: with a reason for people.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(error.strerror or str(error)) from None


def run(settings: Settings, listener: socket.socket) -> None:
    """Serve on *listener* until a signal ends it.

    Workers are spawned, not forked, so settings reach them through the environment.
    """
    os.environ.update(settings.to_environment())
    config = uvicorn.Config(
        "fileserve:create_app",
        factory=True,
        http="httptools",
        workers=settings.workers,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run(sockets=[listener])
    else:
        Multiprocess(config, sockets=[listener]).run()
