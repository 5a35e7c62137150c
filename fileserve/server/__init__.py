"""The socket edge, for any ASGI application on uvicorn: ``uvicorn.Config(app, http=fileserve.server.Protocol)``.

Where to look: ``protocol`` is one connection, ``intake`` its reading half, ``exchange`` one request and its response,
``wire`` and ``joining`` its writing half; ``zerocopy`` sends files; ``head`` judges request heads, ``refusals`` are
the answers to the refused, ``clock`` is Date. ``limits`` names every limit; ``edge`` is what all connections share,
with ``clients`` (who is counted), ``arrival``, ``deadlines`` and ``stalls`` (who is too slow). ``run`` starts it all:
``listeners``, ``configuration``, ``worker``, ``supervisor`` and its ``member``, ``logs``; a process tells its
``superior`` how it is, by ``leash`` or ``notifying``.

A new limit: a field of ``limits.Limits``, the setting of the same name in ``settings``, a line in
``configuration.limits_of``, a row in ``tests/server/test_configuration.py``; then the module that can see it reached
refuses or ends.
"""

from fileserve.server.limits import Limits
from fileserve.server.protocol import Protocol

__all__ = ["Limits", "Protocol"]
