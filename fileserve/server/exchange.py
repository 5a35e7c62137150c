"""One request and its response: what stands between uvicorn's cycle and the application.

An `Exchange` is the ASGI application that uvicorn runs; it runs the real one with a `send` that knows the extension
``http.response.zerocopysend``, and passes every other message on. It also owns the instant of the response (Date, RFC
9110 §6.6.1), ends a response to HTTP/1.0 by closing instead of by chunks (RFC 9112 §6.1), and sees to it that a
response which stopped short cannot be taken for a whole one.

It leans on these of uvicorn's `RequestResponseCycle`: ``send``, ``disconnected``, ``default_headers``,
``expected_content_length``, ``chunked_encoding``, ``response_started``, ``response_complete``, ``keep_alive``,
``more_body``, ``message_event``. A little longer than other modules, because it is one class.
"""

import asyncio
import os
from collections.abc import Container, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from fileserve.records import request_id
from fileserve.server.access_log import log_request
from fileserve.server.clients import Ticket, key_of
from fileserve.server.clock import Instant, format_date
from fileserve.server.extension import ZEROCOPYSEND, extensions_of
from fileserve.server.region import region_of
from fileserve.server.writing import judge, write_body, write_head
from fileserve.server.zerocopy import Disconnected, FileEnded, Sender

if TYPE_CHECKING:
    from fileserve.server.protocol import Protocol

Message = Any  # uvicorn's union of messages does not know the extension's

