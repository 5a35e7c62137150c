"""Requests in, responses out: a thin layer that joins names, bytes and HTTP semantics.

Where to look:

- ``app``, ``opening``, ``stores``, ``site``   put it together, open what it needs, hold what routes share
- ``routes``      turns a raw path into a handler and a name; ``access``, ``credentials``, ``guessing`` and ``operator``
  say who may; ``foreign``   what a page of another site has sent
- ``downloads``, ``archives``, ``files``, ``operations``, ``probing``   routes that have no room of their own
- ``describe``, ``content``, ``plain``, ``delivery``, ``transfer``, ``offload``   from a file to the bytes
  that are sent, or left to nginx
- ``problems``    what went wrong; ``places``, ``clients``, ``presence``: how many at once, of whom, who is still there
- ``readiness``   whether this server can do its work

The rest has rooms of its own:

- ``changes``     uploads of every kind, and what else changes files
- ``digests``     checksums, fields and files that prove a file's bytes
- ``pages``       the pages for people; ``ui`` holds templates, styles and modules
- ``streams``     event streams: what can be watched, and the frame of all
- ``transfers``   who downloads what: from one response to the logical transfer
- ``metrics``     what is counted, kept over the lives of workers, and told
- ``workers``     what the workers of one server share
- ``chat``        questions about the files
- ``openapi``     descriptions of the routes that the router does not see
"""
