"""``/checksum/{dir}/SHA256SUMS``: the digests of all files beneath a directory, as ``sha256sum -c`` takes them there.

The files are those of the directory's tar, so that the list proves what was unpacked. It is answered when all are
known, and 503 with Retry-After until then, while the work goes on by itself, whether anybody asks again or not; HEAD
begins nothing.
"""

from http import HTTPStatus

from starlette.types import ASGIApp

from fileserve import disk
from fileserve.semantics.digest import checksum_line
from fileserve.storage.archives.tree import Tree
from fileserve.storage.index import Index
from fileserve.storage.names import Name
from fileserve.web.content import Text
from fileserve.web.delivery import deliver_text
from fileserve.web.describe import NS_PER_S
from fileserve.web.digests.sidecars import PLAIN
from fileserve.web.presence import while_present
from fileserve.web.problems import Problem
from fileserve.web.routes import NameRequest

SUMS = b"SHA256SUMS"
BATCH = 1000  # files that are looked up at once


async def sums(request: NameRequest, directory: Name) -> ASGIApp:
    """Answer with the lines of all files beneath *directory*."""
    return await while_present(request.receive, _answer(request, directory))


async def _answer(request: NameRequest, directory: Name) -> ASGIApp:
    stores, digests = request.site.stores, request.site.digests
    async with digests.summing.looking:  # members and lines of a large directory take tens of megabytes, once
        tree = await digests.archives.tree(directory)
        lines, missing = await _look_up(stores.index, tree)
        if not missing:
            text = digests.summing.shared(await disk.run(_joined, lines))
    if missing:
        if request.scope["method"] == "GET":
            digests.summing.begin(directory, [(*directory, *tree.path(member)) for member in missing])
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"Digests that are still to be computed: {len(missing):,}; ask again in a moment.",
            fields={"retry-after": str(request.site.settings.retry_after)},
        )
    newest_s = max(tree.statuses.mtimes_ns) // NS_PER_S
    return deliver_text(request, text, PLAIN, SUMS.decode(), newest_s)


async def _look_up(index: Index, tree: Tree) -> tuple[list[bytes], list[int]]:
    """Return the lines of the files whose digests are known, and the members whose are not."""
    lines: list[bytes] = []
    missing: list[int] = []
    files = [member for member in range(len(tree)) if tree.is_file(member)]
    for start in range(0, len(files), BATCH):  # between two of which a client who has left is noticed
        await disk.run(_look_up_batch, index, tree, files[start : start + BATCH], lines, missing)
    return lines, missing


def _joined(lines: list[bytes]) -> Text:
    """Return the text, whose tag takes time to compute."""
    return Text(b"".join(lines))


def _look_up_batch(index: Index, tree: Tree, members: list[int], lines: list[bytes], missing: list[int]) -> None:
    """Add the lines of *members*, or the members. Blocks."""
    found = index.find_all([tree.status(member) for member in members])
    for member, digests in zip(members, found, strict=True):
        if digests is None:
            missing.append(member)
        else:
            lines.append(checksum_line(digests.sha256, b"/".join(tree.path(member))))
