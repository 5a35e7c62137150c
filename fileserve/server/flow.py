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
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Resume reading, unless requests wait."""
        if not self._pipeline:
            super().resume_reading()
