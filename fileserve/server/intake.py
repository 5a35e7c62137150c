"""What comes in on a connection: request heads, judged before uvicorn acts on them, and refusals of those that fail.

`Intake` stands between uvicorn's `HttpToolsProtocol` and `Protocol`, which runs what is asked. A refused request is
answered when what was asked before it is answered, never in the middle of a response; nothing that arrives behind it is
read. A head has a size, a number of fields and a time; trailers have the same limits, and no application sees them (RFC
9110 §6.5.1). The parser is fed in pieces and rests while a request waits, so that few can wait.

Each override says what of uvicorn it leans on; `tests/server/test_contract.py` fails when an upgrade changes that.
Left out: what the application answers, and how connections end (`endings`).
"""

import asyncio
from enum import Enum, auto
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from fileserve.server import head
from fileserve.server.arrival import Arrival
from fileserve.server.connection import Connection
from fileserve.server.edge import Edge, edge_of
from fileserve.server.exchange import Exchange
from fileserve.server.limits import Limits
from fileserve.server.refusals import Refusal

PIECE_BYTES = 4096  # fed at once: at most so many bytes of requests are parsed behind the one being answered


class Reading(Enum):
    """What is done with the bytes that arrive."""

    PARSED = auto()
    ENDED = auto()  # the client has half-closed; nothing arrives any more
    DISCARDED = auto()  # a refusal or the end is decided, or another protocol has taken over


_PARSED = Reading.PARSED  # a module's name is read faster than a member of an enum


class _Refused(Exception):
    """Ends the parser's work on a head that is refused."""


