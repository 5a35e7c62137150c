"""The socket edge, for any ASGI application on uvicorn: ``uvicorn.Config(app, http=fileserve.server.Protocol)``."""

from fileserve.server.limits import Limits
from fileserve.server.protocol import Protocol

__all__ = ["Limits", "Protocol"]
