"""``GET /checksum/{path}``: a file's SHA-256 as ``sha256sum`` writes it, with its progress while it is computed.

What is known is answered at once. Otherwise the answer is streamed: lines that begin with ``#``, which ``sha256sum -c``
passes over, at a steady pace, and the digest last. A client that leaves ends the work, unless others wait for it too.
``/checksum/{dir}/SHA256SUMS`` lists a whole directory once all its digests are known; a file of that name wins.
"""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from fileserve.semantics.digest import checksum_line
from fileserve.storage.computation import Computation
from fileserve.storage.errors import Busy, IsDirectory, NotFound, StorageError
from fileserve.storage.reader import OpenFile
from fileserve.web.content import Text
from fileserve.web.delivery import deliver_text
from fileserve.web.describe import NS_PER_S, filename_of, readable_size
from fileserve.web.digests.sidecars import PLAIN
from fileserve.web.digests.sums import SUMS, sums
from fileserve.web.presence import disconnected
from fileserve.web.problems import Problem, problem_of
from fileserve.web.routes import NameRequest
from fileserve.web.site import href

log = logging.getLogger("fileserve.checksums")

PACE_S = 1.0  # between two lines of progress


async def checksum(request: NameRequest) -> ASGIApp:
    """Answer with the digest of the file, or with its progress and then the digest."""
    try:
        opened = await request.site.root.open(request.name)
    except NotFound:
        if request.name[-1:] == (SUMS,) and not request.trailing_slash:
            return await sums(request, request.name[:-1])
        raise
    except IsDirectory:
        raise _is_directory(request) from None
    try:
        digests = await request.site.digests.checksums.find(opened.status)
    except BaseException:
        opened.close()
        raise
    if digests is None:
        return _Progress(request, opened)
    opened.close()
    text = Text(checksum_line(digests.sha256, request.name[-1]))
    return deliver_text(
        request, text, PLAIN, filename_of(request.name[-1]) + ".sha256", opened.status.mtime_ns // NS_PER_S
    )


class _Progress:
    """The streamed answer for a digest that is not known. Owns the open file."""

    def __init__(self, request: NameRequest, opened: OpenFile) -> None:
        self._request = request
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compute the digest, or join those who wait for it, and tell how far it has come. HEAD starts nothing."""
        is_started = False
        try:
            if scope["method"] == "HEAD":
                return await _start(send, more_body=False)
            watching = self._request.site.digests.checksums.watch(self._opened, self._request.client)
            async with watching as computation:
                is_started = True
                await _start(send, more_body=True)
                await self._tell(computation, receive, send)
        except StorageError as error:
            if not is_started:
                return await self._refusal(error).response(scope)(scope, receive, send)
            log.warning("checksum broken off: %s", error)  # and unfinished, so that the server breaks the connection
        except ConnectionError:
            pass  # the client has left
        finally:
            self._opened.close()

    def _refusal(self, error: StorageError) -> Problem:
        problem = problem_of(error)
        if isinstance(error, Busy):
            problem.fields = {"retry-after": str(self._request.site.settings.retry_after)}
        return problem

    async def _tell(self, computation: Computation, receive: Receive, send: Send) -> None:
        gone, result = asyncio.ensure_future(disconnected(receive)), asyncio.ensure_future(computation.result())
        began_s, begun_at = time.monotonic(), computation.hashed
        try:
            while not result.done():
                rate = (computation.hashed - begun_at) / (time.monotonic() - began_s + PACE_S / 10)
                await _send_line(send, progress_line(computation.hashed, computation.size, rate))
                await asyncio.wait((gone, result), timeout=PACE_S, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
            await _send_line(send, checksum_line(result.result().sha256, self._request.name[-1]), more_body=False)
        finally:
            gone.cancel()
            result.cancel()
            await asyncio.wait((gone, result))


def progress_line(hashed: int, size: int, rate: float) -> bytes:
    """Return as a comment how far a digest has come: bytes hashed, of the file, and hashed per second.

    >>> progress_line(3 << 20, 12 << 20, 1.5 * 2**20).decode().strip()
    '#  25 %  3 MiB of 12 MiB, 6 s left'
    """
    share = 100 * hashed // size if size else 100
    left = f", {(size - hashed) / rate:.0f} s left" if rate else ""
    return f"# {share:3d} %  {readable_size(hashed)} of {readable_size(size)}{left}\n".encode()


async def _start(send: Send, *, more_body: bool) -> None:
    headers = [
        (b"content-type", PLAIN.encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not more_body:
        await send({"type": "http.response.body", "body": b""})


async def _send_line(send: Send, line: bytes, *, more_body: bool = True) -> None:
    await send({"type": "http.response.body", "body": line, "more_body": more_body})


def _is_directory(request: NameRequest) -> Problem:
    problem = problem_of(IsDirectory())
    return Problem(
        problem.status,
        "This is a directory; the digests of its files are at the link.",
        links={"sums": href(request.scope, "checksum", (*request.name, SUMS))},
    )
