"""The one streaming response: sends a plan's segments, notices that the client has left, and always closes the content.

Regions of files are handed to the server to send (ASGI's ``http.response.zerocopysend``) where it offers that, a
slice at a time, and are read and sent in chunks where it does not; bytes, order and checks are the same. Small
content is one message.

A transfer that cannot be finished truthfully (the file shrank or was rewritten under it) stops before the announced
length and leaves the response unfinished: by ASGI the server then has to break the connection, and the client knows
that it has not got the whole.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from fileserve.semantics.plan import ResponsePlan
from fileserve.storage.errors import ContentChanged, StorageError
from fileserve.storage.reader import FileRegion, OpenFile
from fileserve.web.problems import problem_of

log = logging.getLogger("fileserve.transfer")

ZERO_COPY = "http.response.zerocopysend"
ONE_MESSAGE = 64 * 1024  # content of up to this many bytes is one read and one message
SLICE = 8 * 1024 * 1024  # bytes handed to zero-copy at once: between two slices a transfer looks up
LAST_SLICE = 1024 * 1024  # before so many bytes are left the file is looked at, however slow the client is


class Transfer:
    """Sends one planned response. Owns the open content from its making on: whoever makes a transfer calls it."""

    def __init__(self, plan: ResponsePlan, content: OpenFile, chunk_size: int) -> None:
        self.plan = plan
        self.content = content
        self.chunk_size = chunk_size
        self.left = plan.content_length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; leave it unfinished when the client has left or the content is not what was announced."""
        try:
            if self.plan.content_length <= ONE_MESSAGE:
                await self._send_at_once(scope, receive, send)
            elif ZERO_COPY in scope.get("extensions", ()):
                await self._send_regions(send)
            else:
                await self._send_chunks(receive, send)
        except StorageError as error:
            log.warning("transfer broken off: %s", error)
        except ConnectionError:
            pass  # the client has left; a server that tells so expects no answer
        finally:
            self.content.close()

    async def _send_at_once(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._read()
        except StorageError as error:  # nothing is sent yet: the client can be told
            return await problem_of(error).response(scope)(scope, receive, send)
        await self._start(send)
        await send({"type": "http.response.body", "body": body})

    async def _read(self) -> bytes:
        """Return the whole content. No generators: for a small file each one shows."""
        pieces = []
        for segment in self.plan.segments:
            piece = segment if isinstance(segment, bytes) else await self.content.read(segment.start, segment.length)
            pieces.append(piece)
        body = b"".join(pieces)
        if len(body) != self.plan.content_length:
            raise ContentChanged
        if body:
            self.content.check_unchanged()
        return body

    async def _send_regions(self, send: Send) -> None:
        await self._start(send)
        async for part in self._parts():
            if isinstance(part, bytes):
                self._take(len(part))
                await send({"type": "http.response.body", "body": part, "more_body": self.left > 0})
            else:
                await self._send_region(send, part)

    async def _send_region(self, send: Send, region: FileRegion) -> None:
        offset, stop = region.offset, region.offset + region.count
        while offset < stop:
            before_last = self.left - LAST_SLICE
            count = min(SLICE, stop - offset, before_last if before_last > 0 else stop - offset)
            self._take(count)
            more_body = self.left > 0
            await send({"type": ZERO_COPY, "file": region.fd, "offset": offset, "count": count, "more_body": more_body})
            offset += count

    async def _send_chunks(self, receive: Receive, send: Send) -> None:
        await self._start(send)
        disconnect = asyncio.ensure_future(_disconnected(receive))
        try:
            async for data in self._chunks():
                if disconnect.done():
                    return
                await send({"type": "http.response.body", "body": data, "more_body": self.left > 0})
        finally:
            disconnect.cancel()

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.plan.status, "headers": list(self.plan.fields)})

    async def _parts(self) -> AsyncIterator[bytes | FileRegion]:
        for segment in self.plan.segments:
            if isinstance(segment, bytes):
                yield segment
            else:
                async for region in self.content.regions(segment.start, segment.stop):
                    yield region

    async def _chunks(self) -> AsyncIterator[bytes]:
        async for part in self._parts():
            if isinstance(part, bytes):
                self._take(len(part))
                yield part
                continue
            async for data in self.content.chunks(part.offset, part.count, self.chunk_size):
                self._take(len(data))
                yield data

    def _take(self, count: int) -> None:
        """Count bytes as sent; before the last of them look at the file, so that what looks whole is whole."""
        self.left -= count
        if not self.left:
            self.content.check_unchanged()


async def _disconnected(receive: Receive) -> None:
    """Return when the client has left. A GET's content is read past: it has no meaning (RFC 9110 §9.3.1)."""
    while (await receive())["type"] != "http.disconnect":
        pass
