"""The sender alone, on a pair of real sockets: turns of the loop, options of the socket, and races."""

import asyncio
import errno
import functools
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from fileserve import disk
from fileserve.server import sockets
from fileserve.server.listeners import listen
from fileserve.server.zerocopy import FIRST_SPAN, SPAN, Disconnected, FileEnded, Sender
from fileserve.settings import Settings
from tests.server.harness import descriptors, wait_until

MIB = 1 << 20


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection; the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def source(file: Path) -> Iterator[int]:
    fd = os.open(file, os.O_RDONLY)
    yield fd
    os.close(fd)


async def receive(sock: socket.socket, count: int) -> bytes:
    loop, parts = asyncio.get_running_loop(), []
    while count:
        data = await loop.sock_recv(sock, min(count, MIB))
        assert data
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


async def test_each_span_has_a_turn_of_the_loop(
    pair: tuple[socket.socket, socket.socket], source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes everything at once would hold the loop otherwise."""
    loop, turns, calls = asyncio.get_running_loop(), 0, list[tuple[int, int]]()

    def count_turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(count_turn)

    def greedy(out: int, file: int, offset: int, count: int) -> int:
        calls.append((turns, count))
        return count  # as if the kernel had taken it all

    monkeypatch.setattr(os, "sendfile", greedy)
    loop.call_soon(count_turn)
    sender = Sender(loop, pair[0])
    for offset in range(0, 24 * MIB, 8 * MIB):
        await sender.send(source, offset, 8 * MIB)
    sender.release()
    sender.lose()
    counts = [count for _, count in calls]
    assert counts[:4] == [FIRST_SPAN, 2 * FIRST_SPAN, 4 * FIRST_SPAN, SPAN]  # they double up to the longest
    assert all(count == SPAN for count in counts[4:] if count != FIRST_SPAN)  # once, what is left of the first region
    assert sum(counts) == 24 * MIB
    assert len({turn for turn, _ in calls}) >= len(calls) - 1  # the first goes out at once, before its turn


async def test_many_small_regions_do_not_hold_the_loop_either(
    pair: tuple[socket.socket, socket.socket], source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, others = asyncio.get_running_loop(), 0

    def other() -> None:
        nonlocal others
        others += 1
        loop.call_soon(other)

    monkeypatch.setattr(os, "sendfile", lambda out, file, offset, count: count)
    loop.call_soon(other)
    sender = Sender(loop, pair[0])
    for _ in range(100):
        await sender.send(source, 0, SPAN // 4)
    sender.release()
    sender.lose()
    assert others >= 20


async def test_the_socket_is_corked_from_the_second_span_to_the_release(
    pair: tuple[socket.socket, socket.socket], source: int, content: bytes
) -> None:
    def is_corked() -> bool:
        return bool(pair[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))

    sender = Sender(asyncio.get_running_loop(), pair[0])
    await sender.send(source, 0, 10)
    assert not is_corked()
    await sender.send(source, 10, 10)
    assert is_corked()
    sender.release()
    assert not is_corked()
    sender.lose()
    assert await receive(pair[1], 20) == content[:20]
    assert sender.sent == 20


async def test_a_connection_lost_just_before_the_disk_is_asked_is_not_sent_to(
    pair: tuple[socket.socket, socket.socket], source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor may be another connection's by then."""
    sender = Sender(asyncio.get_running_loop(), pair[0])

    def cold_after_the_first_span(fd: int, offset: int) -> bool:
        if offset >= SPAN:
            asyncio.get_running_loop().call_soon(sender.lose)
        return offset < SPAN

    jobs: list[Any] = []
    monkeypatch.setattr(disk, "is_resident", cold_after_the_first_span)
    monkeypatch.setattr(disk, "submit", lambda *arguments: jobs.append(arguments))
    monkeypatch.setattr(os, "sendfile", lambda out, file, offset, count: count // 2)
    with pytest.raises(Disconnected):
        await sender.send(source, 0, 4 * MIB)
    assert not jobs


async def test_a_lost_connection_takes_no_more(pair: tuple[socket.socket, socket.socket], source: int) -> None:
    sender = Sender(asyncio.get_running_loop(), pair[0])
    sender.lose()
    with pytest.raises(Disconnected):
        await sender.send(source, 0, 1)


async def test_losing_the_connection_ends_a_send_that_waits(
    pair: tuple[socket.socket, socket.socket], source: int
) -> None:
    loop = asyncio.get_running_loop()
    sender = Sender(loop, pair[0])
    sending = asyncio.ensure_future(sender.send(source, 0, 24 * MIB))
    await receive(pair[1], 1)
    sender.lose()
    with pytest.raises(Disconnected):
        await sending


@pytest.mark.parametrize("resident", [True, False], ids=["warm", "cold"])
async def test_an_error_of_the_disk_is_passed_on(
    pair: tuple[socket.socket, socket.socket], source: int, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: int) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: resident)
    monkeypatch.setattr(os, "sendfile", broken)
    sender = Sender(asyncio.get_running_loop(), pair[0])
    with pytest.raises(OSError, match="Input/output") as caught:
        await sender.send(source, 0, 1)
    sender.release()
    sender.lose()
    assert not isinstance(caught.value, Disconnected | FileEnded)


@pytest.mark.parametrize("left", [0, 1], ids=["none", "one"])
async def test_a_cold_send_without_descriptors_fails_and_keeps_none(
    pair: tuple[socket.socket, socket.socket], source: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above all none of the connection, which would stay open with it."""
    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(os, "dup", failing_dup(left))
    before = descriptors()
    sender = Sender(asyncio.get_running_loop(), pair[0])
    with pytest.raises(OSError, match="Too many open files"):
        await sender.send(source, 0, 1)
    sender.release()
    sender.lose()
    assert descriptors() == before


async def test_a_send_that_cannot_wait_for_its_socket_fails_at_once(
    pair: tuple[socket.socket, socket.socket], source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that shows in a turn of the loop, to which nobody listens."""
    monkeypatch.setattr(os, "dup", failing_dup(0))
    sender = Sender(asyncio.get_running_loop(), pair[0])
    with pytest.raises(OSError, match="Too many open files"):
        async with asyncio.timeout(10):
            await sender.send(source, 0, 24 * MIB)
    assert sender.sent >= FIRST_SPAN
    sender.release()
    sender.lose()


def failing_dup(left: int) -> Callable[[int], int]:
    """Return an ``os.dup`` that works *left* times."""
    dup, counter = os.dup, itertools.count()

    def failing(fd: int) -> int:
        if next(counter) < left:
            return dup(fd)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    return failing


async def test_a_cold_send_to_a_full_socket_waits_for_the_socket_and_not_in_a_thread(
    pair: tuple[socket.socket, socket.socket], source: int, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Future[int]] = []
    submit = disk.submit

    def noted_submit(*arguments: Any) -> Any:
        jobs.append(submit(*arguments))
        return jobs[-1]

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(disk, "submit", noted_submit)
    sockets.tune(pair[0])
    sender = Sender(asyncio.get_running_loop(), pair[0])
    sending = asyncio.ensure_future(sender.send(source, 0, 24 * MIB))
    for _ in range(1000):
        await asyncio.sleep(0)
    while_full = len(jobs)
    for job in jobs:
        job.result(timeout=10)  # nothing is read meanwhile: a thread that waited for the client would wait for ever
    assert await receive(pair[1], 24 * MIB) == content
    await sending
    sender.release()
    sender.lose()
    assert while_full <= 10


@pytest.mark.parametrize("cold", [0, FIRST_SPAN - 1], ids=["beginning", "end"])
async def test_a_span_of_which_the_page_cache_lacks_one_end_is_sent_by_a_thread(
    pair: tuple[socket.socket, socket.socket], source: int, cold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noted(out: int, file: int, offset: int, count: int) -> int:
        threads.append(threading.current_thread().name)
        return count

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: offset != cold)
    monkeypatch.setattr(os, "sendfile", noted)
    sender = Sender(asyncio.get_running_loop(), pair[0])
    await sender.send(source, 0, FIRST_SPAN)
    sender.release()
    sender.lose()
    assert [name.startswith("disk") for name in threads] == [True]


async def test_a_cold_send_that_is_cancelled_before_a_thread_is_free_keeps_its_job(
    pair: tuple[socket.socket, socket.socket], source: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the job closes the descriptors that were made for it."""
    before = descriptors()
    waiting: Future[int] = Future()
    jobs: list[Callable[[], int]] = []
    asked = asyncio.Event()

    def no_thread_is_free(function: Callable[..., int], *arguments: int) -> Future[int]:
        jobs.append(functools.partial(function, *arguments))
        asked.set()
        return waiting

    monkeypatch.setattr(disk, "is_resident", lambda fd, offset: False)
    monkeypatch.setattr(disk, "submit", no_thread_is_free)
    sender = Sender(asyncio.get_running_loop(), pair[0])
    sending = asyncio.ensure_future(sender.send(source, 0, 1))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    was_dropped = waiting.cancelled()
    if not was_dropped:
        waiting.set_result(jobs[0]())
    sender.release()
    sender.lose()
    assert not was_dropped
    assert descriptors() == before


def test_a_connection_s_options_are_set(pair: tuple[socket.socket, socket.socket]) -> None:
    sockets.tune(pair[0])
    assert pair[0].getsockopt(socket.IPPROTO_TCP, 25) == 256 * 1024
    assert pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_connections_have_the_options_of_their_listener() -> None:
    """So a server tunes its listeners and leaves the connections alone."""
    (listener,) = listen(Settings(port=0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted, socket.socket() as plain:
            sockets.tune(plain)
            for level, option in (
                *((socket.IPPROTO_TCP, option) for option in (25, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            ):
                assert accepted.getsockopt(level, option) == plain.getsockopt(level, option)
                assert accepted.getsockopt(level, option) != client.getsockopt(level, option)


async def test_what_the_peer_has_taken_is_counted(pair: tuple[socket.socket, socket.socket]) -> None:
    before = sockets.acknowledged(pair[0])
    pair[0].send(b"x" * 1000)
    assert await receive(pair[1], 1000) == b"x" * 1000
    wait_until(lambda: not sockets.unacknowledged(pair[0]))
    assert sockets.acknowledged(pair[0]) - before == 1000
