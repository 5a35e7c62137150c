"""``Ahead``: the next connection's protocol, made before its client comes.

Who comes for one file waits for a whole connection to be set up, and the objects of one take a tenth of the time to its
first byte. So one is always ready; the next is made when a connection ends, when nobody waits for it. Clients that come
faster than others leave are served as they would be without it.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """Hands out what *make* makes. For the event loop's thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._ready: T | None = make()

    def __call__(self) -> T:
        """Return the one that is ready, or a new one."""
        ready, self._ready = self._ready, None
        return ready if ready is not None else self._make()

    def prepare(self) -> None:
        """Make the next one, unless it is there."""
        if self._ready is None:
            self._ready = self._make()
