"""The few socket options and counters of the kernel that decide how a large file is sent.

TCP_NOTSENT_LOWAT bounds what waits unsent in the kernel (256 KiB took 1,000 slow streams from 2 GiB to 0.4 GiB of
kernel memory at no cost in speed). SO_SNDBUF stays alone: setting it ends the kernel's own tuning. Keep-alive probes
find a peer that vanished while nothing is being sent. TCP_CORK around a transfer keeps each 64 KiB of a sendfile from
being pushed by itself.

The counters answer "how much has the peer's kernel taken?": SIOCOUTQ and TCP_INFO on Linux. Elsewhere they say nothing
is outstanding.
"""

import array
import fcntl
import select
import socket
import struct
import sys
import termios
from asyncio.trsock import TransportSocket

NOTSENT_LOWAT = 256 * 1024
PROBE_IDLE_S = 60
PROBE_INTERVAL_S = 15
PROBES = 4

LINUX = sys.platform == "linux"
_TCP_NOTSENT_LOWAT = 25  # the socket module of Python 3.11 has no name for it
_BYTES_ACKED = struct.Struct("120x Q")  # tcpi_bytes_acked in struct tcp_info
_RESET = struct.pack("ii", 1, 0)
_CLOSED = b"\x07"  # TCP_CLOSE, tcpi_state in struct tcp_info

Socket = socket.socket | TransportSocket


def is_tcp(sock: Socket) -> bool:
    """Tell whether *sock* is a TCP socket, and not one of the Unix domain."""
    return sock.family in (socket.AF_INET, socket.AF_INET6)


def address_of(name: object) -> tuple[str, int | None] | None:
    """Return what ASGI calls a socket's end: host and port, or a path alone; ``None`` where it has no name.

    A client that comes by IPv4 to a socket for both has its IPv4 address, as on one of its own (RFC 4291 §2.5.5.2).
    """
    if isinstance(name, tuple):
        host = str(name[0])
        return host.removeprefix("::ffff:") if "." in host else host, int(name[1])
    return (name, None) if isinstance(name, str) and name else None


def tune(sock: Socket) -> None:
    """Set the options that a connection has for all its life, on Linux. Connections inherit what their listener has."""
    if not LINUX or not is_tcp(sock):
        return
    plain = socket.socket(sock.family, sock.type, sock.proto, sock.fileno())  # uvloop makes one for each option
    try:
        plain.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_IDLE_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_INTERVAL_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    finally:
        plain.detach()


def set_cork(sock: Socket, on: bool) -> None:
    """Hold back segments of a TCP socket that are not full, or push what is held back."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


def reset_on_close(sock: Socket) -> None:
    """Make the close of *sock* a reset: what is queued is dropped, and the peer sees no proper end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def is_over(sock: Socket, *, half_closed: bool) -> bool:
    """Tell whether *sock* is closed, reset, or, where *half_closed* counts, closed by the peer."""
    if sock.fileno() < 0:
        return True
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLRDHUP if half_closed and LINUX else 0)  # a reset is told unasked
    return bool(poller.poll(0))


def is_connected(sock: Socket) -> bool:
    """Tell whether a TCP socket is not yet closed by both sides, or reset."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != _CLOSED


def unacknowledged(sock: Socket) -> int:
    """Return how many bytes handed to the kernel the peer's kernel has not taken yet; 0 when *sock* is closed."""
    if not LINUX or sock.fileno() < 0:
        return 0
    queued = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, queued)  # SIOCOUTQ has the same number
    return queued[0]


def acknowledged(sock: Socket) -> int:
    """Return the bytes that the peer has taken since the connection began; 0 where nobody counts, or it is closed."""
    if not LINUX or sock.fileno() < 0 or not is_tcp(sock):
        return 0
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    return int(_BYTES_ACKED.unpack(information)[0]) if len(information) == _BYTES_ACKED.size else 0
