"""Serves very large files over HTTP and never makes anyone start over.

``create_app`` and ``Settings`` are loaded when first asked for, so that importing ``fileserve.semantics`` loads no
framework.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fileserve.settings import Settings
    from fileserve.web.app import create_app

__version__ = "0.1.0"
__all__ = ["Settings", "__version__", "create_app"]


def __getattr__(name: str) -> object:
    if name == "create_app":
        from fileserve.web.app import create_app

        return create_app
    if name == "Settings":
        from fileserve.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
