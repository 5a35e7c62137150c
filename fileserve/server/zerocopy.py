"""Sends regions of files to a socket with sendfile(2), without ever stopping the event loop.

The socket belongs to a transport of the loop, which closes it only after `lose`; until then its descriptor is sent to.
Both loops refuse `add_writer` for it, so waiting for a full socket takes a duplicate, which lives from the first wait
to the end of the connection. What is in the page cache goes out from the loop, one span for each turn: a fast client
drains while sendfile fills, and without a limit one call would last as long as the client keeps up. What is not in the
page cache goes out from a disk thread, on duplicates of both descriptors that the job itself owns and closes: it waits
for the disk, never for the client, and nothing is closed under it, whoever has left meanwhile.

Cork and registration outlive a region, because a transfer comes as many regions; `release` ends both. There is one
future for a region, and no task switch for a span. A response begins with short spans that double, and the first is not
corked: a client that only looks at the beginning and leaves has not cost much.

Left out: what the bytes mean, framing, timeouts. Data that the transport still holds has to be waited for before.
"""

import asyncio
import errno
import os

from fileserve import disk
from fileserve.server.region import SPAN, Region
from fileserve.server.sockets import Socket, is_tcp, set_cork

FIRST_SPAN = 64 * 1024  # of a response; each next one is twice as long, up to SPAN
COLD_SPANS = 4  # of one visit to a disk thread

__all__ = ["FIRST_SPAN", "SPAN", "Disconnected", "FileEnded", "Sender"]

_PEER_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT)
_PEER_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)


class Disconnected(ConnectionError):
    """The client has gone; nothing more reaches it."""


class FileEnded(OSError):
    """The file is shorter than the region that was to be sent."""


