"""The one question of rights, asked in front of every route that tells of the files or of the server.

The style of the pages and the description of the API (``/ui``, ``/docs``, ``/openapi.json``) are the same for
everybody and ask nobody.
"""

from enum import Enum

from starlette.types import Scope


class Action(Enum):
    """What a request wants to do with a name."""

    READ = "read"


def authorize(scope: Scope, action: Action) -> None:
    """Return if the client behind *scope* may do *action*.

    Policy: everybody may read what is served; who wants less puts fileserve on a loopback address or behind a proxy
    that asks.
    """
