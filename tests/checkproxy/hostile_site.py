"""A site that says of itself that it is alive, and answers everything else as no server should."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Speak = Callable[[socket.socket, str], None]

OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\n\r\n"
CONTENT = OK + b"Content-Type: application/octet-stream\r\n"
ALIVE = JSON + b'Content-Length: 15\r\nConnection: close\r\n\r\n{"status":"ok"}'
WRONG_TYPES = (
    b'{"entries":[{"kind":"file","size":"x","href":5,"modified":"zz"}],"path":3,"scheme":null,"host":[],'
    b'"http_version":{},"connection":[],"hops":"x","client":7,"is_forwarded_proto":"n","request_id":{},"etag":[]}'
)


def answering(content: bytes, head: bytes = JSON) -> Speak:
    """Return what answers everything with *content*."""
    answer = head + b"Content-Length: %d\r\n\r\n" % len(content) + content
    return lambda connection, _path: connection.sendall(answer)


def raw(answer: bytes) -> Speak:
    """Return what answers everything with these bytes."""
    return lambda connection, _path: connection.sendall(answer)


def endless(head: bytes, piece: bytes, pause_s: float = 0) -> Speak:
    """Return what never ends."""

    def speak(connection: socket.socket, _path: str) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return speak


NOW_AND_THEN_S = 0.03  # more often than anybody's patience ends

WAYS: dict[str, Speak] = {
    "never": lambda _connection, _path: time.sleep(60),
    "a_byte_now_and_then": endless(JSON + b"Content-Length: 999999999\r\n\r\n", b"[", NOW_AND_THEN_S),
    "a_comment_now_and_then": endless(STREAM, b": \n", NOW_AND_THEN_S),
    "a_byte_of_the_content_now_and_then": endless(CONTENT + b"Content-Length: 67108864\r\n\r\n", b"0", NOW_AND_THEN_S),
    "an_interim_answer_now_and_then": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", NOW_AND_THEN_S),
    "interim_answers": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "endless_head": endless(OK, b"X-A: " + b"a" * 60000 + b"\r\n"),
    "endless_content": endless(JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"[" * 65536 + b"\r\n"),
    "endless_chunk": endless(JSON + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"[" * 65536),
    "endless_line": endless(STREAM, b"data: " + b"1" * 65536),
    "endless_blocks": endless(CONTENT + b"\r\n", b"00000000" + bytes(65528)),
    "flood_of_events": endless(STREAM, b"data: 1\n\n" * 5000),
    "events_that_tell_nothing": raw(STREAM + b"data: xx\n\n"),
    "deep": answering(b"[" * 500_000),
    "no_json": answering(b"xxx"),
    "a_list": answering(b"[]"),
    "wrong_types": answering(WRONG_TYPES),
    "no_utf_8": answering(b'{"entries":"\xff"}'),
    "gzip_unasked": answering(gzip.compress(b'{"entries":[]}'), JSON + b"Content-Encoding: gzip\r\n"),
    "control_characters": answering(b"{}", b"HTTP/1.1 599 \x1b[31mHI\x07\r\nContent-Type: \x1b]0;pwn\x07\r\n"),
    "content_that_tells_nothing": answering(b"[" * 70_000, CONTENT),
    "redirect": answering(b"", b"HTTP/1.1 302 Found\r\nLocation: http://\x1b[2J127.0.0.1:1/\r\n"),
    "garbage": raw(b"\x16\x03\x01garbage\r\n\r\n"),
    "negative_length": raw(JSON + b"Content-Length: -5\r\n\r\n{}"),
    "nothing_but_healthz": answering(b"not here", b"HTTP/1.1 404 Not Found\r\n"),
}


@contextmanager
def hostile_site(speak: Speak, alive: bytes = ALIVE, *, is_alive: bool = True) -> Iterator[str]:
    """Serve for the length of the block: whatever *speak* sends, but *alive* to ``/healthz`` where it *is_alive*."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            path = connection.recv(65536).decode("latin-1").split(" ")[1]
            if is_alive and path.endswith("/healthz"):
                connection.sendall(alive)
            else:
                speak(connection, path)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
