"""What the routes of one running application share: its settings, the served root and the URLs of names."""

from dataclasses import dataclass

from starlette.types import Scope

from fileserve.settings import Settings
from fileserve.storage.names import Name, quote_name
from fileserve.storage.root import Root


@dataclass(frozen=True, slots=True)
class Site:
    """Made when the application starts, closed when it ends."""

    settings: Settings
    root: Root


def href(scope: Scope, route: str, name: Name, *, directory: bool = False) -> str:
    """Return the URL of *name* under *route*, absolute within the host and beneath the root path of *scope*."""
    path = f"{scope.get('root_path', '')}/{route}/{quote_name(name)}"
    return path + "/" if directory and name else path
