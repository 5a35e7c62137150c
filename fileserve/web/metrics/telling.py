"""``GET /metrics``: the counts of all workers, in the text that Prometheus reads."""

from starlette.requests import Request
from starlette.responses import Response

from fileserve import disk
from fileserve.storage.errors import StorageError
from fileserve.web.access import Action, authorize
from fileserve.web.metrics.kept import Numbers, Snapshot
from fileserve.web.site import Site, site_of

__all__ = ["metrics"]


async def metrics(request: Request) -> Response:
    """Answer with all metrics."""
    await authorize(request.scope, Action.MEASURE)
    site = site_of(request.scope)
    site.measuring.state = request.scope["state"]  # of a mounted application, nobody told the lifespan's
    snapshots, shared = await site.measuring.snapshots(), await _shared(site)
    accept = request.headers.get("accept", "")
    text, media_type = await disk.run(_render, snapshots, shared, accept)
    fields = {"content-type": media_type, "cache-control": "no-store", "content-length": str(len(text))}
    return Response(b"" if request.method == "HEAD" else text, headers=fields)


async def _shared(site: Site) -> Numbers:
    try:
        return {"sessions": {"": await site.stores.uploads.count()}}
    except StorageError:  # the others are worth telling
        return {}


def _render(snapshots: list[Snapshot], shared: Numbers, accept: str) -> tuple[bytes, str]:
    """Return the text. In a thread, because prometheus_client takes long to import: who is never asked need not."""
    from fileserve.web.metrics.families import render

    return render(snapshots, shared, accept)
