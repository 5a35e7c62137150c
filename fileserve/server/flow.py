"""When a connection is read: not while requests wait in its pipeline.

uvicorn pauses reading when a request has to wait, but resumes it after every response and at every `receive`, so that a
client which never stops asking fills the memory with requests. Here reading resumes when the last of them is being
answered; until then the bytes that follow stay in the kernel, and then with the client.

It leans on uvicorn to resume by `FlowControl.resume_reading` alone, and to keep the requests that wait in ``pipeline``.
"""

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

__all__ = ["Flow"]


class Flow(FlowControl):
    """The flow of one connection, whose requests wait in *pipeline*."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        # In place of uvicorn's, which makes an event for each connection; few of them ever wait to write.
        self._transport = transport
        self._pipeline = pipeline
        self.read_paused = self.write_paused = False

    def resume_reading(self) -> None:
        """Resume reading, unless requests wait."""
        if not self._pipeline:
            super().resume_reading()

    def pause_writing(self) -> None:
        """Let those who `drain` wait."""
        if not self.write_paused:
            self._is_writable_event = asyncio.Event()
        super().pause_writing()

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        if self.write_paused:
            await super().drain()
