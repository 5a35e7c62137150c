"""The site that is asked, and the files that it is asked for."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from os import fsencode
from urllib.parse import quote

from fileserve.checkproxy.client import Answer, Client
from fileserve.checkproxy.documents import File, Listed, described, listed
from fileserve.checkproxy.reasons import NotChecked

LISTING = "/api/files/?sort=size&order=desc"
SMALLEST, SMALLEST_TEXT = 16, 256  # two ranges have room; compression begins at some length
AT_REST_S = 60  # a file that changes meanwhile would change its validators


@dataclass(frozen=True)
class Site:
    """The site that is asked, and how.

    *path* is that of a file to ask for, below ``/download/``, as it stands in a URL; ``None``: one at the top of the
    site.
    """

    client: Client
    path: str | None = None
    idle_s: int = 0
    """How long a stream is silent for the question whether that is borne; 0: it is not asked."""

    @cached_property
    def listing(self) -> Answer:
        """What the site answers when it is asked for its files."""
        return self.client.ask(LISTING)

    @cached_property
    def file(self) -> File:
        """The file that was named, or the largest."""
        return self._chosen(f"file of at least {SMALLEST} bytes", SMALLEST, lambda _: True)

    @cached_property
    def text_file(self) -> File:
        """The file that was named, or the largest of a kind that proxies like to compress."""
        return self._chosen(f"text file of at least {SMALLEST_TEXT} bytes", SMALLEST_TEXT, _is_text)

    def _chosen(self, wanted: str, smallest: int, is_fit: Callable[[Listed], bool]) -> File:
        before = datetime.now(UTC) - timedelta(seconds=AT_REST_S)
        if self.path:
            paths = [self.path]
        else:
            files = listed(self.listing, LISTING)
            paths = [file.path for file in files if file.size >= smallest and file.modified < before and is_fit(file)]
        if not paths:
            raise NotChecked(
                f"no {wanted} that was at rest for {AT_REST_S} s is at the top of the site; --path names one"
            )
        return self._described(paths[0], wanted, smallest)

    def _described(self, path: str, wanted: str, smallest: int) -> File:
        file = described(self.client.ask(f"/api/files/{path}"), f"/api/files/{path}")
        if file is None or file.size < smallest:
            raise NotChecked(f"{path} is no {wanted}; --path names one")
        return file


def written(path: str) -> str:
    """Return *path*, as somebody may have typed it, as it stands in a URL. What is escaped already stays so."""
    return quote(fsencode(path.removeprefix("/download/").lstrip("/")), safe="/%!$&'()*+,;=:@~")


def _is_text(file: Listed) -> bool:
    return bool(re.match(r"text/|application/(json|javascript|xml)", file.media_type))
