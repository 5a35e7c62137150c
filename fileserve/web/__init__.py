"""Requests in, responses out: a thin layer that joins names, bytes and HTTP semantics.

Where to look: ``app`` puts it together; ``routes`` turns a raw path into a handler and a name; ``downloads``,
``files`` and ``pages`` are the routes; ``transfer`` sends; ``problems`` says what went wrong; ``access`` says who
may.
"""
