"""Parts of an upload over tus: where they are kept meanwhile, and what is put together."""

from pathlib import Path

import pytest

from tests.asgi import client_of
from tests.web.conftest import DIGITS
from tests.web.uploading import ask, hidden_in, metadata, patch, settings

pytestmark = pytest.mark.usefixtures("nothing_else_changes")


@pytest.mark.parametrize(
    ("told", "status", "place"),
    [
        pytest.param({}, 201, "folder", id="nowhere_in_particular"),
        pytest.param({"dir": b"folder/deeper"}, 201, "folder/deeper", id="within"),
        pytest.param({"dir": b"folder/deeper", "filename": b"part.1"}, 201, "folder/deeper", id="with_a_name"),
        pytest.param({"dir": b"other"}, 403, None, id="beside"),
        pytest.param({"dir": b"other", "filename": b"part.1"}, 403, None, id="beside_with_a_name"),
    ],
)
async def test_parts_are_kept_in_the_folders_that_are_writable(
    served_root: Path, told: dict[str, bytes], status: int, place: str | None
) -> None:
    (served_root / "other").mkdir()
    fields = {"upload_length": "10", "upload_concat": "partial", "upload_metadata": metadata(**told) or None}
    async with client_of(settings(served_root, writable=("folder", "other2"))) as client:
        answer = await ask(client, "POST", "/uploads", **fields)
        assert answer.status == status, answer.content
        assert [path.parent for path in hidden_in(served_root)] == ([served_root / place] if place else [])
        if place:
            assert (await patch(client, answer["location"], 0, DIGITS)).status == 204
            whole = metadata(filename=b"whole", dir=b"folder")
            final = {"upload_concat": f"final;{answer['location']}", "upload_metadata": whole}
            assert (await ask(client, "POST", "/uploads", **final)).status == 201
            assert (served_root / "folder" / "whole").read_bytes() == DIGITS
