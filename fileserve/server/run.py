"""Runs the server that the settings describe: one process, or a supervisor and its workers."""

import asyncio
import ipaddress
import os
import socket
import ssl

from fileserve.server.configuration import configure, raise_descriptor_limit
from fileserve.server.listeners import CannotListen, listen, url_of
from fileserve.server.logs import set_up_logging
from fileserve.server.notifying import superior_of_environment
from fileserve.server.supervisor import StartFailed, Supervisor
from fileserve.server.worker import Drain, Worker
from fileserve.settings import ENVIRONMENT_PREFIX, Settings, SettingsError

__all__ = ["CannotListen", "StartFailed", "check_certificate", "check_exposure", "listen", "run", "url_of"]


def run(settings: Settings, listeners: list[socket.socket]) -> None:
    """Serve on *listeners* until a signal ends it and what was under way has finished, see `Drain`.

    Settings reach the application, and workers, through the environment of this process.

    Raises:
        StartFailed: the workers do not start.
    """
    set_up_logging(settings.log_format)
    raise_descriptor_limit()
    _hand_on(settings)
    superior = superior_of_environment()
    if settings.workers > 1 or settings.supervise:
        asyncio.run(Supervisor(settings.workers, listeners, settings.interrupt_timeout, superior).run())
    else:
        Worker(configure(settings), Drain.of(settings), superior).run(sockets=listeners)


def _hand_on(settings: Settings) -> None:
    """Put *settings* into the environment, in place of all that stands there."""
    for variable in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[variable]
    os.environ.update(settings.to_environment())


def check_certificate(settings: Settings) -> None:
    """Raise `SettingsError` when HTTPS is asked for and cannot be served."""
    if settings.ssl_certfile is None:
        if settings.ssl_keyfile is not None:
            raise SettingsError("--ssl-keyfile needs --ssl-certfile")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"--ssl-certfile: the certificate cannot be used; a key in a file of its own goes to --ssl-keyfile: {error}"
        ) from None


def check_exposure(settings: Settings, listeners: list[socket.socket]) -> None:
    """Raise `SettingsError` when somebody beyond this machine could change files without being asked who they are.

    Policy: a Unix socket or a trusted proxy means that a proxy publishes the server, and a proxy makes everyone look
    like this machine. One that asks for itself can pass a token on.
    """
    changes = next((name for name in ("upload", "delete", "move") if getattr(settings, name)), None)
    if changes is None or settings.auth or settings.token:
        return
    if settings.trusted_proxies or not all(map(_is_loopback, listeners)):
        raise SettingsError(
            f"--{changes} needs --auth or --token, because others than this machine may reach the server; "
            "a proxy that asks for itself can add the token: Authorization: Bearer TOKEN"
        )


def _is_loopback(listener: socket.socket) -> bool:
    if listener.family == socket.AF_UNIX:
        return False
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback
