"""Where the server's words go: standard error, one line a record, with the time and the process."""

import logging
import sys

__all__ = ["set_up_logging"]

FORMAT = "%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s"


def set_up_logging() -> None:
    """Write warnings of everybody, and what fileserve itself has to say, to standard error."""
    logging.basicConfig(stream=sys.stderr, format=FORMAT, level=logging.WARNING)
    logging.getLogger("fileserve").setLevel(logging.INFO)
