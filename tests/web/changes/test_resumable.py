"""``/uploads`` in process: the requests and answers of tus 1.0.0, what is kept of breaks, what is refused."""

import asyncio
import base64
import errno
import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fileserve.storage.changes import placing, uploads, whereabouts
from fileserve.storage.changes.sessions import Sessions
from fileserve.storage.checksums import Checksums
from fileserve.storage.errors import Busy
from tests.asgi import Answer, Client, client_of
from tests.hostile import HOSTILE
from tests.pool import settle
from tests.web.conftest import DIGITS
from tests.web.uploading import (
    CONTENT_TYPE,
    MIB,
    NAMED,
    SPOKEN,
    ask,
    begin,
    checksum,
    hidden_in,
    metadata,
    offset_of,
    patch,
    settings,
)

TOKEN = "t0ken-of-sixteen-characters"

pytestmark = pytest.mark.usefixtures("nothing_else_changes")


async def test_options_tells_what_is_spoken(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_bytes=1000)) as client:
        answer = await client.request("OPTIONS", "/uploads")
    assert (answer.status, answer.content) == (204, b"")
    assert answer["tus-version"] == answer["tus-resumable"] == "1.0.0"
    assert answer["tus-max-size"] == "1000"
    assert answer["tus-checksum-algorithm"] == "sha1,sha256,sha512,md5"
    extensions = "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation"
    assert answer["tus-extension"] == extensions
    assert not [name for name in answer.fields if name.startswith("access-control")]


async def test_without_a_limit_no_largest_size_is_told(uploader: Client) -> None:
    assert "tus-max-size" not in (await uploader.request("OPTIONS", "/uploads")).fields


