"""``Recent``: the newest rows of the event log in memory, so that a thousand subscribers cost one query.

Of each topic it knows all rows after some floor: that of its beginning, or one that rises as older rows are let go.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import chain

from fileserve.storage.eventlog import News, Row

__all__ = ["Recent"]

KEPT = 256  # rows of a topic, for subscribers who are a moment behind; the others ask the database


class Recent:
    """The rows after *seen*, as they are read."""

    __slots__ = ("_beginning", "_floors", "_rows", "seen")

    def __init__(self, seen: int) -> None:
        self.seen = seen
        self._beginning = seen
        self._floors: dict[str, int] = {}
        self._rows: dict[str, list[Row]] = {}

    def extend(self, news: News) -> None:
        """Take the rows that come next. Of topics that have forgotten some, only what comes after those is known."""
        for topic, forgotten in news.forgotten.items():
            self._floors[topic] = max(forgotten, self._floor(topic))
        for row in news.rows:
            rows = self._rows.setdefault(row.topic, [])
            rows.append(row)
            if len(rows) > 2 * KEPT:
                self._floors[row.topic] = max(rows[-KEPT - 1].id, self._floor(row.topic))
                del rows[:-KEPT]
            self.seen = row.id

    def after(self, row: int, topics: Collection[str], limit: int) -> Sequence[Row] | None:
        """Return the first *limit* rows of *topics* after *row*; ``None``: not all of them are here."""
        if any(row < self._floor(topic) for topic in topics):
            return None
        found = [self._after(row, topic) for topic in topics]
        rows = found[0] if len(found) == 1 else sorted(chain(*found), key=_id)
        return rows[:limit]

    def _floor(self, topic: str) -> int:
        return self._floors.get(topic, self._beginning)

    def _after(self, row: int, topic: str) -> list[Row]:
        rows = self._rows.get(topic, [])
        return rows[bisect_right(rows, row, key=_id) :]


def _id(row: Row) -> int:
    return row.id
