"""How many of one kind (uploads, files in forms, questions) a worker takes at once, in all and of one client.

Left out: connections and transfers of a client, which the socket edge counts.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

from fileserve.web.problems import Problem

__all__ = ["Places"]


class Places:
    """At most *at_once* of *what*, and *per_client* of one client; whoever is refused is to come back later."""

    __slots__ = ("_at_once", "_clients", "_per_client", "_retry_after", "_what")

    def __init__(self, at_once: int, per_client: int, retry_after: int, what: str) -> None:
        self._what = what
        self._at_once = at_once
        self._per_client = per_client
        self._retry_after = retry_after
        self._clients: Counter[str | None] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._clients.total()

    @property
    def most(self) -> int:
        """How many one client can have at the most, when all others have none."""
        return min(self._at_once, self._per_client)

    @contextmanager
    def take(self, client: str | None) -> Iterator[None]:
        """Take a place for the block. Who has no address, behind a Unix socket, has no limit of its own.

        Raises:
            Problem: 429 or 503, there is none left, for *client* or at all.
        """
        if client is not None and self._clients[client] >= self._per_client:
            raise self._refused(HTTPStatus.TOO_MANY_REQUESTS, f"This client has too many {self._what} at once.")
        if self._clients.total() >= self._at_once:
            raise self._refused(HTTPStatus.SERVICE_UNAVAILABLE, f"The server takes too many {self._what} at once.")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def held(self, client: str | None) -> ExitStack:
        """Take a place as `take` does, for whoever gets it and closes it."""
        place = ExitStack()
        place.enter_context(self.take(client))
        return place

    def _refused(self, status: HTTPStatus, detail: str) -> Problem:
        return Problem(status, detail, fields={"retry-after": str(self._retry_after)})
