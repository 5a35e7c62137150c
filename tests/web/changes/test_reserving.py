"""Room for uploads over tus: reserved while their bytes come, and given back."""

import os
from pathlib import Path
from typing import Any

import pytest

from fileserve.storage import space
from fileserve.storage.changes import room
from tests.asgi import Client, client_of
from tests.web.uploading import CONTENT_TYPE, MIB, SPOKEN, ask, begin, hidden_in, offset_of, patch, settings

pytestmark = pytest.mark.usefixtures("nothing_else_changes")

LENGTH = 64 * MIB


@pytest.fixture(autouse=True)
def disk_can_reserve(tmp_path: Path) -> None:
    """Skip where the disk of the temporary folder cannot reserve room."""
    fd = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    try:
        if not space.reserve(fd, MIB):
            pytest.skip("the temporary folder's file system reserves no room")
    finally:
        os.close(fd)


def taken(root: Path) -> int:
    """Return how many bytes of the disk the uploads under way take."""
    return sum(path.stat().st_blocks for path in hidden_in(root)) * 512


async def test_an_upload_whose_bytes_never_come_takes_no_room(uploader: Client, served_root: Path) -> None:
    for _ in range(20):
        await begin(uploader, LENGTH)
    assert taken(served_root) < MIB


@pytest.mark.parametrize("length", [LENGTH, None], ids=["of_known_length", "of_unknown_length"])
@pytest.mark.parametrize(
    ("announced", "reserved"),
    [
        pytest.param({"content-length": str(LENGTH)}, LENGTH, id="all"),
        pytest.param({"content-length": str(LENGTH // 4)}, LENGTH // 4, id="a_part"),
        pytest.param({"transfer-encoding": "chunked"}, None, id="so_many_as_come"),
    ],
)
async def test_room_is_reserved_while_the_bytes_come_and_given_back_where_they_did_not(
    uploader: Client, served_root: Path, length: int | None, announced: dict[str, str], reserved: int | None
) -> None:
    url = await begin(uploader, length)
    if reserved is None:
        reserved = length or 0
    arrived = 0

    async def receive() -> dict[str, Any]:
        nonlocal arrived
        arrived += 1
        if arrived == 1:
            return {"type": "http.request", "body": bytes(MIB), "more_body": True}
        assert taken(served_root) >= reserved
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0", **announced}
    await uploader.app(uploader._scope("PATCH", url, fields), receive, send)
    assert arrived == 2
    assert await offset_of(uploader, url) == MIB
    assert taken(served_root) < 2 * MIB


@pytest.mark.parametrize("length", [8 * MIB, None], ids=["of_known_length", "of_unknown_length"])
async def test_each_request_is_asked_for_all_that_is_still_to_come(
    served_root: Path, length: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another upload, or somebody else, has filled the disk since the upload was begun."""
    async with client_of(settings(served_root, keep_free=MIB)) as client:
        url = await begin(client, length)
        assert (await patch(client, url, 0, bytes(MIB))).status == 204
        with monkeypatch.context() as full:
            full.setattr(room, "available", lambda fd: 7 * MIB if length else 0)
            refused = await patch(client, url, MIB, bytes(MIB))
        assert (refused.status, refused.chunks_read) == (507, 0)
        assert (await patch(client, url, MIB, bytes(MIB))).status == 204


async def test_what_a_crash_has_left_reserved_is_given_back(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, LENGTH)
    with hidden_in(served_root)[0].open("rb+") as file:
        space.reserve(file.fileno(), LENGTH)
    assert (await patch(uploader, url, 0, b"x")).status == 204
    assert taken(served_root) < MIB
    assert (await ask(uploader, "DELETE", url)).status == 204