class Intake(Connection):
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
        self.edge: Edge = edge_of(server_state, self.limits)
        self.arrival = Arrival()
        self.exchange: Exchange | None = None  # the one being answered
        self.reading = Reading.PARSED
        self.refusal: Refusal | None = None
        self.unparsed: bytes | memoryview = b""
        self.content_left: int | None = None  # bytes of the newest request's content, where its length is known

    def data_received(self, data: bytes) -> None:
        """Parse *data*, or keep of it what comes behind a request that waits.

        Stands in the place of uvicorn's, which parses all at once and loses what follows an Upgrade.
        """
        if self.reading is not _PARSED:
            return
        if self.unparsed:
            data = b"".join((self.unparsed, data))
        self.unparsed = data if len(data) <= PIECE_BYTES else memoryview(data)  # slices of which copy nothing
        self.parse()

    def parse(self) -> None:
        """Feed the parser until a request has to wait, and judge a head that is still incomplete.

        Content of a known length is fed whole: no request can begin in it.
        """
        if self.cycle is not None:  # in front of a first request there is no idle time
            self._unset_keepalive_if_required()
        while self.unparsed and not self.pipeline and self.reading is _PARSED:
            count = max(PIECE_BYTES, self.content_left or 0)
            piece, self.unparsed = self.unparsed[:count], self.unparsed[count:]
            self._feed(piece)
        arrival = self.arrival
        is_due = arrival.incomplete or arrival.received or self.headers or self.exchange is None
        if is_due and self.reading is _PARSED:
            self._judge_incomplete()

    def _feed(self, piece: bytes | memoryview) -> None:
        """Feed the parser. A head with an Upgrade that nobody here speaks is fed again without it. RFC 9110 §7.8.

        The parser stops behind such a head, and takes what follows for another protocol, the request's content too.
        """
        self.arrival.add(len(piece))
        pending: list[bytes | memoryview] = [piece]
        while pending:
            part = pending.pop()
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                version = self.parser.get_http_version()
                again = head.without_upgrade(self.parser.get_method(), self.url, version, self.headers)
                pending += part[upgrade.args[0] :], again
                self.parser = self.new_parser()
            except httptools.HttpParserError:
                refusal = self.refusal or Refusal.MALFORMED
                self.edge.sparing.warning("malformed requests", "%s - refused: %s", self.peer, refusal.detail)
                self.refuse(refusal)
                return

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        self.arrival.incomplete = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Judge the head, then let uvicorn make a cycle of it, unless it is to be fed again without its Upgrade.

        Leans on uvicorn to read ``url``, ``headers`` and ``expect_100_continue`` only now.
        """
        version, upgrades = self.parser.get_http_version(), self.parser.should_upgrade()
        self.refusal = self._judge_head(version)
        self._complete_head()
        if self.refusal is not None:
            raise _Refused
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110 §10.1.1
        if upgrades and not self._should_upgrade():
            return
        super().on_headers_complete()
        self.content_left = None
        if not upgrades:
            self.headers = []  # the scope has the fields; what the parser adds now are trailers

    def on_body(self, body: bytes) -> None:
        """Count the content, of which no more than its length is to come.

        Leans on uvicorn to add to ``body``, to look at its length, and to hand it out by ``bytes``, which copies a
        bytearray and no bytes: what arrives alone, as a large upload does, is handed out as it is.
        """
        content = self.cycle.body
        if not content:
            self.cycle.body = body  # type: ignore[assignment]
            super().on_body(b"")
        else:
            if isinstance(content, bytes):
                self.cycle.body = bytearray(content)
            super().on_body(body)
        self.arrival.received = 0
        if self.content_left is None:
            self.content_left = head.content_length(self.cycle.scope["headers"])
        self.content_left -= len(body)

    def on_message_complete(self) -> None:
        """Note that the content has arrived; who has sent it all does not wait for 100. RFC 9110 §10.1.1."""
        if self.parser.should_upgrade():
            return
        if self.headers and self._are_too_large(b"", self.headers):
            self.refusal = Refusal.LARGE_HEAD
            raise _Refused
        super().on_message_complete()
        self.arrival.received = 0
        self.cycle.waiting_for_100_continue &= self.cycle.more_body

    def refuse(self, refusal: Refusal) -> None:
        """Read nothing more, and answer with *refusal* when what was asked before is answered."""
        self.reading = Reading.DISCARDED
        self.refusal = refusal
        self.unparsed = b""
        self._complete_head()
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
        """Do what is due when nothing is being answered. `Ending` knows."""
        raise NotImplementedError

    def break_off(self, reason: str, *, reset: bool) -> None:
        """Close the connection at once. `Ending` knows how."""
        raise NotImplementedError

    def _judge_head(self, version: str) -> Refusal | None:
        """Judge a complete head, and bring an absolute target into origin-form."""
        target, fields = self.url, self.headers
        if self._are_too_large(target, fields):
            return head.too_large(target, self.limits)
        refusal = head.examine(version, fields)
        if refusal is None and version == "1.0":
            refusal = head.examine_old(fields)
        if refusal is None and self.parser.should_upgrade() and self.parser.get_method() == b"CONNECT":
            return Refusal.TUNNEL
        if refusal is None and not target.startswith(b"/"):
            self.url = head.resolve_target(self.parser.get_method(), target, fields) or b""
            refusal = None if self.url else Refusal.BAD_TARGET
        return refusal

    def _are_too_large(self, target: bytes, fields: head.Fields) -> bool:
        limits = self.limits
        if len(fields) > limits.header_count:
            return True
        return self.arrival.at_most > limits.header_bytes and head.size_of(target, fields) > limits.header_bytes

    def _judge_incomplete(self) -> None:
        """Judge what has come of a head or of what stands around content: trailers, extensions of chunks."""
        limits, arrival = self.limits, self.arrival
        if arrival.received > limits.header_bytes or len(self.headers) > limits.header_count:
            self.refuse(head.too_large(self.url, limits) if arrival.incomplete else Refusal.LARGE_HEAD)
        elif self.exchange is None:
            self.await_head()

    def await_head(self) -> None:
        """Let the time of a head run, or that of a connection on which nothing happens."""
        self.edge.heads.add(self, self.limits.head_timeout_s)

    def _complete_head(self) -> None:
        self.arrival.complete()
        self.edge.heads.discard(self)

    def head_is_late(self) -> None:
        """Refuse a head that takes too long; close a connection on which none has begun."""
        if self.arrival.incomplete:
            self.refuse(Refusal.SLOW_HEAD)
        elif not self.transport.is_closing():
            # Policy: browsers open connections to have them; an answer that nobody asked for could be taken for the
            # next request's.
            self.transport.close()