class Sender:
    """Sends to one connection, one region at a time.

    More attributes than elsewhere: an object for what is of one response would leave ten, and be asked for each span.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: Socket) -> None:
        self.sent = 0  # bytes that the kernel has taken from this sender since it was made
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._waits_on: int | None = None  # the duplicate
        self._span = FIRST_SPAN
        self._region: Region | None = None
        self._registered = False
        self._has_begun = False  # the first span of a response is sent, for which a cork would not pay
        self._corked = False
        self._can_cork: bool | None = None  # not known yet
        self._unyielded = 0
        self._lost = False

    @property
    def unsent(self) -> int:
        """Bytes of the region under way that the kernel has not taken yet."""
        return self._region.stop - self._region.start if self._region is not None else 0

    async def send(self, file: int, offset: int, count: int) -> None:
        """Send *count* bytes of the descriptor *file* from *offset*; return when the kernel has taken them.

        The caller keeps *file* open until this returns or raises. Raises ``Disconnected`` when the client has gone,
        before or meanwhile, ``FileEnded`` when the file has fewer bytes, and the disk's own ``OSError``.
        """
        region = self._region = Region(file, offset, offset + count)
        try:
            is_full = False
            while region.start < region.stop:
                self._check_alive()
                await self._send_warm(region, is_full=is_full)
                is_full = region.start < region.stop and await self._send_cold(region)
        finally:
            self._region = None

    def _cork(self) -> None:
        """Hold back segments that are not full until `release`."""
        if self._can_cork is None:
            self._can_cork = is_tcp(self._sock)
        if self._can_cork and not self._corked:
            set_cork(self._sock, True)
            self._corked = True

    def release(self) -> None:
        """Take no more turns for a response, and push its last segment."""
        self._unyielded = 0
        self._span = FIRST_SPAN
        self._has_begun = False
        self._unregister()
        if self._corked and not self._lost:
            set_cork(self._sock, False)
        self._corked = False

    def lose(self) -> None:
        """Note that the connection is lost: what is being sent fails, and so does all that comes after."""
        self._lost = True
        self._unregister()
        if self._waits_on is not None:
            os.close(self._waits_on)
            self._waits_on = None
        if self._region is not None:
            self._region.settle(Disconnected())

    def _check_alive(self) -> None:
        if self._lost:
            raise Disconnected

    async def _send_warm(self, region: Region, *, is_full: bool) -> None:
        """Send from the loop until the region ends or the page cache does; wait first where the socket *is_full*."""
        region.done = self._loop.create_future()
        if is_full:
            self._register(region)
        elif self._unyielded < SPAN and not self._registered:
            self._step()
        else:
            self._continue()
        if not region.done.done():
            self._unyielded = 0
        try:
            await region.done
        finally:
            region.done = None  # its error knows this frame, and this frame the region: a circle

    async def _send_cold(self, region: Region) -> bool:
        """Send a few spans from a disk thread. Return whether the socket is full."""
        count = min(region.stop - region.start, COLD_SPANS * SPAN)
        self._unregister()  # or the loop would turn idly while the disk works
        self._check_alive()
        self._cork()
        out, file = _duplicates(self._fd, region.file)
        job = asyncio.wrap_future(disk.submit(_send_and_close, out, file, region.start, count))
        try:
            sent = await asyncio.shield(job)  # a job that is dropped unbegun would close nothing
        except OSError as error:
            raise _translated(error) from None
        self._advance(region, sent)
        return sent < count

    def _step(self) -> None:
        """Send one span, if the page cache has it. The loop calls this, once in each turn."""
        region = self._region
        if region is None or region.done is None or region.done.done():
            self._unregister()
            return
        stop = min(region.start + self._span, region.stop)
        if not region.is_resident(stop):
            region.settle(None)
            return
        try:
            sent = self._send_span(region, stop)
        except BlockingIOError:
            self._register(region)
            return
        except OSError as error:
            region.settle(_translated(error))
            return
        self._advance(region, sent)
        if sent == 0:
            region.settle(FileEnded(errno.EIO, "the file ended before the region"))
        elif region.start == region.stop:
            region.settle(None)
        elif region.start == stop:
            self._span = min(2 * self._span, SPAN)
            self._continue()
        else:
            self._register(region)

    def _send_span(self, region: Region, stop: int) -> int:
        if self._has_begun:
            self._cork()
        self._has_begun = True
        return os.sendfile(self._fd, region.file, region.start, stop - region.start)

    def _advance(self, region: Region, sent: int) -> None:
        region.start += sent
        self.sent += sent
        self._unyielded += sent

    def _continue(self) -> None:
        """Have the next span sent in the next turn; the socket takes more, as far as is known."""
        if not self._registered:
            self._loop.call_soon(self._step)

    def _register(self, region: Region) -> None:
        """Have the next span sent when the socket takes more; `send` raises where that cannot be."""
        if self._registered:
            return
        try:
            self._check_alive()
            if self._waits_on is None:
                self._waits_on = os.dup(self._fd)
            self._loop.add_writer(self._waits_on, self._step)
        except OSError as error:  # the loop, which has called, would tell nobody
            region.settle(error)
        else:
            self._registered = True

    def _unregister(self) -> None:
        if self._registered and self._waits_on is not None:
            self._loop.remove_writer(self._waits_on)
        self._registered = False


def _duplicates(out: int, file: int) -> tuple[int, int]:
    """Return duplicates of both descriptors, or of neither: one that stays would hold the connection open."""
    out = os.dup(out)
    try:
        return out, os.dup(file)
    except OSError:
        os.close(out)
        raise


def _send_and_close(out: int, file: int, offset: int, count: int) -> int:
    """Send up to *count* bytes until the socket is full; close both descriptors. Runs in a disk thread."""
    try:
        return _send_until_full(out, file, offset, count)
    finally:
        os.close(out)
        os.close(file)


def _send_until_full(out: int, file: int, offset: int, count: int) -> int:
    total = 0
    while total < count:
        try:
            sent = os.sendfile(out, file, offset + total, min(SPAN, count - total))
        except BlockingIOError:
            break
        if sent == 0:
            raise FileEnded(errno.EIO, "the file ended before the region")
        total += sent
    return total


def _translated(error: OSError) -> OSError:
    """Return `Disconnected` for the errors of a socket whose peer has gone, and *error* itself otherwise."""
    if error.errno in _PEER_GONE + _PEER_UNREACHABLE and not isinstance(error, FileEnded):
        return Disconnected(error.errno, os.strerror(error.errno))
    return error
