"""The request head that is arriving: how much of it there is.

The parser tells of a field only when all of it is there, so an endless field would be seen by nobody; what is counted
here is what arrives while a head is incomplete. Of what arrived together, content and other requests may precede the
head; so there are two counts, what it has at least and what it can have at most. The same is counted of what arrives
behind a head and is no content: trailers, and whatever else a chunk may be dressed in.

Left out: what to do about a head that is too large, and until when it has to be complete.
"""


class Arrival:
    """Counts the bytes of an incomplete head."""

    __slots__ = ("_possible", "incomplete", "received", "total")

    def __init__(self) -> None:
        self.incomplete = False
        self.received = 0  # bytes of the incomplete head, or since the last content, at least
        self.total = 0  # bytes of the connection
        self._possible = 0  # the same, at most

    def add(self, count: int) -> None:
        """Count *count* bytes that have arrived together."""
        if not self.incomplete and not self.received:
            self._possible = 0
        self._possible += count
        self.received += count
        self.total += count

    def may_exceed(self, limit: int) -> bool:
        """Tell whether a head that is just complete can have more than *limit* bytes, and so is worth counting."""
        return self._possible > limit

    def complete(self) -> None:
        """Note the last byte of a head. Its first byte is noted by setting `incomplete`."""
        self.incomplete = False
        self.received = 0
