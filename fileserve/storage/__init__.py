"""Bytes: from names to bytes, and from directories to names. No word of HTTP.

Read in this order:

- ``names``       a name is a tuple of bytes components; parsing, quoting, showing it
- ``errors``      what can go wrong, and the one table from errno to error
- ``root``        ``Root``: open, stat and list beneath one directory; the only traversal guard
- ``openat2``     how Linux resolves a name beneath a directory in one call
- ``walker``      how it is resolved component by component, where that call does not decide
- ``reader``      ``OpenFile``: the regions and the bytes of one opened file
- ``descriptor``  a file descriptor that is never closed under a thread that uses it
- ``listing``     a directory as one sorted page of entries
"""
