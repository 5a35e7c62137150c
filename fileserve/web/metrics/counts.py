"""``SiteCounts``: what the routes of one worker count, in plain integers, beside what others count of themselves."""

from dataclasses import dataclass

__all__ = ["SiteCounts"]


@dataclass(slots=True)
class SiteCounts:
    """For the event loop's thread. *streams* are event streams that are open; the others only grow."""

    streams: int = 0
    received: int = 0  # bytes of uploads, also of those that came to nothing
    stored: int = 0  # uploaded files that got their names
