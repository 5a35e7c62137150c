"""Whether the client is still there, while something is prepared or sent for it that costs more than bytes.

A server tells of a client that has left by `receive` alone: what is being computed goes on until somebody listens. What
goes by zero-copy learns of it at the next slice, so a plain download needs no listener; an archive of many small
files, a walk through a directory or a digest does.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")


class ClientLeft(ConnectionError):
    """The client has left; nobody waits for the result."""


async def while_present(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what *work* returns. Cancels it, waits for its end and raises ``ClientLeft`` when the client leaves."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait((working, gone))
        if not working.cancelled():
            working.exception()  # seen, whoever raises what


class Attended:
    """The response *app*, cancelled when its client leaves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response for as long as the client is there."""
        with suppress(ClientLeft):  # a server that tells so expects no answer
            await while_present(receive, self._respond(scope, send))

    async def _respond(self, scope: Scope, send: Send) -> None:
        await self._app(scope, _never, send)


async def disconnected(receive: Receive) -> None:
    """Return when the client has left. A GET's content is read past: it has no meaning (RFC 9110 §9.3.1)."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _never() -> Message:
    """Stand in for `receive`, to which somebody listens already."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")
