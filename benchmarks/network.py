"""A private network namespace with a stated congestion control, whose packets arrive on a stated processor.

The machine's own choice changes the result by a factor: bbr paces with timers even on loopback. So this process leaves
the machine's network for one of its own, before it starts anything: root may, and whoever may make a user namespace.
Connections take the control that is set when they are made or accepted, so it can be changed between two figures.

Pinning processes does not pin the kernel's part. On loopback an acknowledgement is handled on the processor of the
client, who has sent it, and what it lets go is then sent there, at the client's expense: a server that keeps much
queued looks cheap, and its client becomes the bottleneck. Over a wire the server's machine has that work; so packets
are steered to the server's processor (receive packet steering, Documentation/networking/scaling.rst of the kernel).

Where nothing of this is permitted, figures are measured under the machine's own control, and those for another are
skipped.
"""

import ctypes
import fcntl
import os
import random
import socket
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

USUAL = "reno"  # the one that paces and guesses least
CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
SERVER_PORTS = (20_000, 30_000)
SOCKSTAT = Path("/proc/net/sockstat")
STEERING = "class/net/lo/queues/rx-0/rps_cpus"  # below the root of sysfs
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


def steer(processor: int | None) -> str | None:
    """Have what arrives on loopback handled on *processor*, or where it was sent; return why not, or ``None``.

    Only within the private network. What sysfs shows of a network belongs to who has mounted it, so a child mounts it
    anew, in a mount namespace that ends with it. The child is forked and executes nothing: a user namespace's rights
    would end with that.
    """
    child = os.fork()
    if child == 0:
        _steer_and_exit("0" if processor is None else _mask(processor))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.strerror(code) if code else None


def _mask(processor: int) -> str:
    word, bit = divmod(processor, 32)
    return f"{1 << bit:x}" + ",00000000" * word


def _steer_and_exit(mask: str) -> NoReturn:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        with tempfile.TemporaryDirectory(prefix="fileserve-bench-") as folder:
            _check(libc.unshare(CLONE_NEWNS))
            _check(libc.mount(None, b"/", None, MS_REC_PRIVATE, None))
            _check(libc.mount(b"sysfs", folder.encode(), b"sysfs", 0, None))
            try:
                Path(folder, STEERING).write_text(mask)
            finally:
                _check(libc.umount(folder.encode()))
    except OSError as error:
        os._exit(error.errno or 1)
    os._exit(0)


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
