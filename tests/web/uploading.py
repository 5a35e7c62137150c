"""Uploads of every kind, sent to the application in process: PUT, forms and tus, and what must not be left of them."""

import asyncio
import base64
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from fileserve import Settings
from tests.asgi import Answer, Client

MIB = 1 << 20
NEW = b"new content"
BOUNDARY = b"XbX"
FORM = {"content-type": "multipart/form-data; boundary=XbX"}
SPOKEN = {"tus-resumable": "1.0.0"}
CONTENT_TYPE = "application/offset+octet-stream"
Parts = list[tuple[bytes | None, bytes]]


def settings(root: Path, **changed: Any) -> Settings:
    """Return settings under which uploads are taken, and nothing is kept free."""
    options: dict[str, Any] = {"upload": True, "replace": True, "keep_free": 0, **changed}
    return Settings(root=root, **options)


async def put(client: Client, path: str, content: bytes = NEW, fields: dict[str, str] | None = None) -> Answer:
    """Send *content* in two chunks, with its length."""
    chunks = [content[:5], content[5:]]
    return await client.request("PUT", path, {"content-length": str(len(content)), **(fields or {})}, content=chunks)


def form(parts: Parts) -> bytes:
    """Return the content of a form: files by their names, and fields (``None``) whose value is ``name=value``."""
    content = b""
    for filename, data in parts:
        content += b"--%b\r\nContent-Disposition: form-data; name=" % BOUNDARY
        name, _, value = (b"file", b"", data) if filename is not None else data.partition(b"=")
        content += name + (b'; filename="%b"' % filename if filename is not None else b"")
        content += b"\r\nContent-Type: text/plain\r\n\r\n" + value + b"\r\n"
    return content + b"--%b--\r\n" % BOUNDARY


async def post(
    client: Client, path: str, parts: Parts, fields: dict[str, str] | None = None, size: int = 1000
) -> Answer:
    """Send a form in chunks of *size* bytes, with its length."""
    content = form(parts)
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    length = {"content-length": str(len(content))}
    return await client.request("POST", path, FORM | length | (fields or {}), content=chunks)


def metadata(**told: bytes) -> str:
    """Return the value of Upload-Metadata."""
    return ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in told.items())


NAMED = metadata(filename=b"new", filetype=b"text/plain")


def checksum(algorithm: str, content: bytes) -> str:
    """Return the value of Upload-Checksum for *content*."""
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


async def ask(client: Client, method: str, url: str, content: bytes | None = None, /, **fields: str | None) -> Answer:
    """Send a request of tus; ``None`` leaves out a field that it has otherwise, underscores are hyphens."""
    sent: dict[str, str | None] = {**SPOKEN}
    if content is not None:
        sent |= {"content-length": str(len(content)), "content-type": CONTENT_TYPE}
    sent |= {name.replace("_", "-"): value for name, value in fields.items()}
    told = {name: value for name, value in sent.items() if value is not None}
    chunks = [content[at : at + 70_000] for at in range(0, len(content), 70_000)] if content else []
    return await client.request(method, url, told, content=chunks)


async def begin(client: Client, length: int | None = None, **fields: str) -> str:
    """Begin an upload over tus and return its URL."""
    size: dict[str, str] = {"upload_defer_length": "1"} if length is None else {"upload_length": str(length)}
    answer = await ask(client, "POST", "/uploads", **{"upload_metadata": NAMED, **size, **fields})
    assert answer.status == 201, answer.content
    return answer["location"]


async def patch(client: Client, url: str, offset: int, content: bytes, **fields: str | None) -> Answer:
    """Send the next bytes of an upload."""
    return await ask(client, "PATCH", url, content, upload_offset=str(offset), **fields)


async def offset_of(client: Client, url: str) -> int:
    """Return how far an upload has come, as the server tells it."""
    answer = await ask(client, "HEAD", url)
    assert answer.status == 200, answer
    return int(answer["upload-offset"])


def hidden_in(root: Path) -> list[Path]:
    """Return the files beneath *root* that are still being written and have a hidden name."""
    return list(root.rglob(".fileserve-*"))


def open_beneath(root: Path) -> list[str]:
    """Return what descriptors of this process lead to beneath *root*; of a file without a name, what /proc calls it."""
    paths = []
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):  # the one that lists them
            paths.append(os.readlink(f"/dev/fd/{number}"))
    return [path for path in paths if path.startswith(f"{root}/")]


class Swallowed:
    """A PATCH whose client has sent *content*, and then is not heard any more; *goes_on* has it send the rest."""

    def __init__(self, client: Client, url: str, *content: bytes, rest: bytes = b"", can_hang_up: bool = True) -> None:
        self.is_silent, self.goes_on, self.was_hung_up = asyncio.Event(), asyncio.Event(), False
        self.status = 0
        self._content = list(content)
        self._rest = rest
        fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0"}
        scope = client._scope("PATCH", url, fields)
        if can_hang_up:
            scope["extensions"]["fileserve"]["hang_up"] = self._hang_up
        self.ended = asyncio.ensure_future(client.app(scope, self._receive, self._send))

    def _hang_up(self) -> None:
        self.was_hung_up = True
        self.goes_on.set()

    async def _receive(self) -> dict[str, Any]:
        if self._content:
            return {"type": "http.request", "body": self._content.pop(0), "more_body": True}
        self.is_silent.set()
        await self.goes_on.wait()
        if self.was_hung_up:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._rest, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
