"""The topics of the bus that transfers are told in."""

__all__ = ["ENDED", "LOGGED", "OFFLOADED", "PIECES"]

PIECES = "pieces"  # of responses that have ended, of any worker
OFFLOADED = "offloaded"  # responses that were left to nginx
LOGGED = "logged"  # lines of nginx's log, where another worker than the elected one reads it
ENDED = "transfers"  # logical transfers
