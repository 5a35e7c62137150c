"""The request head that is arriving: how much of it there is.

The parser tells of a field only when all of it is there, so an endless field would be seen by nobody; what is counted
here is what arrives while a head is incomplete. Of what arrived together, content and other requests may precede the
head; so there are two counts, what it has at least and what it can have at most. The same is counted of what arrives
behind a head and is no content: trailers, and whatever else a chunk may be dressed in.

Left out: what to do about a head that is too large, and until when it has to be complete.
"""


class Arrival:
    """Counts the bytes of an incomplete head."""

    __slots__ = ("at_most", "incomplete", "received", "total")

    def __init__(self) -> None:
        self.incomplete = False
        self.received = 0  # bytes of the incomplete head, or since the last content, at least
        self.total = 0  # bytes of the connection
        self.at_most = 0  # bytes that a head which is just complete can have: whether it is worth counting

    def add(self, count: int) -> None:
        """Count *count* bytes that have arrived together."""
        if not self.incomplete and not self.received:
            self.at_most = 0
        self.at_most += count
        self.received += count
        self.total += count

    def complete(self) -> None:
        """Note the last byte of a head. Its first byte is noted by setting `incomplete`."""
        self.incomplete = False
        self.received = 0
