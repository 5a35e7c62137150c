"""What a chunk costs: storage's reader beside aiofiles, over sizes of chunks, from the page cache.

One value is the time for 64 MiB. It is where the default of ``chunk_size`` comes from.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import aiofiles
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.sample import Samples
from fileserve.storage.reader import OpenFile

KIB, MIB = 1 << 10, 1 << 20
AMOUNT = 64 * MIB
Read = Callable[[str, int], Coroutine[Any, Any, int]]


async def _by_reader(path: str, chunk_size: int) -> int:
    opened = OpenFile(os.open(path, os.O_RDONLY))
    try:
        return sum([len(chunk) async for chunk in opened.chunks(0, AMOUNT, chunk_size)])
    finally:
        opened.close()


async def _by_aiofiles(path: str, chunk_size: int) -> int:
    taken = 0
    async with aiofiles.open(path, "rb") as file:
        while taken < AMOUNT:
            taken += len(await file.read(chunk_size))
    return taken


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.benchmark(group="read 64 MiB", min_rounds=5, max_time=0.5)
@pytest.mark.parametrize("chunk_size", [16 * KIB, 64 * KIB, 256 * KIB, MIB], ids=["16KiB", "64KiB", "256KiB", "1MiB"])
@pytest.mark.parametrize("read", [_by_reader, _by_aiofiles], ids=["reader", "aiofiles"])
def bench_reader(
    benchmark: BenchmarkFixture, samples: Samples, runner: asyncio.Runner, read: Read, chunk_size: int
) -> None:
    assert benchmark(lambda: runner.run(read(str(samples.large), chunk_size))) == AMOUNT