_NANOSECONDS = 1_000_000_000
_WITHOUT_CONTENT = (204, 304)
_OF_OFFLOADS, _ACCEL = 501, b"x-accel-redirect"  # an answer that leaves the response to the proxy
_LAST_MESSAGE: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class Exchange:
    """One request and its response on a connection, with all that belongs to it: a second object would cost time."""

    __slots__ = (
        *("_ends_by_close", "_given_id", "_sends_file", "app", "connection", "cycle", "instant"),
        *("number", "request_id", "sent", "status", "ticket"),
    )

    def __init__(
        self,
        connection: "Protocol",
        cycle: RequestResponseCycle,
        app: ASGI3Application,
        ticket: Ticket | None,
        given_id: bytes | None,
    ) -> None:
        self.connection = connection
        self.cycle = cycle
        self.app = app
        self.ticket = ticket
        self.sent = 0  # bytes of content
        self.status = 0
        self._given_id = given_id
        self.request_id = next(connection.edge.request_ids) if given_id is None else given_id.decode("ascii")
        self.number = connection.wire.responses = connection.wire.responses + 1
        self.instant = Instant()
        self._ends_by_close = False
        self._sends_file = False  # from when the application says so until it is done

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Run the application, and break the connection if it leaves the response unfinished."""
        try:
            if self.cycle.disconnected:
                return
            request_id.set(self.request_id)  # in the context of this request's task, which ends with it
            scope["extensions"] = extensions_of(self)  # type: ignore[typeddict-unknown-key]
            await self.app(scope, receive, self.send)
        except Disconnected:
            pass  # the connection is broken already, and that a client leaves is no news
        except (FileEnded, asyncio.CancelledError) as error:
            # A cancellation is not raised on: the caller is uvicorn, which swallows it in any case, with a traceback
            # for each client of a shutdown.
            self._abandon(str(error) or "cancelled")
        except BaseException:
            self._give_up_if_endless()
            if not self.cycle.response_started and not self.cycle.disconnected:
                self.status = 500  # uvicorn answers
                self.connection.edge.counts.begin_response(500, self.instant)
            raise
        else:
            self._give_up("left unfinished by the application")
        finally:
            self._prepare_fields(())  # of the answer 500 that uvicorn may send now
            if self.connection.logs_requests:
                log_request(self)
            # The extension knows the exchange, which knows the scope: a circle that only the collector would undo.
            scope.pop("extensions", None)  # type: ignore[typeddict-item]
            self.connection.end(self)

    def send(self, message: Message) -> Coroutine[Any, Any, None]:
        """Take one ASGI message from the application, and return what it awaits.

        What is usual is written here, in half the time that uvicorn takes; the rest, and all that is to be refused, is
        uvicorn's.
        """
        if self._sends_file:
            return self._refuse_overtaking()
        kind = message["type"]
        is_written = False
        if kind == "http.response.body":
            self._prepare_body(message)
            is_written = write_body(self.cycle, message)
        elif kind == "http.response.start":
            headers = message.get("headers", ())
            if not isinstance(headers, (tuple, list)):  # an iterator is read once, and uvicorn may have to read it, too
                message = {**message, "headers": (headers := list(headers))}
            fields = judge(headers)
            self.status = message["status"]
            self._prepare_start(self.status, fields.named)
            is_written = write_head(self.cycle, self.status, fields)
            if self.status == _OF_OFFLOADS and _ACCEL in fields.named:
                self.connection.edge.counts.begin_offload(self.instant)
            else:
                self.connection.edge.counts.begin_response(self.status, self.instant)
        elif kind == ZEROCOPYSEND and self.connection.wire.offers_zero_copy:
            self._sends_file = True
            return self._send_file(message)
        return _nothing() if is_written else self.cycle.send(message)

    def unsent(self) -> int | None:
        """Return how many bytes of the announced content the connection has not taken yet; ``None``: none is announced.

        Leans on uvicorn to take off ``expected_content_length`` what it writes, when it writes it.
        """
        if not self.cycle.response_started:
            return None
        wire = self.connection.wire
        of_region = wire.sender.unsent if wire.sender is not None and wire.responses == self.number else 0
        return self.cycle.expected_content_length + of_region

    def has_known_end(self) -> bool:
        """Tell whether a client can see the end of the response, as far as it has got, before the connection's end."""
        return not self.cycle.response_started or (not self.cycle.chunked_encoding and not self._ends_by_close)

    def disconnect(self) -> None:
        """Let the application know that the client has gone."""
        if not self.cycle.response_complete:
            self.cycle.disconnected = True
        self.cycle.message_event.set()

    def hang_up(self) -> None:
        """End the connection as if the client had left it, unless it is another request's by now."""
        if self.connection.exchange is self:
            self.connection.wire.abort(reset=False)

    def client(self) -> str | None:
        """Return what stands for the client where clients are counted: its address or its network."""
        client = self.cycle.scope["client"]
        return key_of(client[0]) if client else None

    def _prepare_start(self, status: int, named: Mapping[bytes, bytes]) -> None:
        cycle = self.cycle
        self._prepare_fields(named)
        if b"content-length" not in named and status not in _WITHOUT_CONTENT and cycle.scope["method"] != "HEAD":
            self._prepare_unknown_end()
        if self._ends_connection():
            cycle.keep_alive = False
        self.connection.wire.joining.hold()

    def _ends_connection(self) -> bool:
        """Tell whether the connection should end: the server leaves, or the request's content is still to come.

        Policy: such content is most likely not wanted, and may never come (RFC 9110 §10.1.1); that nothing behind it
        will be answered can be said only now (RFC 9112 §9.6).
        """
        return self.cycle.more_body or self.connection.edge.leaving.is_set()

    def _prepare_fields(self, names: Container[bytes]) -> None:
        """Set the fields that the server adds: Date, and those of uvicorn's configuration, but not uvicorn's late Date.

        Policy: Date is sent whatever ``date_header`` says, because a server with a clock must (RFC 9110 §6.6.1); one
        that the application has set wins, because a gateway has to pass its origin's on.
        """
        if self.cycle.response_started:
            return
        ours = [] if b"date" in names else [(b"date", format_date(self.instant() // _NANOSECONDS))]
        if self._given_id is not None and b"x-request-id" not in names:
            ours.append((b"x-request-id", self._given_id))
        self.cycle.default_headers = ours + self.connection.config.encoded_headers

    def _prepare_unknown_end(self) -> None:
        """Settle how a response without Content-Length ends: not at all for a client that has half-closed.

        Policy: HTTP/1.0 gets no chunks but the connection's end (RFC 9112 §6.1).
        """
        if not self.connection.may_stream():
            self.disconnect()
            self.connection.transport.close()
        elif self.cycle.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self._ends_by_close = True

    def _prepare_body(self, message: Message) -> None:
        length = len(message.get("body", b""))
        self.sent += length
        if self._ends_by_close:
            self.cycle.expected_content_length = length
        if self.cycle.more_body and not message.get("more_body", False):
            self.connection.outlast(self.cycle)

    async def _refuse_overtaking(self) -> None:
        raise RuntimeError("A message was sent before the region ahead of it was.")

    async def _send_file(self, message: Message) -> None:
        cycle = self.cycle
        try:
            if not cycle.response_started or cycle.response_complete:
                await cycle.send(message)  # raises what uvicorn says of a message that is out of turn
            if cycle.disconnected:
                raise Disconnected
            if cycle.scope["method"] != "HEAD":
                await self._send_region(self.connection.wire.sender_of_files(), message)
        finally:
            self._sends_file = False
        if not message.get("more_body", False):
            await self.send(_LAST_MESSAGE)

    async def _send_region(self, sender: Sender, message: Message) -> None:
        file, offset, count = region_of(message)
        chunked = self.cycle.chunked_encoding and count > 0
        if chunked:
            self.cycle.transport.write(b"%x\r\n" % count)
        else:
            self._take_off(count)
        begin = sender.sent
        try:
            await self.connection.wire.flush()
            await sender.send(file, offset, count)
            if self.cycle.disconnected:  # while a disk thread sent the last bytes
                raise Disconnected
        except Disconnected:
            self.disconnect()
            self.connection.wire.abort(reset=False)
            raise
        except BaseException as error:
            # Nothing can follow: a chunk is announced, or a disk thread may go on with what is cancelled.
            if chunked or isinstance(error, asyncio.CancelledError):
                self._abandon(str(error) or "cancelled")
            raise
        finally:
            self.sent += sender.sent - begin
            self.cycle.expected_content_length += begin + count - sender.sent if not chunked else 0
        if chunked:
            self.connection.transport.write(b"\r\n")
        if message.get("offset") is None:
            os.lseek(file, offset + count, os.SEEK_SET)

    def _take_off(self, count: int) -> None:
        """Take *count* off what is announced."""
        cycle = self.cycle
        if self._ends_by_close or cycle.chunked_encoding:
            return
        if count > cycle.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        cycle.expected_content_length -= count

    def _give_up(self, reason: str) -> None:
        """Break the connection of a response that has begun; of another one, uvicorn makes an answer 500."""
        if self.cycle.response_started:
            self._abandon(reason)

    def _abandon(self, reason: str) -> None:
        """Break the connection of a response that will not end, and keep uvicorn from logging it once more."""
        cycle = self.cycle
        if cycle.disconnected or cycle.response_complete:
            return
        cycle.disconnected = True
        self.connection.break_off(reason, reset=self._ends_by_close)

    def _give_up_if_endless(self) -> None:
        """Break the connection by a reset where a proper close, uvicorn's way, would look like the response's end."""
        if self._ends_by_close:
            self._give_up("the application failed")


async def _nothing() -> None:
    """Be awaited: what was to be sent is written."""