async def test_an_upload_goes_from_creation_to_its_name(uploader: Client, served_root: Path) -> None:
    created = await ask(uploader, "POST", "/uploads", upload_length="10", **_named("new"))
    assert (created.status, created.content) == (201, b"")
    url = created["location"]
    assert url.startswith("/uploads/")
    assert created["upload-expires"].endswith(" GMT")
    told = await ask(uploader, "HEAD", url)
    assert (told.status, told["upload-offset"], told["upload-length"]) == (200, "0", "10")
    assert told["cache-control"] == "no-store"
    assert told["upload-metadata"] == metadata(filename=b"new")
    answer = await patch(uploader, url, 0, DIGITS[:4])
    assert (answer.status, answer.content, answer["upload-offset"]) == (204, b"", "4")
    assert "upload-expires" in answer.fields
    assert await offset_of(uploader, url) == 4
    assert not (served_root / "new").exists()
    ended = await patch(uploader, url, 4, DIGITS[4:])
    assert (ended.status, ended["upload-offset"], ended["content-location"]) == (204, "10", "/download/new")
    download = await uploader.get(ended["content-location"])
    assert (download.content, download["etag"]) == (DIGITS, ended["etag"])
    assert download["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(DIGITS).digest()).decode()}:"
    assert hidden_in(served_root) == []
    asked = await ask(uploader, "HEAD", url)
    assert (asked["upload-offset"], asked["content-location"]) == ("10", "/download/new")
    assert "upload-expires" not in asked.fields


def _named(filename: str, **more: bytes) -> dict[str, str]:
    return {"upload_metadata": metadata(filename=filename.encode(), **more)}


async def test_urls_are_relative_to_the_root_path(served_root: Path) -> None:
    async with client_of(settings(served_root, root_path="/files")) as client:
        client.root_path = "/files"
        url = await begin(client, 1)
        assert url.startswith("/files/uploads/")
        assert (await patch(client, url, 0, b"x"))["content-location"] == "/files/download/new"


GOOD = {"upload_length": "10", "upload_metadata": NAMED}


@pytest.mark.parametrize(
    ("changed", "fields", "status"),
    [
        pytest.param({}, {"tus_resumable": None}, 412, id="no_version"),
        pytest.param({}, {"tus_resumable": "0.2.2"}, 412, id="another_version"),
        pytest.param({}, {"upload_length": None}, 400, id="no_length"),
        pytest.param({}, {"upload_length": "-1"}, 400, id="length_that_is_none"),
        pytest.param({}, {"upload_length": "9" * 30}, 413, id="larger_than_any_disk"),
        pytest.param({}, {"upload_length": str(1 << 59)}, 507, id="larger_than_this_disk"),
        pytest.param({}, {"upload_defer_length": "1"}, 400, id="length_and_deferred_length"),
        pytest.param({}, {"upload_length": None, "upload_defer_length": "2"}, 400, id="deferred_in_another_way"),
        pytest.param({"upload_bytes": 9}, {}, 413, id="too_large"),
        pytest.param({"keep_free": 1 << 59}, {}, 507, id="more_is_to_be_kept_free"),
        pytest.param({}, {"upload_metadata": None}, 400, id="no_name"),
        pytest.param({}, {"upload_metadata": "filename"}, 400, id="empty_name"),
        pytest.param({}, {"upload_metadata": "filename *"}, 400, id="metadata_that_is_none"),
        pytest.param({}, {"upload_metadata": "a " + "A" * 9000}, 413, id="too_much_metadata"),
        pytest.param({}, {"if_none_match": '"x", ' * 2100 + '"x"'}, 413, id="too_many_preconditions"),
        pytest.param({}, _named("new", dir=b"absent"), 409, id="in_no_directory"),
        pytest.param({}, {**_named("dangling"), "if_none_match": "*"}, 412, id="create_only_over_a_dangling_link"),
        pytest.param({}, _named("dangling"), 409, id="over_a_dangling_link"),
        pytest.param({}, _named("new", dir=b"../outside"), 400, id="dots_in_dir"),
        pytest.param({}, _named("../outside/new"), 400, id="name_that_climbs"),
        pytest.param({}, _named("folder"), 409, id="directory"),
        pytest.param({}, _named("fifo"), 403, id="fifo"),
        pytest.param({}, _named(".new"), 403, id="hidden"),
        pytest.param({}, _named(".fileserve-tus-1"), 403, id="name_of_a_staged_file"),
        pytest.param({"replace": False}, _named("digits.txt"), 403, id="replacing_is_switched_off"),
        pytest.param({}, {**_named("digits.txt"), "if_none_match": "*"}, 412, id="create_only_and_it_is_there"),
        pytest.param({}, {"if_match": "*"}, 412, id="replace_only_and_it_is_new"),
        pytest.param({}, {"upload_concat": "whole"}, 400, id="concatenation_that_is_none"),
        pytest.param({}, {"upload_concat": "final;/uploads/a"}, 400, id="final_with_a_length"),
        pytest.param({}, {"upload_concat": "final;/uploads/a", "upload_length": None}, 404, id="no_such_part"),
        pytest.param({}, {"upload_concat": "final;/a", "upload_length": None}, 400, id="part_that_is_no_upload"),
        pytest.param({}, {"content_length": "3", "content_type": "text/plain"}, 415, id="content_of_another_type"),
        pytest.param({}, {"upload_checksum": "sha1 AAAA"}, 400, id="checksum_that_is_none"),
        pytest.param({"upload": False, "replace": False}, {}, 403, id="uploading_is_switched_off"),
        pytest.param({"token": TOKEN}, {}, 401, id="unknown_client"),
        pytest.param({}, {"sec_fetch_site": "cross-site"}, 403, id="page_of_another_site"),
        pytest.param({}, {"origin": "http://elsewhere", "host": "localhost"}, 403, id="another_origin"),
    ],
)
async def test_what_cannot_be_begun_is_refused_and_leaves_nothing(
    served_root: Path, changed: dict[str, Any], fields: dict[str, str | None], status: int
) -> None:
    (served_root / "dangling").symlink_to("nowhere")
    async with client_of(settings(served_root, **changed)) as client:
        answer = await ask(client, "POST", "/uploads", **{**GOOD, **fields})
    assert (answer.status, answer.chunks_read) == (status, 0), answer.content
    assert answer["tus-resumable"] == "1.0.0"
    assert answer["content-type"] == "application/problem+json"
    assert ("tus-version" in answer.fields) == ("tus_resumable" in fields)
    assert hidden_in(served_root) == []


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({"tus_resumable": None}, 412, id="no_version"),
        pytest.param({"content_type": "text/plain"}, 415, id="another_type"),
        pytest.param({"content_type": None}, 415, id="no_type"),
        pytest.param({"upload_offset": None}, 400, id="no_offset"),
        pytest.param({"upload_offset": "x"}, 400, id="offset_that_is_none"),
        pytest.param({"upload_offset": "3"}, 409, id="offset_before_the_end"),
        pytest.param({"upload_offset": "5"}, 409, id="offset_behind_the_end"),
        pytest.param({"content_length": "7"}, 413, id="more_than_the_upload_has"),
        pytest.param({"upload_length": "11"}, 400, id="another_length_than_before"),
        pytest.param({"upload_checksum": "crc32 AAAA"}, 400, id="unknown_checksum"),
        pytest.param({"sec_fetch_site": "cross-site"}, 403, id="page_of_another_site"),
    ],
)
async def test_what_cannot_be_appended_is_refused_before_it_is_read(
    uploader: Client, fields: dict[str, str | None], status: int
) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:4])
    sent: dict[str, str | None] = {"upload_offset": "4", **fields}
    answer = await ask(uploader, "PATCH", url, DIGITS[4:], **sent)
    assert (answer.status, answer.chunks_read) == (status, 0), answer.content
    assert answer["tus-resumable"] == "1.0.0"
    assert await offset_of(uploader, url) == 4
    assert (await patch(uploader, url, 4, DIGITS[4:])).status == 204


async def test_content_beyond_the_length_is_refused_where_no_length_tells(uploader: Client) -> None:
    url = await begin(uploader, 10)
    answer = await patch(uploader, url, 0, bytes(200_000), content_length=None, transfer_encoding="chunked")
    assert (answer.status, answer.chunks_read) == (413, 1)
    assert await offset_of(uploader, url) == 0


