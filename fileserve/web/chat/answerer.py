"""The built-in answerer: which files a question means, and how to download them.

Strategy: the question's words are looked for in the files' paths, without regard to case; the files with the most of
them come first. What lies in the folder itself is looked at before what lies deeper, and no more than a fixed number
of files in all, which the answer says. Only the few that are shown are opened, for their size, date and digest.

Left out: understanding. Words are pieces of names, in whatever language.
"""

import asyncio
import heapq
import re
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from starlette.types import Scope

from fileserve.storage.errors import StorageError
from fileserve.storage.listing import Kind
from fileserve.storage.names import Name, display_name
from fileserve.storage.reader import FileStatus
from fileserve.storage.walk import files_beneath
from fileserve.web.chat.answering import AnswerFailed
from fileserve.web.describe import modified, readable_size
from fileserve.web.files import PAGE_SIZE
from fileserve.web.problems import problem_of
from fileserve.web.site import Site, href, origin, site_of

SHOWN = 5
LOOKED_AT = 20_000
TURN = 500  # names compared at a stretch, which takes some milliseconds
WORDS = 32  # of a question; more only cost time
SHORTEST = 2  # characters of a word that means something

# Policy: English, the language of the answers; a word that is wrongly kept finds too much, never too little.
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and any are can do does download file files find for from get give have how i in is it latest list me my "
        "of on or please show tell that the there this to want what when where which with you",
    )
)


async def answer(scope: Scope, question: str, directory: Name) -> AsyncGenerator[str]:
    """Yield, word by word, which files in *directory* and deeper match *question*.

    Raises ``AnswerFailed`` when the folder cannot be read any more.
    """
    site = site_of(scope)
    try:
        found, was_cut = await _search(site, words_of(question), directory)
    except StorageError as error:
        raise AnswerFailed(problem_of(error).detail) from None
    parts = [await _describe(scope, site, name) for name in found]
    parts = [part for part in parts if part] or [_nothing(scope, directory)]
    if was_cut:
        parts.append(f"Only the first {LOOKED_AT:,} files were looked at.")
    for piece in re.findall(r"\S+\s*", "\n\n".join(parts)):
        yield piece


def words_of(question: str) -> list[str]:
    """Return the words of *question* that may be part of a name, in lower case, each once.

    >>> words_of("Where is the Debian-12 image (debian-12.ISO)?")
    ['debian-12', 'image', 'debian-12.iso']
    """
    words = (word.strip(".-_") for word in re.findall(r"[\w.+-]+", question.casefold()))
    meant = (word for word in words if len(word) >= SHORTEST and word not in _COMMON)
    return list(dict.fromkeys(meant))[:WORDS]


async def _search(site: Site, words: list[str], directory: Name) -> tuple[list[Name], bool]:
    """Return the names with most of the *words*, best first, and whether there were too many files to look at all."""
    best: list[tuple[int, int, Name]] = []
    looked_at = 0
    async for name in _names(site, directory):
        if looked_at == LOOKED_AT:
            break
        looked_at += 1
        if looked_at % TURN == 0:
            await asyncio.sleep(0)  # a large directory comes at once; others get their turn
        if score := _score(words, name[len(directory) :]):
            keep = heapq.heappush if len(best) < SHOWN else heapq.heappushpop
            keep(best, (score, -looked_at, name))
    else:
        return _ranked(best), False
    return _ranked(best), True


def _ranked(best: Iterable[tuple[int, int, Name]]) -> list[Name]:
    return [name for _, _, name in sorted(best, reverse=True)]


def _score(words: list[str], name: Name) -> int:
    path = "/".join(map(display_name, name)).casefold()
    return sum(word in path for word in words)


async def _names(site: Site, directory: Name) -> AsyncIterator[Name]:
    """Yield the files in *directory*, and then those that lie deeper, each once."""
    listing = await site.root.list(directory, limit=PAGE_SIZE)
    near = {(*directory, entry.name) for entry in listing.entries if entry.kind is Kind.FILE}
    for name in sorted(near):
        yield name
    async for name in files_beneath(site.root, directory):
        if name not in near:
            yield name


async def _describe(scope: Scope, site: Site, name: Name) -> str:
    """Return what is known of a file and how to download it; nothing when it is gone or may not be read."""
    try:
        opened = await site.root.open(name)
    except StorageError:
        return ""
    status = opened.status
    opened.close()
    try:
        digests = await site.digests.checksums.find(status)
    except StorageError:
        digests = None
    url = shlex.quote(origin(scope) + href(scope, "download", name))
    digest = f"\nSHA-256 {digests.sha256.hex()}" if digests else ""
    return f"{_title(name, status)}{digest}\ncurl -fOJ {url}\nwget -c {url}"


def _title(name: Name, status: FileStatus) -> str:
    path = "/".join(map(display_name, name))
    size = f"{readable_size(status.size)} ({status.size:,} bytes)"
    return f"{path}: {size}, changed {modified(status.mtime_ns):%Y-%m-%d %H:%M} UTC"


def _nothing(scope: Scope, directory: Name) -> str:
    url = shlex.quote(origin(scope) + href(scope, "api/files", directory))
    return f"No file's name matches. Ask with a part of a name, or list what is here:\ncurl -f {url}"
