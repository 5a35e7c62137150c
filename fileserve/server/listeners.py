"""The sockets that a server listens on: made here, inherited, or handed over by systemd.

A listening socket may be shared: by the workers of one server, and by an old and a new server while one takes over from
the other. So it is passed on by descriptor, and closing it in one process leaves it open in the others.
"""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from fileserve.server.sockets import tune
from fileserve.settings import Settings

__all__ = ["SOCKET", "CannotListen", "listen", "url_of"]

BACKLOG = 4096
ANYBODY = 0o666  # a proxy runs as another user; who may come near the socket is decided by its directory
SOCKET = "the socket "  # what stands before the path of a Unix socket, where others have a URL
FIRST_ACTIVATED = 3  # sd_listen_fds(3): descriptors from 3 on


class CannotListen(Exception):
    """An address cannot be listened on; the text says which, and why."""


def listen(settings: Settings) -> list[socket.socket]:
    """Return the listening sockets of *settings*; those of systemd's socket activation come before an address.

    Raises:
        CannotListen: the address is taken, not ours or not allowed, or the descriptor is no socket.
    """
    listeners = _listen(settings)
    for listener in listeners:
        tune(listener)  # once here instead of on each connection
    return listeners


def _listen(settings: Settings) -> list[socket.socket]:
    if settings.fd is not None:
        return [_inherited(settings.fd)]
    if settings.uds is not None:
        return [_unix(settings.uds)]
    activated = _activated()
    return activated or [_tcp(settings.host, settings.port, settings.reuse_port)]


def url_of(listener: socket.socket, scheme: str, root_path: str) -> str:
    """Return the URL at which a client on this machine, or in its network, reaches *listener*.

    A Unix socket has none: of it, `SOCKET` and its path.
    """
    address = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{SOCKET}{address}"
    host, port = address[:2]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{root_path}"


def _tcp(host: str, port: int, reuse_port: bool) -> socket.socket:
    """Listen on *host*. ``::`` is for IPv4, too, where the system can; Python by itself makes it for IPv6 alone."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            address[:2], family=family, backlog=BACKLOG, reuse_port=reuse_port, dualstack_ipv6=both
        )
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {host} port {port}: {_reason(error)}; --port chooses another port"
        ) from None


def _reason(error: OSError) -> str:
    return str(error) if isinstance(error, socket.gaierror) or error.errno is None else os.strerror(error.errno)


def _unix(path: Path) -> socket.socket:
    """Listen on *path*; a socket file that nobody listens on any more, left by a crash, is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_abandoned(path):
            path.unlink()
        listener.bind(os.fspath(path))
        path.chmod(ANYBODY)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from None
    return listener


def _is_abandoned(path: Path) -> bool:
    with suppress(FileNotFoundError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
    return False


def _inherited(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listener.detach()
            raise CannotListen(f"descriptor {fd} is not a listening socket")
    except OSError as error:
        raise CannotListen(f"descriptor {fd} is not a listening socket: {error.strerror or error}") from None
    return listener


def _activated() -> list[socket.socket]:
    """Return the sockets that systemd hands over, sd_listen_fds(3); none when it addresses another process.

    Their names (``LISTEN_FDNAMES``) say nothing here: all are served alike.
    """
    pid, count, _ = (os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_inherited(fd) for fd in range(FIRST_ACTIVATED, FIRST_ACTIVATED + int(count))]
