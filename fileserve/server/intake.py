"""What comes in on a connection: request heads, judged before uvicorn acts on them, and refusals of those that fail.

`Intake` stands between uvicorn's `HttpToolsProtocol` and `Protocol`, which sends what goes out. A refused request is
answered when what was asked before it is answered, never in the middle of a response; nothing that arrives behind it is
read. A head has a size, a number of fields and a time.

Each override says what of uvicorn it leans on; `tests/server/test_contract.py` fails when an upgrade changes that.
Left out: what the application answers, and how connections end.
"""

import asyncio
from enum import Enum, auto
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fileserve.server import head
from fileserve.server.arrival import Arrival
from fileserve.server.exchange import Exchange
from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal


class Reading(Enum):
    """What is done with the bytes that arrive."""

    PARSED = auto()
    ENDED = auto()  # the client has half-closed; nothing arrives any more
    DISCARDED = auto()  # a refusal or the end is decided, or another protocol has taken over


_PARSED = Reading.PARSED  # a module's name is read faster than a member of an enum


class _Refused(Exception):
    """Ends the parser's work on a head that is refused."""


class Intake(HttpToolsProtocol):
    """The receiving side of one connection."""

    limits: ClassVar[Limits] = Limits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.arrival = Arrival(self.loop, self.limits.head_timeout_s, self._head_is_late)
        self.exchange: Exchange | None = None  # the one being answered
        self.reading = Reading.PARSED
        self.refusal: Refusal | None = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser and judge a head that is still incomplete. Leans on uvicorn to call `send_400_response`."""
        if self.reading is not _PARSED:
            return
        self.arrival.add(len(data))
        super().data_received(data)
        if (self.arrival.incomplete or self.exchange is None) and self.reading is _PARSED:
            self._judge_incomplete_head()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self.arrival.incomplete = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Judge the head, then let uvicorn make a cycle of it.

        Leans on uvicorn to read ``url``, ``headers`` and ``expect_100_continue`` only now.
        """
        version = self.parser.get_http_version()
        self.refusal = self._judge_head(version)
        self.arrival.complete()
        if self.refusal is not None:
            raise _Refused
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110 §10.1.1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the content has arrived; who has sent it all does not wait for 100. RFC 9110 §10.1.1."""
        super().on_message_complete()
        self.arrival.received = 0
        if self.cycle is not None:
            self.cycle.waiting_for_100_continue &= self.cycle.more_body

    def send_400_response(self, msg: str) -> None:
        """Refuse with the reason that was found, or as malformed.

        uvicorn's own would write into the middle of a response that is under way.
        """
        self.refuse(self.refusal or Refusal.MALFORMED)

    def refuse(self, refusal: Refusal) -> None:
        """Read nothing more, and answer with *refusal* when what was asked before is answered."""
        self.reading = Reading.DISCARDED
        self.refusal = refusal
        self.arrival.complete()
        self._drop_incomplete_request()
        if self.exchange is None:
            self.end_or_wait()

    def _drop_incomplete_request(self) -> None:
        """Forget the newest request if its content was still arriving: it never will."""
        cycle = self.cycle
        if cycle is None or not cycle.more_body or cycle.response_complete:
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        elif self.exchange is not None:
            self.exchange.disconnect()
            self.exchange = None
            if cycle.response_started:
                self.break_off("the request's content is malformed", reset=False)

    def end_or_wait(self) -> None:
        """Do what is due when nothing is being answered. `Protocol` knows."""
        raise NotImplementedError

    def break_off(self, reason: str, *, reset: bool) -> None:
        """Close the connection at once. `Protocol` knows how."""
        raise NotImplementedError

    def _judge_head(self, version: str) -> Refusal | None:
        """Judge a complete head, and bring an absolute target into origin-form."""
        limits, target, fields = self.limits, self.url, self.headers
        if len(fields) > limits.header_count:
            return Refusal.LARGE_HEAD
        if self.arrival.may_exceed(limits.header_bytes) and head.size_of(target, fields) > limits.header_bytes:
            return head.too_large(target, limits)
        refusal = head.examine(version, fields)
        if refusal is None and not target.startswith(b"/"):
            self.url = head.resolve_target(self.parser.get_method(), target, fields) or b""
            refusal = None if self.url else Refusal.BAD_TARGET
        return refusal

    def _judge_incomplete_head(self) -> None:
        """Judge what has come of a head; let its time run, or that of a connection on which nothing happens."""
        limits, arrival = self.limits, self.arrival
        if arrival.incomplete and (arrival.received > limits.header_bytes or len(self.headers) > limits.header_count):
            self.refuse(head.too_large(self.url, limits))
        elif self.exchange is None:
            arrival.start_timer()

    def _head_is_late(self) -> None:
        if self.arrival.incomplete:
            self.refuse(Refusal.SLOW_HEAD)
        else:
            # Policy: browsers open connections to have them; an answer that nobody asked for could be taken for the
            # next request's.
            self.transport.close()
