"""``Account``: how much of one response is with its client, as the server tells it, while it is sent and afterwards.

When the sending has ended, some bytes are still on their way. Until they have arrived, or the connection is lost, the
account is kept, and of the response nothing else: neither its request nor what it was sent from.

Servers other than ours tell nothing. There, what was handed to them counts as taken, but for the last of it when the
client has left: they drop it without a word.
"""

from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope

from fileserve.web.transfers.pieces import End

__all__ = ["Account", "Handed"]

UNCERTAIN = 1024 * 1024  # a transfer learns no sooner that its client has left


class Handed(Protocol):
    """A response that knows how many bytes of its content it has not handed over."""

    left: int


class Account:
    """The account of one response with *length* bytes of content, which *handed* sends; to be closed at its end."""

    __slots__ = ("_end", "_handed", "_left", "_length", "_lost", "_unacknowledged", "_unsent")

    def __init__(self, scope: Scope, handed: Handed, length: int) -> None:
        told = scope.get("extensions", {}).get("fileserve", {})
        self._unsent: Callable[[], int | None] | None = told.get("unsent")
        self._unacknowledged: Callable[[], int] | None = told.get("unacknowledged")
        self._lost: Callable[[], str | None] | None = told.get("lost")
        self._handed: Handed | None = handed
        self._length = length
        self._left = length
        self._end: End | None = None

    def close(self, end: End) -> None:
        """Note that the sending has ended, and how. What was sent until now is all that ever is."""
        self._left = self._unsent_now()
        if self._unsent is None and end is End.LEFT:
            self._left = min(self._length, self._left + UNCERTAIN)
        self._end = end
        self._handed = self._unsent = None

    @property
    def taken(self) -> int:
        """How many bytes of content are with the client."""
        unsent = self._left if self._end is not None else self._unsent_now()
        untaken = self._unacknowledged() if self._unacknowledged is not None else 0
        return max(0, self._length - unsent - untaken)

    def settle(self) -> End | None:
        """Return how it ended; ``None``: it has not, or its last bytes are on their way."""
        if self._lost is None or self._end is None or self._end is End.FAILED:
            return self._end
        if self.taken == self._length:
            return End.TAKEN
        lost = self._lost()
        if lost is None:
            return None if self._end is End.TAKEN else self._end
        return End(lost)

    def _unsent_now(self) -> int:
        if self._unsent is not None:
            unsent = self._unsent()
            return unsent if unsent is not None else self._length
        return self._handed.left if self._handed is not None else self._length