@pytest.mark.parametrize("url", ["/uploads/absent", "/uploads/", "/uploads/a/b", "/uploads/%2e%2e", "/uploads"])
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
async def test_an_upload_that_is_none_is_404(uploader: Client, method: str, url: str) -> None:
    answer = await ask(uploader, method, url, b"" if method == "PATCH" else None, upload_offset="0")
    assert answer.status in (404, 400)


async def test_other_methods_are_405(uploader: Client) -> None:
    assert (await ask(uploader, "PUT", "/uploads/x", b"x")).status == 405
    answer = await ask(uploader, "POST", "/uploads/x", x_http_method_override="PUT")
    assert (answer.status, answer["allow"]) == (405, "OPTIONS, POST, HEAD, PATCH, DELETE")


async def test_the_method_of_x_http_method_override_counts(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    answer = await ask(uploader, "POST", url, DIGITS, upload_offset="0", x_http_method_override="PATCH")
    assert (answer.status, (served_root / "new").read_bytes()) == (204, DIGITS)
    assert (await ask(uploader, "POST", url, x_http_method_override="head"))["upload-offset"] == "10"
    assert (await ask(uploader, "POST", url, x_http_method_override="DELETE")).status == 204


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_content_that_is_not_what_its_checksum_says_is_460_and_not_kept(uploader: Client, algorithm: str) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:2])
    answer = await patch(uploader, url, 2, DIGITS[2:], upload_checksum=checksum(algorithm, b"other"))
    assert (answer.status, answer["tus-resumable"]) == (460, "1.0.0")
    assert await offset_of(uploader, url) == 2
    good = await patch(uploader, url, 2, DIGITS[2:], upload_checksum=checksum(algorithm, DIGITS[2:]))
    assert (good.status, (await uploader.get("/download/new")).content) == (204, DIGITS)


async def test_content_with_a_checksum_that_breaks_off_is_not_kept(uploader: Client) -> None:
    url = await begin(uploader, 3 * MIB)
    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0", "content-length": str(2 * MIB)}
    fields["upload-checksum"] = checksum("sha1", bytes(2 * MIB))
    await uploader.request("PATCH", url, fields, content=[bytes(MIB)], breaks_off=True)
    assert await offset_of(uploader, url) == 0
    await uploader.request("PATCH", url, fields, content=[bytes(2 * MIB)])
    assert await offset_of(uploader, url) == 2 * MIB


