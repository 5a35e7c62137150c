"""A small OpenAI-compatible server: it streams, stalls, breaks off and refuses, as the test tells it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
STALL = b"stall"  # in a script: say nothing more until the client leaves
DONE = "data: [DONE]\n\n"


def chunk(text: str | None, finish_reason: str | None = None) -> str:
    """Return the event with one piece of an answer."""
    delta = {} if text is None else {"content": text}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish_reason}]})}\n\n"


def framed(*events: str) -> bytes:
    """Return *events* as one chunk of the transfer coding."""
    data = "".join(events).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def refusal(status: int, body: str) -> bytes:
    """Return an answer that is no stream."""
    return b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body.encode(),
    )


@dataclass
class Upstream:
    """What was asked of it, and whether its clients have left."""

    script: Sequence[bytes]
    base_url: str = ""
    heads: list[str] = field(default_factory=list)
    questions: list[Any] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request by the script, and close the connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            self.heads.append(head)
            self.questions.append(json.loads(await reader.readexactly(length)))
            self.asked.set()
            for step in self.script:
                if step == STALL:
                    await reader.read()
                    break
                writer.write(step)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.left.set()
            writer.close()


@asynccontextmanager
async def upstream(*script: bytes) -> AsyncIterator[Upstream]:
    """Run the server on a free port for the length of the block; each request gets the same *script*."""
    asked = Upstream(script)
    server = await asyncio.start_server(asked.answer, "127.0.0.1", 0)
    asked.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield asked
