"""How many requests of one kind a worker answers at once.

Left out: uploads and looks at the proxy, which are counted for each client as well (``changes.places``).
"""

from http import HTTPStatus

from fileserve.web.problems import Problem


class Places:
    """So many answers at once; whoever is refused one is told *reason*, and to come back later."""

    def __init__(self, count: int, retry_after: int, reason: str) -> None:
        self._free = count
        self._retry_after = retry_after
        self._reason = reason

    def take(self) -> None:
        """Take a place, to be released once. Raises the 503 ``Problem`` when there is none."""
        if not self._free:
            fields = {"retry-after": str(self._retry_after)}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, self._reason, fields=fields)
        self._free -= 1

    def release(self) -> None:
        """Give the place back."""
        self._free += 1
