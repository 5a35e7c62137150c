"""Turns to compare a password: few at once, and those first who have not guessed wrong.

A comparison is dear, so whoever guesses passwords could keep everybody else waiting. Of those that wait, the client
that has been wrong the least is next; when as many wait as may, a better one takes the place of the worst, which is
told to come again. A client that was right is not held to what was wrong before.

Policy: nobody is shut out for wrong passwords, only put behind the others: behind one address there may be many people.
What is known of clients is each worker's own, and of bounded size.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

from fileserve.web.problems import Problem

__all__ = ["Turns", "refused"]

# Policy: two comparisons use 128 MiB for a moment, and no more than two cores.
_AT_ONCE = 2
_WAITING = 64
_WAITING_PER_CLIENT = 4
_REMEMBERED = 10_000  # clients that were wrong

Client = str | None


@dataclass(slots=True)
class _Turn:
    client: Client
    number: int
    compare: Callable[[], bool]
    result: asyncio.Future[bool]


class Turns:
    """The comparisons that run and wait in this worker; used on one event loop's thread."""

    __slots__ = ("_clients", "_number", "_running", "_threads", "_waiting", "_wrong")

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._running = 0
        self._number = 0
        self._waiting: list[_Turn] = []
        self._clients: Counter[Client] = Counter()
        self._wrong: OrderedDict[Client, int] = OrderedDict()

    def take(self, client: Client, compare: Callable[[], bool]) -> asyncio.Future[bool]:
        """Have *compare* run in a thread when it is its turn; it ends whether somebody waits for it or not.

        Raises:
            Problem: 429 or 503, too many wait: of this client, or in all.
        """
        if self._clients[client] >= _WAITING_PER_CLIENT:
            raise refused(HTTPStatus.TOO_MANY_REQUESTS)
        if len(self._waiting) + self._running >= _WAITING:
            self._displace(client)
        self._number += 1
        turn = _Turn(client, self._number, compare, asyncio.get_running_loop().create_future())
        turn.result.add_done_callback(lambda _: self._give_back(client))
        self._clients[client] += 1
        self._waiting.append(turn)
        self._run_next()
        return turn.result

    def close(self) -> None:
        """Let the threads end; comparisons that wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for turn in self._waiting:
            turn.result.cancel()
        self._waiting.clear()

    def _displace(self, client: Client) -> None:
        """Tell the worst of those that wait to come again, where it is worse than *client*."""
        worst = max(self._waiting, key=self._rank, default=None)
        if worst is None or self._wrong.get(worst.client, 0) <= self._wrong.get(client, 0):
            raise refused(HTTPStatus.SERVICE_UNAVAILABLE)
        self._waiting.remove(worst)
        worst.result.set_exception(refused(HTTPStatus.SERVICE_UNAVAILABLE))

    def _rank(self, turn: _Turn) -> tuple[int, int]:
        return self._wrong.get(turn.client, 0), turn.number

    def _run_next(self) -> None:
        while self._running < _AT_ONCE and self._waiting:
            turn = min(self._waiting, key=self._rank)
            self._waiting.remove(turn)
            self._running += 1
            running = asyncio.get_running_loop().run_in_executor(self._threads, turn.compare)
            running.add_done_callback(lambda done, turn=turn: self._end(turn, done))  # type: ignore[misc]

    def _end(self, turn: _Turn, done: asyncio.Future[bool]) -> None:
        self._running -= 1
        error = None if done.cancelled() else done.exception()
        if done.cancelled():
            turn.result.cancel()
        elif error is not None:
            turn.result.set_exception(error)
        else:
            self._note(turn.client, is_right=done.result())
            turn.result.set_result(done.result())
        self._run_next()

    def _note(self, client: Client, *, is_right: bool) -> None:
        wrong = self._wrong.pop(client, 0)
        if not is_right:
            self._wrong[client] = wrong + 1
            if len(self._wrong) > _REMEMBERED:
                self._wrong.popitem(last=False)

    def _give_back(self, client: Client) -> None:
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]


def refused(status: HTTPStatus, detail: str = "Too many passwords are being compared.") -> Problem:
    """Return the problem that asks to come again in a second."""
    return Problem(status, detail, fields={"retry-after": "1"})
