"""The one streaming response: sends a plan's segments, notices that the client has left, and always closes the content.

Regions of files are handed to the server to send (ASGI's ``http.response.zerocopysend``) where it offers that, a
slice at a time, and are read and sent in chunks where it does not; bytes, order and checks are the same. Small
content is one message.

A transfer that cannot be finished truthfully (the file shrank or was rewritten under it) stops before the announced
length and leaves the response unfinished: by ASGI the server then has to break the connection, and the client knows
that it has not got the whole. The last bytes are always read, and the file is looked at after that, before they are
sent, however slow the client was until then. It is also looked at on the way: one that is rewritten and ends larger
shows while it is shorter, and looks like one that grew afterwards. What sendfile has queued in the kernel by then are
still the file's own pages, which a rewrite in place changes unseen; where files are rewritten under their names,
``zero_copy = off`` copies.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from fileserve.semantics.plan import ResponsePlan
from fileserve.semantics.ranges import Span
from fileserve.storage.errors import ContentChanged, StorageError
from fileserve.storage.reader import FileRegion
from fileserve.web.content import Content
from fileserve.web.presence import ClientLeft, disconnected
from fileserve.web.problems import problem_of
from fileserve.web.routes import NameRequest
from fileserve.web.transfers.pieces import End

log = logging.getLogger("fileserve.transfer")

ZERO_COPY = "http.response.zerocopysend"
ONE_MESSAGE = 64 * 1024  # content of up to this many bytes is one read and one message
SLICE = 8 * 1024 * 1024  # bytes handed to zero-copy at once: between two slices a transfer looks up
FIRST_PIECE = 4 * 1024  # of a response sent by zero-copy, so much at the beginning is read: it leaves with the head
LAST_PIECE = 4 * 1024  # of content sent by zero-copy, so much at the end is read instead
FIRST_CHUNK = 64 * 1024  # chunks begin with this size, and keep it for slow clients and for TLS
STRETCH = 1024 * 1024  # after so many bytes the size of chunks is thought over
QUICK_S = 0.02  # a stretch that takes no longer was sent without much waiting


class Transfer:
    """Sends one planned response. Owns the open content from its making on: whoever makes a transfer calls it."""

    def __init__(
        self,
        plan: ResponsePlan,
        content: Content,
        chunk_size: int,
        *,
        is_prompt: bool = True,
        origin: tuple[NameRequest, str] | None = None,
    ) -> None:
        """*is_prompt* tells that small content comes at once.

        Where it may have to be computed, the head goes first: a client that has closed its side is only found out to be
        gone when something is sent to it. With an *origin*, who asked and by which route, the transfer shows in its
        site's `Progress`.
        """
        self.origin = origin
        self.is_prompt = is_prompt
        self.plan = plan
        self.content = content
        self.chunk_size = chunk_size
        self.left = plan.content_length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; leave it unfinished when the client has left or the content is not what was announced."""
        try:
            if not self.left or (self.is_prompt and self.left <= ONE_MESSAGE):
                await self._send_at_once(scope, receive, send)
            else:
                await self._send_in_view(scope, receive, send)
        except StorageError as error:
            log.warning("transfer broken off: %s", error)
        except ConnectionError:
            pass  # the client has left; a server that tells so expects no answer
        finally:
            self.content.close()

    async def _send_in_view(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what takes more than a message, for all who watch to see."""
        await send({"type": "http.response.start", "status": self.plan.status, "headers": self.plan.fields})
        is_offered = ZERO_COPY in scope.get("extensions", ())
        ahead = await self._send_first_piece(send) if is_offered else 0
        progress = self.origin[0].site.tracking.progress if self.origin else None
        live = progress.begin(self, self.origin) if progress and self.origin else None
        end = End.FAILED
        try:
            if is_offered:
                await self._send_regions(send, ahead)
            else:
                await self._send_chunks(scope, receive, send)
            end = End.LEFT if self.left else End.TAKEN
        except (ConnectionError, asyncio.CancelledError):
            end = End.LEFT
            raise
        finally:
            if progress and live:
                progress.finish(live, end)

    async def _send_at_once(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._read()
        except StorageError as error:  # nothing is sent yet: the client can be told
            return await problem_of(error).response(scope)(scope, receive, send)
        await send({"type": "http.response.start", "status": self.plan.status, "headers": self.plan.fields})
        await send({"type": "http.response.body", "body": body})
        if body and self.origin:
            self.origin[0].site.tracking.progress.note(self, self.origin)

    async def _read(self) -> bytes:
        """Return the whole content. No generators: for a small file each one shows."""
        pieces = []
        for segment in self.plan.segments:
            if isinstance(segment, bytes):
                pieces.append(segment)
            else:
                pieces.append(await _read_exactly(self.content, segment.start, segment.length))
        if pieces:
            self._take(self.left)
        return b"".join(pieces)

    async def _send_first_piece(self, send: Send) -> int:
        """Send the first bytes with the head, where the content has them at once. Return how many.

        The first byte waits neither for what zero-copy has to prepare nor for anything else, and a client that only
        looks and leaves costs less.
        """
        first = self.plan.segments[0]
        data = self.content.read_at_once(first.start, FIRST_PIECE) if isinstance(first, Span) else None
        if not data:
            return 0
        self._take(len(data))
        await send({"type": "http.response.body", "body": data, "more_body": self.left > 0})
        return len(data)

    async def _send_regions(self, send: Send, ahead: int) -> None:
        """Send the plan's segments but for the first *ahead* bytes."""
        for segment in self.plan.segments:
            if isinstance(segment, bytes):
                await self._send_bytes(send, segment)
            else:
                async with aclosing(self.content.regions(segment.start + ahead, segment.stop)) as regions:
                    async for part in regions:
                        await self._send_part(send, part)
            ahead = 0

    async def _send_part(self, send: Send, part: bytes | FileRegion) -> None:
        if isinstance(part, bytes):
            await self._send_bytes(send, part)
        else:
            await self._send_region(send, part)

    async def _send_region(self, send: Send, region: FileRegion) -> None:
        stop = region.offset + region.count
        stop_of_slices = stop - min(LAST_PIECE, region.count) if region.count == self.left else stop
        for offset in range(region.offset, stop_of_slices, SLICE):
            if offset > region.offset:
                region.file.check_unchanged()
            count = min(SLICE, stop_of_slices - offset)
            self._take(count)
            await send({"type": ZERO_COPY, "file": region.file.fd, "offset": offset, "count": count, "more_body": True})
        if stop_of_slices < stop:
            await self._send_bytes(send, await _read_exactly(region.file, stop_of_slices, stop - stop_of_slices))

    async def _send_bytes(self, send: Send, data: bytes) -> None:
        self._take(len(data))
        await send({"type": "http.response.body", "body": data, "more_body": self.left > 0})

    async def _send_chunks(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnect = asyncio.ensure_future(disconnected(receive))
        limit = FIRST_CHUNK if scope.get("scheme") == "https" else self.chunk_size
        try:
            async with aclosing(self._chunks(min(limit, self.chunk_size))) as chunks:
                async for data in chunks:
                    if disconnect.done():
                        raise ClientLeft
                    await self._send_bytes(send, data)
            if disconnect.done():  # while the last bytes were sent: a server may say nothing of those that it dropped
                raise ClientLeft
        finally:
            disconnect.cancel()

    async def _parts(self) -> AsyncGenerator[bytes | FileRegion, None]:
        for segment in self.plan.segments:
            if isinstance(segment, bytes):
                yield segment
            else:
                async with aclosing(self.content.regions(segment.start, segment.stop)) as regions:
                    async for region in regions:
                        yield region

    async def _chunks(self, limit: int) -> AsyncGenerator[bytes, None]:
        """Yield the content in chunks that grow up to *limit* bytes while they are taken quickly."""
        size = min(FIRST_CHUNK, limit)
        async with aclosing(self._parts()) as parts:
            async for part in parts:
                if isinstance(part, bytes):
                    yield part
                    continue
                stop = part.offset + part.count
                for offset in range(part.offset, stop, STRETCH):
                    if offset > part.offset:
                        part.file.check_unchanged()
                    began_s = time.monotonic()
                    async with aclosing(part.file.chunks(offset, min(STRETCH, stop - offset), size)) as stretch:
                        async for data in stretch:
                            yield data
                    was_quick = time.monotonic() - began_s < QUICK_S
                    await asyncio.sleep(0)  # others get their turn, however fast the client and resident the file
                    size = min(2 * size if was_quick else FIRST_CHUNK, limit)

    def _take(self, count: int) -> None:
        """Count bytes as sent; before the last of them look at the file, so that what looks whole is whole."""
        self.left -= count
        if not self.left:
            self.content.check_unchanged()


async def _read_exactly(content: Content, offset: int, count: int) -> bytes:
    data = await content.read(offset, count)
    if len(data) != count:
        raise ContentChanged
    return data
