"""What the routes of one running application share: its settings, the served root and the URLs of names."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from fileserve.settings import Settings
from fileserve.storage.archives.archive import Archives
from fileserve.storage.checksums import Checksums
from fileserve.storage.names import Name, quote_name
from fileserve.storage.root import Root
from fileserve.web.changes.handover import Handover
from fileserve.web.changes.joint import JointWork
from fileserve.web.credentials import Credentials
from fileserve.web.digests.summing import Summing
from fileserve.web.places import Places
from fileserve.web.stores import Stores

if TYPE_CHECKING:  # what they tell of needs this module
    from fileserve.web.metrics.measuring import Measuring
    from fileserve.web.transfers.tracking import Tracking

_HOST = re.compile(r"[0-9A-Za-z.:\[\]_-]+")


@dataclass(frozen=True, slots=True)
class Digesting:
    """What reads whole files: for their digests, and for archives, which have one of each member."""

    checksums: Checksums
    archives: Archives
    summing: Summing


@dataclass(frozen=True, slots=True)
class Taking:
    """What uploads need beside their files."""

    handover: Handover
    concatenations: JointWork[dict[str, str]]
    places: Places
    form_places: Places
    asking_places: Places


@dataclass(frozen=True, slots=True)
class Site:
    """Made when the application starts, closed when it ends. *root* is that of *stores*: every request asks for it."""

    settings: Settings
    credentials: Credentials
    root: Root
    stores: Stores
    digests: Digesting
    taking: Taking
    tracking: "Tracking"
    measuring: "Measuring"


def site_of(scope: Scope) -> Site:
    """Return the site that the application's lifespan has opened.

    Raises:
        RuntimeError: the lifespan has not begun. A mounted application's is not run by itself.
    """
    site = scope.get("state", {}).get("site")
    if not isinstance(site, Site):
        raise RuntimeError("the lifespan of fileserve's application has not begun; README shows how to mount it")
    return site


def archive_href(scope: Scope, name: Name, extension: str) -> str:
    """Return the URL of the directory *name* as one archive."""
    return f"{scope.get('root_path', '')}/archive{'/' if name else ''}{quote_name(name)}.{extension}"


def href(scope: Scope, route: str, name: Name, *, directory: bool = False) -> str:
    """Return the URL of *name* under *route*, absolute within the host and beneath the root path of *scope*."""
    path = f"{scope.get('root_path', '')}/{route}/{quote_name(name)}"
    return path + "/" if directory and name else path


def origin(scope: Scope) -> str:
    """Return scheme, host and port as the client wrote them; a Host that is none is not repeated."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{host if _HOST.fullmatch(host) else 'localhost'}"
