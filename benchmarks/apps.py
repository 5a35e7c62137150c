"""The two Python peers, for uvicorn: ``benchmarks.apps:file_response`` and ``benchmarks.apps:naive``.

The first is what Starlette offers, the second what tutorials show. Both serve the folder in ``BENCHMARK_FOLDER``,
through nothing but a route. Left out: what a true server would need besides; that only makes them faster.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiofiles
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

FOLDER = Path(os.environ.get("BENCHMARK_FOLDER", "."))
NAIVE_CHUNK_SIZE = 8 * 1024


async def _file_response(request: Request) -> Response:
    return FileResponse(FOLDER / request.path_params["name"])


async def _naive(request: Request) -> Response:
    """Stream a file as tutorials do, and one range of it, because the streams of a sample are ranges of a file."""
    path = FOLDER / request.path_params["name"]
    size = path.stat().st_size
    first_pos, _, last_pos = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
    start, stop = int(first_pos), int(last_pos or size - 1) + 1
    fields = {"content-length": str(stop - start)}  # or the client would have to undo the chunked coding
    status = 206 if "range" in request.headers else 200
    return StreamingResponse(_chunks(path, start, stop), status, fields, "application/octet-stream")


async def _chunks(path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    async with aiofiles.open(path, "rb") as file:
        await file.seek(start)
        while start < stop and (chunk := await file.read(min(NAIVE_CHUNK_SIZE, stop - start))):
            start += len(chunk)
            yield chunk


file_response = Starlette(routes=[Route("/{name}", _file_response)])
naive = Starlette(routes=[Route("/{name}", _naive)])