async def test_after_a_crash_nothing_counts_that_was_still_to_be_compared(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends where it would have taken the content back."""
    url, set_sure = await begin(uploader, 10), Sessions.set_sure

    def set_alone(sessions: Sessions, id: str, sure: int | None) -> None:
        if sure is not None:
            set_sure(sessions, id, sure)

    await patch(uploader, url, 0, DIGITS[:2])
    with monkeypatch.context() as crash:
        crash.setattr(uploads.ResumedFile, "rewind", _nothing)
        crash.setattr(Sessions, "set_sure", set_alone)
        await patch(uploader, url, 2, b"garbage", upload_checksum=checksum("sha1", b"other"))
    assert hidden_in(served_root)[0].stat().st_size == 9
    assert await offset_of(uploader, url) == 2
    assert (await patch(uploader, url, 2, DIGITS[2:5])).status == 204
    assert await offset_of(uploader, url) == 5
    assert (await patch(uploader, url, 5, DIGITS[5:])).status == 204
    assert (served_root / "new").read_bytes() == DIGITS


async def _nothing(staged: object) -> None:
    pass


async def test_a_client_that_vanishes_loses_nothing_that_arrived(uploader: Client, served_root: Path) -> None:
    content = os.urandom(3 * MIB)
    url = await begin(uploader, len(content))
    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0", "content-length": str(len(content))}
    await uploader.request("PATCH", url, fields, content=[content[:MIB], content[MIB : MIB + 7]], breaks_off=True)
    assert await offset_of(uploader, url) == MIB + 7
    assert hidden_in(served_root)[0].read_bytes() == content[: MIB + 7]
    await patch(uploader, url, MIB + 7, content[MIB + 7 :])
    assert (served_root / "new").read_bytes() == content


async def test_a_request_that_is_cancelled_loses_nothing_that_arrived(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    arrived, never = asyncio.Event(), asyncio.Event()

    async def receive() -> dict[str, Any]:
        if arrived.is_set():
            await never.wait()
        arrived.set()
        return {"type": "http.request", "body": DIGITS[:6], "more_body": True}

    async def send(message: Any) -> None:
        raise AssertionError

    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0"}
    request = asyncio.ensure_future(uploader.app(uploader._scope("PATCH", url, fields), receive, send))
    await arrived.wait()
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    settle()
    assert await offset_of(uploader, url) == 6


async def test_two_cannot_write_at_once(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    other: list[Answer] = []
    arrived = 0

    async def receive() -> dict[str, Any]:
        nonlocal arrived
        arrived += 1
        if arrived == 2:
            other.append(await patch(uploader, url, 0, DIGITS))
            other.append(await ask(uploader, "DELETE", url))
            other.append(await ask(uploader, "HEAD", url))
        return {"type": "http.request", "body": DIGITS[:5] if arrived == 1 else DIGITS[5:], "more_body": arrived == 1}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 204

    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0"}
    await uploader.app(uploader._scope("PATCH", url, fields), receive, send)
    assert [answer.status for answer in other] == [423, 423, 200]
    assert (served_root / "new").read_bytes() == DIGITS


async def test_creation_with_upload_takes_the_first_bytes(uploader: Client, served_root: Path) -> None:
    answer = await ask(uploader, "POST", "/uploads", DIGITS[:3], **GOOD)
    assert (answer.status, answer["upload-offset"]) == (201, "3")
    await patch(uploader, answer["location"], 3, DIGITS[3:])
    whole = await ask(uploader, "POST", "/uploads", DIGITS, upload_length="10", **_named("other"))
    assert (whole.status, whole["upload-offset"], whole["content-location"]) == (201, "10", "/download/other")
    assert (served_root / "new").read_bytes() == (served_root / "other").read_bytes() == DIGITS
    wrong = await ask(uploader, "POST", "/uploads", DIGITS, upload_checksum=checksum("md5", b""), **GOOD)
    assert wrong.status == 460
    assert hidden_in(served_root) == []


async def test_an_empty_file_is_whole_when_it_is_begun(uploader: Client, served_root: Path) -> None:
    answer = await ask(uploader, "POST", "/uploads", upload_length="0", **_named("nothing"))
    assert (answer.status, answer["content-location"]) == (201, "/download/nothing")
    assert (served_root / "nothing").read_bytes() == b""


async def test_the_length_may_be_told_later(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader)
    told = await ask(uploader, "HEAD", url)
    assert told["upload-defer-length"] == "1"
    assert "upload-length" not in told.fields
    await patch(uploader, url, 0, DIGITS[:4])
    assert (await patch(uploader, url, 4, b"", upload_length="3")).status == 400
    assert (await patch(uploader, url, 4, DIGITS[4:7], upload_length="10")).status == 204
    told = await ask(uploader, "HEAD", url)
    assert (told["upload-length"], told["upload-offset"]) == ("10", "7")
    assert (await patch(uploader, url, 7, DIGITS[7:], upload_length="10")).status == 204
    assert (served_root / "new").read_bytes() == DIGITS


async def test_the_length_may_be_told_when_all_has_come(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader)
    await patch(uploader, url, 0, DIGITS)
    assert not (served_root / "new").exists()
    answer = await patch(uploader, url, 10, b"", upload_length="10")
    assert (answer.status, answer["content-location"]) == (204, "/download/new")


async def test_an_upload_of_unknown_length_has_the_limit_of_all(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_bytes=5)) as client:
        url = await begin(client)
        assert (await patch(client, url, 0, DIGITS)).status == 413
        assert (await patch(client, url, 0, DIGITS[:5])).status == 204
        assert (await patch(client, url, 5, b"", upload_length="6")).status == 413


async def test_termination_deletes_what_is_there(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:4])
    answer = await ask(uploader, "DELETE", url)
    assert (answer.status, answer.content, answer["tus-resumable"]) == (204, b"", "1.0.0")
    assert hidden_in(served_root) == []
    for method in ("HEAD", "DELETE"):
        assert (await ask(uploader, method, url)).status == 404


async def test_termination_of_what_is_stored_leaves_the_file(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS)
    assert (await ask(uploader, "DELETE", url)).status == 204
    assert (served_root / "new").read_bytes() == DIGITS
    assert (await ask(uploader, "HEAD", url)).status == 404


async def test_what_is_stored_takes_nothing_more(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS)
    assert (await patch(uploader, url, 10, b"")).status == 204
    assert (await patch(uploader, url, 10, b"x")).status == 409
    assert (await patch(uploader, url, 0, DIGITS)).status == 409
    assert (served_root / "new").read_bytes() == DIGITS


async def begin_parts(client: Client, contents: list[bytes]) -> list[str]:
    urls = [
        (await ask(client, "POST", "/uploads", upload_length=str(len(content)), upload_concat="partial"))["location"]
        for content in contents
    ]
    answers = await asyncio.gather(
        *(patch(client, url, 0, content) for url, content in zip(urls, contents, strict=True))
    )
    assert [answer.status for answer in answers] == [204] * len(urls)
    return urls


@pytest.mark.parametrize("shares", [True, False], ids=["as_the_system_copies", "as_every_system_copies"])
async def test_parts_that_were_uploaded_at_once_are_put_together(
    uploader: Client, served_root: Path, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EXDEV, "no")

    if not shares:
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    contents = [os.urandom(MIB + 3), b"", os.urandom(2 * MIB), os.urandom(5)]
    urls = await begin_parts(uploader, contents)
    told = await ask(uploader, "HEAD", urls[0])
    assert (told["upload-concat"], told["upload-offset"]) == ("partial", str(MIB + 3))
    final = f"final;http://localhost{urls[0]} " + " ".join(urls[1:])
    answer = await ask(uploader, "POST", "/uploads", upload_concat=final, **_named("whole"))
    assert (answer.status, answer["content-location"]) == (201, "/download/whole"), answer.content
    assert (served_root / "whole").read_bytes() == b"".join(contents)
    assert hidden_in(served_root) == []
    told = await ask(uploader, "HEAD", answer["location"])
    assert (told["upload-concat"], told["upload-length"]) == (final, str(len(b"".join(contents))))
    assert told["upload-offset"] == told["upload-length"]
    assert (await patch(uploader, answer["location"], 0, b"x")).status == 403
    assert [(await ask(uploader, "HEAD", url)).status for url in urls] == [404] * len(urls)


async def test_only_whole_parts_are_put_together(uploader: Client, served_root: Path) -> None:
    whole = (await begin_parts(uploader, [DIGITS]))[0]
    open_part = (await ask(uploader, "POST", "/uploads", upload_length="3", upload_concat="partial"))["location"]
    no_part = await begin(uploader, 3)
    for other in (open_part, no_part):
        final = f"final;{whole} {other}"
        assert (await ask(uploader, "POST", "/uploads", upload_concat=final, **_named("whole"))).status == 409
    many = "final;" + " ".join([whole] * 65)
    assert (await ask(uploader, "POST", "/uploads", upload_concat=many, **_named("whole"))).status == 400
    assert not (served_root / "whole").exists()
    assert len(hidden_in(served_root)) == 3


async def test_what_is_put_together_has_limits_and_preconditions_too(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_bytes=15)) as client:
        urls = await begin_parts(client, [DIGITS, DIGITS])
        final = f"final;{urls[0]} {urls[1]}"
        assert (await ask(client, "POST", "/uploads", upload_concat=final, **_named("whole"))).status == 413
        one: dict[str, str] = {"upload_concat": f"final;{urls[0]}", **_named("digits.txt")}
        assert (await ask(client, "POST", "/uploads", if_none_match="*", **one)).status == 412
        assert (await ask(client, "POST", "/uploads", **one)).status == 201


async def test_a_file_is_replaced_as_put_replaces_it(served_root: Path) -> None:
    async with client_of(settings(served_root, weak_etag_ms=0)) as client:
        etag = (await client.get("/download/digits.txt"))["etag"]
        url = await begin(client, 3, if_match=etag, **_named("digits.txt"))
        assert (await patch(client, url, 0, b"new")).status == 204
        assert (served_root / "digits.txt").read_bytes() == b"new"
        refused = await ask(client, "POST", "/uploads", upload_length="3", if_match=etag, **_named("digits.txt"))
        assert refused.status == 412


@pytest.mark.parametrize(
    ("fields", "replaces", "status"),
    [
        pytest.param({}, False, 403, id="replacing_is_switched_off"),
        pytest.param({"if_none_match": "*"}, True, 412, id="create_only"),
    ],
)
async def test_a_name_that_is_taken_meanwhile_is_not_replaced_and_nothing_is_lost(
    served_root: Path, fields: dict[str, str], replaces: bool, status: int
) -> None:
    """Nobody is told that it succeeded; when the name is free again, whoever asks has it stored."""
    async with client_of(settings(served_root, replace=replaces)) as client:
        url = await begin(client, 10, **fields)
        await patch(client, url, 0, DIGITS[:9])
        (served_root / "new").write_bytes(b"theirs")
        assert (await patch(client, url, 9, DIGITS[9:])).status == status
        assert (served_root / "new").read_bytes() == b"theirs"
        (served_root / "new").unlink()
        assert (await patch(client, url, 9, DIGITS[9:])).status == 204
        assert (served_root / "new").read_bytes() == DIGITS


async def test_a_name_that_is_taken_at_the_last_moment_is_told_to_whoever_asks(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await begin(uploader, 10, if_none_match="*")
    sync = os.fsync

    def sync_and_be_overtaken(fd: int) -> None:
        sync(fd)
        (served_root / "new").write_bytes(b"theirs")

    with monkeypatch.context() as overtaking:
        overtaking.setattr(os, "fsync", sync_and_be_overtaken)
        assert (await patch(uploader, url, 0, DIGITS)).status == 412
    assert (await ask(uploader, "HEAD", url)).status == 412
    (served_root / "new").unlink()
    told = await ask(uploader, "HEAD", url)
    assert (told.status, told["content-location"]) == (200, "/download/new")
    assert (served_root / "new").read_bytes() == DIGITS


async def test_a_file_that_a_crash_kept_from_being_noted_is_found_by_who_asks(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await begin(uploader, 10)
    with monkeypatch.context() as crash:
        crash.setattr(uploads.Uploads, "set_stored", lambda self, session: (_ for _ in ()).throw(OSError))
        assert (await patch(uploader, url, 0, DIGITS)).status == 500
    told = await ask(uploader, "HEAD", url)
    assert (told.status, told["upload-offset"], told["content-location"]) == (200, "10", "/download/new")


async def test_an_upload_whose_file_is_gone_is_404(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    hidden_in(served_root)[0].unlink()
    assert (await patch(uploader, url, 0, DIGITS)).status == 404
    assert (await ask(uploader, "HEAD", url)).status == 404


async def test_another_file_of_the_hidden_name_is_not_taken_for_the_upload(uploader: Client, served_root: Path) -> None:
    url = await begin(uploader, 10)
    hidden = hidden_in(served_root)[0]
    (served_root / "theirs").write_bytes(b"their")
    os.replace(served_root / "theirs", hidden)
    assert (await patch(uploader, url, 0, DIGITS)).status == 404
    assert hidden.read_bytes() == b"their"


async def test_an_upload_goes_on_after_a_restart(served_root: Path) -> None:
    async with client_of(settings(served_root)) as client:
        url = await begin(client, 10)
        await patch(client, url, 0, DIGITS[:4])
    async with client_of(settings(served_root)) as client:
        assert await offset_of(client, url) == 4
        ended = await patch(client, url, 4, DIGITS[4:])
        assert ended.status == 204
        assert await _becomes_known(client, ended["content-location"])


async def _becomes_known(client: Client, path: str) -> bool:
    """Return whether the digest of a file becomes known, which is read in the background."""
    for _ in range(1000):
        if "repr-digest" in (await client.get(path)).fields:
            return True
        await asyncio.sleep(0.005)
    return False


async def test_two_workers_share_sessions(served_root: Path) -> None:
    async with client_of(settings(served_root)) as one, client_of(settings(served_root)) as other:
        url = await begin(one, 10)
        for offset, client in ((0, other), (3, one), (6, other)):
            assert await offset_of(client, url) == offset
            assert (await patch(client, url, offset, DIGITS[offset : offset + 3])).status == 204
        assert (await patch(one, url, 9, DIGITS[9:])).status == 204
        assert (await ask(other, "HEAD", url))["content-location"] == "/download/new"
        assert (await other.get("/download/new")).content == DIGITS


async def test_digests_are_computed_as_the_bytes_pass_over_several_requests(
    uploader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("read once more")

    monkeypatch.setattr(Checksums, "request", refuse)
    url = await begin(uploader, 10)
    for offset in range(0, 10, 3):
        answer = await patch(uploader, url, offset, DIGITS[offset : offset + 3])
    sha256 = base64.b64encode(hashlib.sha256(DIGITS).digest()).decode()
    assert (await uploader.get(answer["content-location"]))["repr-digest"] == f"sha-256=:{sha256}:"


async def test_a_session_belongs_to_whoever_began_it(served_root: Path) -> None:
    hasher = PasswordHasher(1, 8, 1)
    accounts = tuple(f"{name}:{hasher.hash(name)}" for name in ("anna", "bert"))
    shown = {name: "Basic " + base64.b64encode(f"{name}:{name}".encode()).decode() for name in ("anna", "bert")}
    shown["token"] = f"Bearer {TOKEN}"
    async with client_of(settings(served_root, auth=accounts, token=TOKEN)) as client:
        for owner in shown:
            url = await begin(client, 10, authorization=shown[owner])
            for name, authorization in shown.items():
                status = 200 if name == owner else 404
                assert (await ask(client, "HEAD", url, authorization=authorization)).status == status
                if name != owner:
                    for method in ("PATCH", "DELETE"):
                        content = b"x" if method == "PATCH" else None
                        answer = await ask(client, method, url, content, upload_offset="0", authorization=authorization)
                        assert (answer.status, answer.chunks_read) == (404, 0)
            assert (await ask(client, "HEAD", url)).status == 401


@pytest.mark.parametrize("limit", ["upload_sessions", "upload_sessions_per_client"])
async def test_so_many_uploads_may_be_open_and_no_more(served_root: Path, limit: str) -> None:
    async with client_of(settings(served_root, **{limit: 2})) as client:
        urls = [await begin(client, 10) for _ in range(2)]
        answer = await ask(client, "POST", "/uploads", **GOOD)
        assert (answer.status, answer["retry-after"]) == (429, "5")
        assert len(hidden_in(served_root)) == 2
        await patch(client, urls[0], 0, DIGITS)
        await begin(client, 10)
        await ask(client, "DELETE", urls[1])
        await begin(client, 10)


async def test_uploads_at_once_have_the_limits_of_all_uploads(served_root: Path) -> None:
    async with client_of(settings(served_root, uploads_per_client=1)) as client:
        urls = [await begin(client, 10) for _ in range(2)]
        statuses = []

        async def receive() -> dict[str, Any]:
            statuses.append((await patch(client, urls[1], 0, DIGITS)).status)
            return {"type": "http.request", "body": DIGITS, "more_body": False}

        async def send(message: Any) -> None:
            pass

        fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": "0"}
        await client.app(client._scope("PATCH", urls[0], fields), receive, send)
        assert statuses == [429]


async def test_uploads_that_expire_are_deleted_and_those_that_go_on_are_not(served_root: Path) -> None:
    async with client_of(settings(served_root, upload_expiry=1)) as client:
        left, other = await begin(client, 10), await begin(client, 2000, **_named("slow"))
        await patch(client, left, 0, DIGITS[:4])
        end, offset = time.monotonic() + 20, 0
        while (await ask(client, "HEAD", left)).status == 200:
            assert time.monotonic() < end
            assert (await patch(client, other, offset, b"x")).status == 204
            offset += 1
            await asyncio.sleep(0.05)
        assert len(hidden_in(served_root)) == 1
        assert await offset_of(client, other) == offset


async def test_what_belongs_to_no_session_is_gone_after_a_start_once_it_is_old(served_root: Path) -> None:
    async with client_of(settings(served_root)) as client:
        await begin(client, 10)
    known = hidden_in(served_root)[0]
    old, young = (served_root / "folder" / f".fileserve-tus-{digit * 32}" for digit in "0f")
    for path in (old, young):
        path.write_bytes(b"half")
    for path in (old, known):
        os.utime(path, (0, 0))
    async with client_of(settings(served_root)):
        end = time.monotonic() + 20
        while old.exists():
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
    settle()
    assert sorted(hidden_in(served_root)) == sorted([young, known])


async def test_what_is_under_way_is_never_shown(served_root: Path) -> None:
    async with client_of(settings(served_root, hidden=True)) as client:
        await patch(client, await begin(client, 10), 0, DIGITS[:4])
        hidden = hidden_in(served_root)[0].name
        for path in ("/api/files/", "/", "/archive.tar", "/archive.zip", "/checksum/SHA256SUMS"):
            assert b".fileserve-" not in (await client.get(path)).content, path
        for route in ("download", "checksum", "api/files", "events/tail"):
            assert (await client.get(f"/{route}/{hidden}")).status == 404
        assert (await client.request("PUT", f"/upload/{hidden}", {"content-length": "1"}, content=[b"x"])).status == 403


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_disk_is_507_and_what_is_told_is_there(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The disk takes a part of a chunk, and nothing more."""
    content = os.urandom(MIB)
    url = await begin(uploader, MIB)
    await patch(uploader, url, 0, content[:1000])
    write = os.writev

    def write_a_part(fd: int, chunks: list[bytes]) -> int:
        return write(fd, [b"".join(chunks)[:500]])

    def fail(fd: int, chunk: bytes) -> int:
        raise OSError(number, "No space left on device", "/a/path/of/the/server")

    with monkeypatch.context() as full:
        full.setattr(os, "writev", write_a_part)
        full.setattr(os, "write", fail)
        answer = await patch(uploader, url, 1000, content[1000:])
    assert answer.status == 507
    assert b"/a/path" not in answer.content
    assert await offset_of(uploader, url) == 1500
    assert hidden_in(served_root)[0].read_bytes() == content[:1500]
    ended = await patch(uploader, url, 1500, content[1500:])
    assert (served_root / "new").read_bytes() == content
    assert await _becomes_known(uploader, ended["content-location"])


async def test_what_is_told_was_flushed_before(uploader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    sync = os.fsync

    def record(fd: int) -> None:
        sync(fd)
        flushed.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(placing, "sync_directory", lambda fd: None)
    url = await begin(uploader, 10)
    flushed.clear()
    answer = await patch(uploader, url, 0, DIGITS[:4])
    assert int(answer["upload-offset"]) in flushed
    flushed.clear()
    assert await offset_of(uploader, url) in flushed


Cut = tuple[int, int, bool]


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=400),
    cuts=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 150), st.booleans()), max_size=12),
    deferred=st.booleans(),
)
def test_however_the_bytes_are_cut_and_broken_off_the_whole_arrives(
    served_root: Path, content: bytes, cuts: list[Cut], deferred: bool
) -> None:
    async def upload() -> bytes:
        async with client_of(settings(served_root)) as client:
            url = await begin(client, None if deferred else len(content))
            for announced, sent, is_checked in cuts:
                offset = await offset_of(client, url)
                await _send_cut(client, url, content[offset : offset + announced], sent, offset, is_checked)
            offset = await offset_of(client, url)
            length = {"upload_length": str(len(content))} if deferred else {}
            answer = await patch(client, url, offset, content[offset:], **length)
            assert answer.status == 204
            return (await client.get(answer["content-location"])).content

    assert asyncio.run(upload()) == content


