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
- ``walk``        all files beneath a root that can be read

Changes (``storage.changes``), from the outside in:

- ``changes``     ``Changes``: stage, make, delete, move
- ``writer``      ``StagedFile``: what is uploaded, as a task brings it
- ``draft``       ``Draft``: the file that it is written to, as threads use it
- ``target``      ``Target``: a name beneath the root, and what has it now
- ``placing``     names given in one step, one at a time
- ``together``    the names of several drafts, all or none; ``patience``: waiting for a locked directory
- ``hiding``, ``sweep``   files without a name or with a hidden one; what a crash has left
- ``room``        what an upload needs of the disk; ``space``: what the disk has (beside the package)
- ``uploads``     ``Uploads``: files that come in several requests
- ``resumed``, ``resumable``   the file of one of them during a request: for the event loop, and in threads
- ``paused``, ``sessions``, ``session``   its file, the rows of all and what one says, between requests
- ``whereabouts``, ``expiry``, ``remembered``   where its file is after a move, its end, what is remembered
- ``copying``     one file put into another

Archives (``storage.archives``), from the outside in:

- ``archive``     ``Archives``: directories as archives, and the tables of those that were asked for before
- ``assembly``    ``Archive``: the content of one response, put together from the layout and the members
- ``layout``      an archive as blocks of head, content and foot; any span of it
- ``tar``, ``zipping``   the two layouts
- ``readahead``   the CRC-32s of a zip, computed ahead of the transfer
- ``tree``        the members, in columns
- ``scan``, ``recheck``  reading a directory into a tree; whether a tree is still what lies on the disk
- ``descent``, ``links``   walking without following a link (beside the package); what becomes of links
- ``selection``, ``member``   patterns; opening a member again

Following a growing file:

- ``following``   a name as ``tail -F`` follows it, over rotation and truncation
- ``lines``       the lines of one file, and positions in it
- ``watching``    being told that a file has changed

Digests, from the outside in:

- ``checksums``   ``Checksums``: known, found, or computed once for all who want them
- ``computation``, ``hashing``, ``background``, ``limits``   the thread, the pass, the queue, the counts
- ``known``       digests in memory
- ``index``, ``database``   digests in SQLite

Events:

- ``eventlog``    rows of text under topics, kept in SQLite, for all processes
"""
