"""Listings leave threads to others, and a crowd of them is refused."""

import asyncio
import threading
from pathlib import Path

import pytest

from fileserve import disk
from fileserve.storage import root as root_module
from fileserve.storage.errors import Busy
from fileserve.storage.listing import Listing
from fileserve.storage.root import Root


async def test_listings_leave_threads_to_reads_and_a_crowd_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(*_: object) -> Listing:
        release.wait(30)
        return Listing((), 1, 0)

    monkeypatch.setattr(root_module, "read_listing", slow)
    root = Root(tmp_path)
    crowd = [asyncio.ensure_future(root.list(())) for _ in range(64)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await root.list(())
        assert await disk.run(lambda: "a read") == "a read"
    finally:
        release.set()
        assert len(await asyncio.gather(*crowd)) == 64
    assert (await root.list(())).total == 1
    root.close()
