"""The one streaming response: sends a plan's segments, watches for the client's leaving, and always closes the content.

A transfer that cannot be finished truthfully (the file shrank or was rewritten under it) stops before the announced
length and leaves the response unfinished: by ASGI the server then has to break the connection, and the client knows
that it has not got the whole.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from fileserve.semantics.plan import ResponsePlan
from fileserve.storage.errors import StorageError
from fileserve.storage.reader import OpenFile
from fileserve.web.problems import problem_of

log = logging.getLogger("fileserve.transfer")

ONE_MESSAGE = 64 * 1024  # content of up to this many bytes is one read and one message


class Transfer:
    """Sends one planned response. Owns the open content from its making on: whoever makes a transfer calls it."""

    def __init__(self, plan: ResponsePlan, content: OpenFile, chunk_size: int) -> None:
        self.plan = plan
        self.content = content
        self.chunk_size = chunk_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; leave it unfinished when the client has left or the content is not what was announced."""
        try:
            if self.plan.content_length <= ONE_MESSAGE:
                await self._send_at_once(scope, receive, send)
            else:
                await self._send_watched(receive, send)
        finally:
            self.content.close()

    async def _send_at_once(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = b"".join([data async for data in self._chunks()])
        except StorageError as error:  # nothing is sent yet: the client can be told
            return await problem_of(error).response(scope)(scope, receive, send)
        await self._start(send)
        await send({"type": "http.response.body", "body": body})

    async def _send_watched(self, receive: Receive, send: Send) -> None:
        await self._start(send)
        disconnect = asyncio.ensure_future(_disconnected(receive))
        try:
            async for data in self._chunks():
                if disconnect.done():
                    return
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body"})
        except StorageError as error:
            log.warning("transfer aborted: %s", error)
        finally:
            disconnect.cancel()

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.plan.status, "headers": list(self.plan.fields)})

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the content; the last of it only after a look at the file, so that what looks whole is whole."""
        left = self.plan.content_length
        async for data in self._unchecked_chunks():
            left -= len(data)
            if left == 0:
                self.content.check_unchanged()
            yield data

    async def _unchecked_chunks(self) -> AsyncIterator[bytes]:
        for segment in self.plan.segments:
            if isinstance(segment, bytes):
                yield segment
                continue
            async for region in self.content.regions(segment.start, segment.stop):
                if isinstance(region, bytes):
                    yield region
                    continue
                async for data in self.content.chunks(region.offset, region.count, self.chunk_size):
                    yield data


async def _disconnected(receive: Receive) -> None:
    """Return when the client has left. A GET's content is read past: it has no meaning (RFC 9110 §9.3.1)."""
    while (await receive())["type"] != "http.disconnect":
        pass
