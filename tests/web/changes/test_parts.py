"""Parts of an upload over tus: where they are kept meanwhile, and what is put together."""

import asyncio
from pathlib import Path

import pytest

from tests.asgi import Client, client_of
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
    async with client_of(settings(served_root, writable=("folder", "folder/deeper"))) as client:
        answer = await ask(client, "POST", "/uploads", **fields)
        assert answer.status == status, answer.content
        assert [path.parent for path in hidden_in(served_root)] == ([served_root / place] if place else [])
        if place:
            assert (await patch(client, answer["location"], 0, DIGITS)).status == 204
            whole = metadata(filename=b"whole", dir=b"folder")
            final = {"upload_concat": f"final;{answer['location']}", "upload_metadata": whole}
            assert (await ask(client, "POST", "/uploads", **final)).status == 201
            assert (served_root / "folder" / "whole").read_bytes() == DIGITS


async def upload_parts(client: Client, *contents: bytes) -> list[str]:
    begun = [
        await ask(client, "POST", "/uploads", content, upload_length=str(len(content)), upload_concat="partial")
        for content in contents
    ]
    return [answer["location"] for answer in begun]


@pytest.mark.parametrize(
    "final",
    [
        pytest.param("final;http://[bad/uploads/x", id="half_an_address"),
        pytest.param("final;http://localhost/elsewhere/x", id="other_url"),
        pytest.param("final;{0} {0}", id="one_part_twice"),
        pytest.param("final;{0} {1} http://localhost{0}", id="one_part_twice_in_other_words"),
        pytest.param("final;", id="nothing"),
    ],
)
async def test_what_names_no_parts_is_400_and_they_stay(uploader: Client, served_root: Path, final: str) -> None:
    urls = await upload_parts(uploader, b"one", b"two")
    fields = {"upload_concat": final.format(*urls), "upload_metadata": metadata(filename=b"whole")}
    answer = await ask(uploader, "POST", "/uploads", **fields)
    assert (answer.status, answer["content-type"]) == (400, "application/problem+json")
    assert len(hidden_in(served_root)) == 2
    assert not (served_root / "whole").exists()


async def test_of_several_workers_that_put_the_same_parts_together_one_at_least_succeeds(served_root: Path) -> None:
    async with client_of(settings(served_root)) as one, client_of(settings(served_root)) as other:
        for _ in range(10):
            urls = await upload_parts(one, *(b"%d" % number for number in range(6)))
            orders = [urls, urls[::-1], urls[3:] + urls[:3], urls[::2] + urls[1::2]]
            answers = await asyncio.gather(
                *(
                    ask(
                        (one, other)[number % 2],
                        "POST",
                        "/uploads",
                        upload_concat="final;" + " ".join(order),
                        upload_metadata=metadata(filename=b"whole-%d" % number),
                    )
                    for number, order in enumerate(orders)
                )
            )
            statuses = [answer.status for answer in answers]
            assert 201 in statuses
            assert set(statuses) <= {201, 404, 423}