async def _send_cut(client: Client, url: str, part: bytes, sent: int, offset: int, is_checked: bool) -> None:
    """Announce *part*, and break off after *sent* bytes of it; what was checked is whole or was not sent."""
    fields = {**SPOKEN, "content-type": CONTENT_TYPE, "upload-offset": str(offset), "content-length": str(len(part))}
    if is_checked:
        fields["upload-checksum"] = checksum("sha256", part)
    breaks_off = sent < len(part)
    await client.request("PATCH", url, fields, content=[part[:sent]] if part else [], breaks_off=breaks_off)
    kept = 0 if breaks_off and is_checked else min(sent, len(part))
    assert await offset_of(client, url) == offset + kept


async def test_no_hostile_name_leads_anywhere_else(uploader: Client, served_root: Path) -> None:
    """A name of the list is sent as a file's name as it is, and split into a directory and a name."""
    before = {path for path in served_root.parent.rglob("*") if path.is_dir()}
    for key, path in HOSTILE.items():
        raw = unquote_to_bytes(path)
        directory, _, last = raw.rpartition(b"/")
        for told in (metadata(filename=raw), metadata(filename=last, dir=directory)):
            answer = await ask(uploader, "POST", "/uploads", b"hostile", upload_length="7", upload_metadata=told)
            assert answer.status in (201, 400, 403, 404, 409, 412, 413), (key, answer.content)
            if answer.status == 201:
                assert (await uploader.get(answer["content-location"])).content == b"hostile", key
            else:
                assert answer.chunks_read == 0, key
    assert {path for path in served_root.parent.rglob("*") if path.is_dir()} == before


