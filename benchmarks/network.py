"""A private network namespace with a stated congestion control, whose packets arrive on a stated processor.

The machine's own choice changes the result by a factor: bbr paces with timers even on loopback. So this process leaves
the machine's network for one of its own, before it starts anything: root may, and whoever may make a user namespace.
Connections take the control that is set when they are made or accepted, so it can be changed between two figures.

Pinning processes does not pin the kernel's part. On loopback an acknowledgement is handled on the processor of the
client, who has sent it, and what it lets go is then sent there, at the client's expense: a server that keeps much
queued looks cheap, and its client becomes the bottleneck. Over a wire the server's machine has that work; so packets
can be steered to the server's processor (receive packet steering, Documentation/networking/scaling.rst of the kernel).
That takes root: the kernel permits it to nobody in a user namespace.

Where there is no private network, figures are measured under the machine's own control, and nothing of the machine is
changed.
"""

import ctypes
import errno
import fcntl
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

USUAL = "reno"  # the one that paces and guesses least
CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
SERVER_PORTS = (20_000, 30_000)
SOCKSTAT = Path("/proc/net/sockstat")
STEERING = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x2_0000, 0x1000_0000, 0x4000_0000
MS_REC_PRIVATE = 0x4000 | 1 << 18
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def enter_namespace() -> str | None:
    """Move this process, which has no threads yet, into a network of its own; return why not, or ``None``."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        return os.strerror(ctypes.get_errno())
    try:
        if user != 0:
            _map_identity(user, group)
        _raise_loopback()
    except OSError as error:
        # Half of it has been done, and there is no way back: nothing could be reached.
        raise SystemExit(f"the private network cannot be set up: {error}") from None
    return None


def _map_identity(user: int, group: int) -> None:
    """Remain who we are in the new user namespace, for files to be ours."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _raise_loopback() -> None:
    # By the system call and not by `ip`: in a user namespace the right to do so does not outlive an exec.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def is_private() -> bool:
    """Return whether this process has left the network that it began in."""
    return _network() != _MACHINE_S_NETWORK


def _network() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


_MACHINE_S_NETWORK = _network()


def steer(processor: int | None) -> str | None:
    """Have what arrives on loopback handled on *processor*, or where it was sent; return why not, or ``None``.

    Only within the private network: the machine's own is left alone. What sysfs shows of a network belongs to who has
    mounted it, so a child mounts it anew, in a mount namespace that ends with it.
    """
    if not is_private():
        return "no private network namespace"
    child = os.fork()
    if child == 0:
        _steer_and_exit("0" if processor is None else _mask(processor))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.strerror(code) if code else None


def _mask(processor: int) -> str:
    """Return the set of this one *processor* as the kernel reads it: words of 32 bits, the highest first."""
    word, bit = divmod(processor, 32)
    return f"{1 << bit:x}" + ",00000000" * word


def _steer_and_exit(mask: str) -> NoReturn:
    code = errno.EIO
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        _check(libc.unshare(CLONE_NEWNS))
        _check(libc.mount(None, b"/", None, MS_REC_PRIVATE, None))
        _check(libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None))
        STEERING.write_text(mask)
        code = 0
    except OSError as error:
        code = error.errno or code
    finally:
        os._exit(code)  # whatever has happened: what follows here is the parent's


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def congestion_control() -> str:
    """Return the control that new connections get."""
    return CONTROL.read_text().strip()


def set_congestion_control(name: str) -> bool:
    """Give new connections the control *name*; return whether it holds now."""
    try:
        CONTROL.write_text(name)
    except OSError:
        return congestion_control() == name
    return congestion_control() == name  # the kernel takes a name that it does not permit here in silence


def tcp_memory() -> int:
    """Return the bytes that the kernel holds for TCP buffers, of all namespaces (it does not count them apart)."""
    for line in SOCKSTAT.read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")
    raise LookupError(f"no line for TCP in {SOCKSTAT}")


def free_port() -> int:
    """Return a port of loopback that nobody listens on, for a server that cannot tell which one it took.

    Not one that the kernel gives out by itself: a client's connection may have it a moment later.
    """
    while True:
        port = random.randrange(*SERVER_PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
