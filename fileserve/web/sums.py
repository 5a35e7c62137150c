"""``/checksum/{dir}/SHA256SUMS``: the digests of all files beneath a directory, as ``sha256sum -c`` takes them there.

The files are those of the directory's tar, so that the list proves what was unpacked. It is answered when all are
known, and 503 with Retry-After until then, while the work goes on by itself, whether anybody asks again or not; HEAD
begins nothing.
"""

from collections.abc import Iterator
from http import HTTPStatus

from starlette.types import ASGIApp

from fileserve import disk
from fileserve.semantics.digest import checksum_line
from fileserve.storage.index import Index
from fileserve.storage.names import Name
from fileserve.storage.tree import Tree
from fileserve.web.delivery import deliver_text
from fileserve.web.describe import NS_PER_S
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest
from fileserve.web.sidecars import PLAIN

SUMS = b"SHA256SUMS"


async def sums(request: NameRequest, directory: Name) -> ASGIApp:
    """Answer with the lines of all files beneath *directory*."""
    tree = await request.site.archives.tree(directory)
    lines, missing = await disk.run(_lines, request.site.index, tree)
    if missing:
        if request.scope["method"] == "GET":
            request.site.summing.begin(directory, [(*directory, *tree.path(member)) for member in missing])
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"Digests that are still to be computed: {len(missing):,}; ask again in a moment.",
            fields={"retry-after": str(request.site.settings.retry_after)},
        )
    newest_s = max(tree.statuses.mtimes_ns) // NS_PER_S
    return deliver_text(request, b"".join(lines), PLAIN, SUMS.decode(), newest_s)


def _lines(index: Index, tree: Tree) -> tuple[list[bytes], list[int]]:
    """Return the lines of the files whose digests are known, and the members whose are not. Blocks."""
    lines, missing = [], []
    for member in _files_of(tree):
        digests = index.find(tree.status(member))
        if digests is None:
            missing.append(member)
        else:
            lines.append(checksum_line(digests.sha256, b"/".join(tree.path(member))))
    return lines, missing


def _files_of(tree: Tree) -> Iterator[int]:
    return (member for member in range(len(tree)) if tree.is_file(member))