@pytest.mark.parametrize(
    ("folder", "status"),
    [
        pytest.param(b"folder", 201, id="within"),
        pytest.param(b"", 403, id="beside"),
    ],
)
async def test_an_upload_keeps_to_the_folders_that_are_writable(served_root: Path, folder: bytes, status: int) -> None:
    where = {"dir": folder} if folder else {}
    told = {"upload_length": "10", "upload_metadata": metadata(filename=b"kept", **where)}
    async with client_of(settings(served_root, writable=("folder",))) as client:
        assert (await ask(client, "POST", "/uploads", **told)).status == status


async def test_what_is_taken_back_while_its_offset_is_asked_for_does_not_count(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is looked at while content is there that is not what its checksum says, the table later."""
    is_compared, may_compare = asyncio.Event(), asyncio.Event()
    has_looked, may_ask = threading.Event(), threading.Event()
    verify, look = uploads.ResumedFile.verify, whereabouts.size_wherever

    async def verify_late(*arguments: Any) -> bool:
        is_compared.set()
        await may_compare.wait()
        return await verify(*arguments)

    def look_early(*arguments: Any) -> Any:
        flushed = look(*arguments)
        has_looked.set()
        may_ask.wait(10)
        return flushed

    monkeypatch.setattr(uploads.ResumedFile, "verify", verify_late)
    monkeypatch.setattr(whereabouts, "size_wherever", look_early)
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:5])
    sending = asyncio.ensure_future(patch(uploader, url, 5, b"wrong", upload_checksum=checksum("sha1", DIGITS[5:])))
    await is_compared.wait()
    asking = asyncio.ensure_future(ask(uploader, "HEAD", url))
    assert await asyncio.to_thread(has_looked.wait, 10)
    may_compare.set()
    assert (await sending).status == 460
    may_ask.set()
    told = await asking
    assert (told.status, told["upload-offset"]) == (200, "5")
    assert not (served_root / "new").exists()


async def test_what_was_whole_before_it_was_locked_is_not_stored_unless_it_still_is(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell_all(*_: Any) -> int:
        return 10

    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:5])
    with monkeypatch.context() as racing:
        racing.setattr(uploads.Uploads, "offset", tell_all)
        assert (await ask(uploader, "HEAD", url)).status == 423
    assert not (served_root / "new").exists()
    assert (await patch(uploader, url, 5, DIGITS[5:])).status == 204
    assert (served_root / "new").read_bytes() == DIGITS


async def test_an_offset_that_is_asked_for_while_the_file_gets_its_name_is_that_of_the_whole(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a hidden name when its size is looked at, and the real one, which nobody has noted, when it is opened."""
    is_written, may_store, is_named, may_note = (asyncio.Event() for _ in range(4))
    store, note, look = uploads.ResumedFile.commit, uploads.Uploads.set_stored, uploads.Uploads.offset

    async def store_late(*arguments: Any) -> Any:
        is_written.set()
        await may_store.wait()
        return await store(*arguments)

    async def note_late(*arguments: Any) -> None:
        is_named.set()
        await may_note.wait()
        await note(*arguments)

    async def look_early(*arguments: Any) -> int:
        offset = await look(*arguments)
        may_store.set()
        await is_named.wait()
        return offset

    url = await begin(uploader, 10)
    monkeypatch.setattr(uploads.ResumedFile, "commit", store_late)
    monkeypatch.setattr(uploads.Uploads, "set_stored", note_late)
    sending = asyncio.ensure_future(patch(uploader, url, 0, DIGITS))
    await is_written.wait()
    monkeypatch.setattr(uploads.Uploads, "offset", look_early)
    told = await ask(uploader, "HEAD", url)
    may_note.set()
    assert (told.status, told["upload-offset"], told["content-location"]) == (200, "10", "/download/new")
    assert (await sending).status == 204
    assert (served_root / "new").read_bytes() == DIGITS


@pytest.mark.parametrize(("what", "status"), [("extend", 201), ("set_stored", 503)])
async def test_what_came_with_its_creation_and_has_its_name_is_not_forgotten(
    uploader: Client, served_root: Path, monkeypatch: pytest.MonkeyPatch, what: str, status: int
) -> None:
    work, asked = getattr(Sessions, what), list[str]()

    def work_late(sessions: Sessions, id: str, *arguments: Any) -> None:
        if (served_root / "new").exists():
            asked.append(id)
            if len(asked) == 1:
                raise Busy("the table is locked")
        work(sessions, id, *arguments)

    monkeypatch.setattr(Sessions, what, work_late)
    assert (await ask(uploader, "POST", "/uploads", DIGITS, **GOOD)).status == status
    told = await ask(uploader, "HEAD", f"/uploads/{asked[0]}")
    assert (told.status, told["upload-offset"], told["content-location"]) == (200, "10", "/download/new")
    assert (served_root / "new").read_bytes() == DIGITS
