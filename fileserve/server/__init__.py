"""The socket edge, for any ASGI application on uvicorn: ``uvicorn.Config(app, http=fileserve.server.Protocol)``.

Where to look: ``protocol`` is one connection, made by ``connection``, ``ahead`` of its client, over TLS accepted by
``handshakes``; ``intake`` is its reading half, ``wire``, ``joining`` and ``flow`` its writing half, ``endings`` how it
ends; ``rests`` is what was still on its way then. ``exchange`` is one request and its response, ``writing`` the usual
one, ``extension`` what the application is told; ``zerocopy`` sends files, by ``region`` and ``sockets``. ``head``
judges request heads, ``refusals`` are the answers to the refused, ``clock`` is Date. ``limits`` names every limit;
``edge`` is what all connections share, with ``clients`` (who is counted), ``arrival``, ``deadlines`` and ``stalls``
(who is too slow), ``counts``, ``access_log`` and ``sparing`` (how often what a stranger causes is logged). ``run``
starts it all: ``listeners``, ``configuration``, ``worker``, ``supervisor`` and its ``member``, ``logs``; a process
tells its ``superior`` how it is, by ``leash`` or ``notifying``.

A new limit: a field of ``limits.Limits``, the setting of the same name in ``settings``, a line in
``configuration.limits_of``, a row in ``tests/server/test_configuration.py``; then the module that can see it reached
refuses or ends.
"""

from fileserve.server.limits import Limits
from fileserve.server.protocol import Protocol

__all__ = ["Limits", "Protocol"]
