"""Requests in, responses out: a thin layer that joins names, bytes and HTTP semantics.

Where to look: ``app`` puts it together, ``opening`` opens what it needs; ``routes`` turns a raw path into a handler and
a name; ``downloads``, ``archives`` and ``files`` are routes; ``delivery`` and ``transfer`` send; ``problems`` says what
went wrong; ``access``, ``credentials`` and ``operator`` say who may. The rest has rooms of its own:

- ``changes``     uploads of every kind, and what else changes files
- ``digests``     checksums, fields and files that prove a file's bytes
- ``pages``       the pages for people; ``ui`` holds templates, styles and modules
- ``streams``     event streams: what can be watched, and the frame of all
- ``transfers``   who downloads what: from one response to the logical transfer
- ``workers``     what the workers of one server share
- ``chat``        questions about the files
- ``openapi``     descriptions of the routes that the router does not see
"""
