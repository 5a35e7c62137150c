"""One line in the log for each change that was made: what became of which name, by whom and from where."""

import logging

from fileserve.storage.names import Name, display_name
from fileserve.web.routes import NameRequest

__all__ = ["as_text", "note"]

log = logging.getLogger("fileserve.uploads")


def note(request: NameRequest, name: Name, what: str) -> None:
    """Log that *what* became of *name*, with the account or the token that was shown, and the client's address."""
    shown = "token" if request.site.credentials.exist else None
    who = (request.scope.get("fileserve.user", shown), request.address)
    log.info("%s %s (%s)", as_text(name), what, ", ".join(filter(None, who)) or "Unix socket")


def as_text(name: Name) -> str:
    """Return *name* as it is shown, on one line."""
    return "/".join(map(display_name, name))
