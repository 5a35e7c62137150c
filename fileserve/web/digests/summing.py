"""The work behind ``SHA256SUMS``: files of a directory whose digests are not known yet, hashed one after another.

And the texts that clients are taking, of which many may take one: tens of megabytes, for hours where they are slow.
"""

import asyncio
import logging
from weakref import WeakValueDictionary

from fileserve.semantics.validators import EntityTag
from fileserve.storage.checksums import Checksums
from fileserve.storage.errors import Busy, StorageError
from fileserve.storage.names import Name
from fileserve.storage.root import Root
from fileserve.web.content import Text

log = logging.getLogger("fileserve.index")

AT_ONCE = 2  # directories that are worked on; one file of each at a time


class Summing:
    """The directories whose digests are being computed, because their sums were asked for."""

    def __init__(self, root: Root, checksums: Checksums) -> None:
        self._root = root
        self._checksums = checksums
        self.looking = asyncio.Semaphore(1)  # one folder at a time is looked up in the index
        self._running: dict[Name, asyncio.Task[None]] = {}
        self._taken: WeakValueDictionary[EntityTag, Text] = WeakValueDictionary()

    def begin(self, directory: Name, missing: list[Name]) -> None:
        """Have the files *missing* hashed, unless that goes on already. Raises ``Busy`` where too much goes on."""
        if directory in self._running:
            return
        if len(self._running) >= AT_ONCE:
            raise Busy("the digests of other directories are being computed")
        task = asyncio.create_task(self._hash(missing))
        self._running[directory] = task
        task.add_done_callback(lambda done: self._running.pop(directory))

    def shared(self, text: Text) -> Text:
        """Return the text that is taken by others already where it is this one, so that it is in memory once."""
        return self._taken.setdefault(text.tag, text)

    async def close(self) -> None:
        """End the work."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _hash(self, names: list[Name]) -> None:
        for name in names:
            try:
                opened = await self._root.open(name)
            except StorageError:
                continue  # it is gone, and will not be missing next time
            try:
                await self._checksums.fill(opened)
            except StorageError as error:
                log.warning("a digest was not computed: %s", error)
            finally:
                opened.close()
