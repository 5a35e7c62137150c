"""``Subscriptions``: who waits in this worker for new rows of the bus, and for which."""

import asyncio
from collections.abc import Callable, Collection

__all__ = ["Subscription", "Subscriptions"]


class Subscription:
    """One subscriber's wait for new rows of *topics*, or of all where there are none, until ``close``.

    Of one waiter at a time. A future in place of an event, whose queue of waiters would take most of a subscription.
    """

    __slots__ = ("_others", "_topics", "_waiter", "has_changed")

    def __init__(self, others: "Subscriptions", topics: frozenset[str]) -> None:
        self._others = others
        self._topics = topics
        self._waiter: asyncio.Future[None] | None = None
        self.has_changed = False

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    async def changed(self) -> None:
        """Wait until any worker has written rows since this was last called. The first wait may end for nothing."""
        while not self.has_changed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self.has_changed = False

    def tell(self, topics: Collection[str] | None) -> None:
        """Say that there are new rows of *topics*; ``None``: that there may be some of any."""
        if topics is None or not self._topics or not self._topics.isdisjoint(topics):
            self.has_changed = True
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def close(self) -> None:
        """Be told of nothing more."""
        self._others.remove(self)


class Subscriptions:
    """All of a worker. *began* is called when there is a first one, *ended* when there is none any more."""

    __slots__ = ("_began", "_ended", "_members")

    def __init__(self, began: Callable[[], None], ended: Callable[[], None]) -> None:
        self._began = began
        self._ended = ended
        self._members: set[Subscription] = set()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, *topics: str) -> Subscription:
        """Return a new one, of *topics* or of all."""
        subscription = Subscription(self, frozenset(topics))
        self._members.add(subscription)
        if len(self._members) == 1:
            self._began()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Tell *subscription* nothing more. It may be gone already."""
        self._members.discard(subscription)
        if not self._members:
            self._ended()

    def tell(self, topics: Collection[str] | None) -> None:
        """Say to all who want any of *topics* that there are new rows of them; ``None``: to all."""
        for subscription in self._members:
            subscription.tell(topics)
