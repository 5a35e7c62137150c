"""What a client says of its content, by PUT, form and tus: it is held to, or refused."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from fileserve.web.changes import appending, sessions
from tests.asgi import Answer, Client
from tests.web.conftest import DIGITS
from tests.web.uploading import NAMED, ask, begin, checksum, hidden_in, offset_of, patch, post, put

pytestmark = pytest.mark.usefixtures("nothing_else_changes")

KINDS = ["put", "form", "creation", "append"]


def digest(content: bytes, algorithm: str = "sha-256") -> str:
    computed = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(computed).decode()}:"


async def send(client: Client, kind: str, fields: dict[str, str]) -> Answer:
    """Send ``DIGITS``, as ``new``."""
    told: dict[str, Any] = {name.replace("-", "_"): value for name, value in fields.items()}
    if kind == "put":
        return await put(client, "/upload/new", DIGITS, fields)
    if kind == "form":
        return await post(client, "/upload/", [(b"new", DIGITS)], fields)
    if kind == "creation":
        return await ask(client, "POST", "/uploads", DIGITS, upload_length="10", upload_metadata=NAMED, **told)
    return await patch(client, await begin(client, 10), 0, DIGITS, **told)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        pytest.param({"content-encoding": "identity"}, (201, 201, 201, 204), id="no_coding"),
        pytest.param({"content-encoding": "gzip"}, (415, 415, 415, 415), id="coding_9110_8_4"),
        pytest.param({"content-digest": digest(DIGITS)}, (201, 400, 201, 204), id="content_digest_9530_2"),
        pytest.param({"content-digest": digest(DIGITS, "sha-512")}, (201, 400, 201, 204), id="of_another_algorithm"),
        pytest.param({"content-digest": digest(b"other")}, (400, 400, 400, 400), id="wrong_content_digest"),
        pytest.param({"content-digest": "sha-256=1"}, (400, 400, 400, 400), id="malformed_content_digest"),
        pytest.param({"repr-digest": digest(DIGITS)}, (201, 400, 400, 400), id="repr_digest_9530_3"),
        pytest.param({"repr-digest": digest(b"other")}, (400, 400, 400, 400), id="wrong_repr_digest"),
        pytest.param({"upload-checksum": checksum("md5", DIGITS)}, (400, 400, 201, 204), id="checksum_of_tus"),
        pytest.param({"digest": "sha-256=AAAA"}, (400, 400, 400, 400), id="digest_3230_4_3_2"),
        pytest.param({"content-md5": "AAAA"}, (400, 400, 400, 400), id="content_md5_2616_14_15"),
    ],
)
async def test_what_is_said_of_the_content_is_true_or_nothing_is_stored(
    uploader: Client, served_root: Path, kind: str, fields: dict[str, str], statuses: tuple[int, ...]
) -> None:
    status = statuses[KINDS.index(kind)]
    answer = await send(uploader, kind, fields)
    assert answer.status == status, answer.content
    assert (served_root / "new").exists() == (status < 400)
    if status == 415:
        assert (answer["accept-encoding"], answer.chunks_read) == ("identity", 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"repr_digest": digest(b"other")},
        {"content_digest": digest(b"other")},
        {"upload_checksum": checksum("sha1", b"other")},
        {"digest": "sha-256=AAAA"},
        {"content_md5": "AAAA"},
    ],
)
async def test_what_is_said_of_parts_that_are_put_together_is_refused(
    uploader: Client, served_root: Path, fields: dict[str, str]
) -> None:
    part = await begin(uploader, 0, upload_concat="partial")
    whole = {"upload_concat": f"final;{part}", "upload_metadata": NAMED}
    assert (await ask(uploader, "POST", "/uploads", **whole, **fields)).status == 400
    assert not (served_root / "new").exists()
    assert (await ask(uploader, "POST", "/uploads", **whole)).status == 201


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
async def test_of_an_upload_content_that_differs_from_its_digest_is_not_kept(uploader: Client, algorithm: str) -> None:
    url = await begin(uploader, 10)
    await patch(uploader, url, 0, DIGITS[:4])
    wrong = await patch(uploader, url, 4, DIGITS[4:], content_digest=digest(b"other", algorithm))
    assert (wrong.status, await offset_of(uploader, url)) == (400, 4)
    right = await patch(uploader, url, 4, DIGITS[4:], content_digest=digest(DIGITS[4:], algorithm))
    assert right.status == 204


async def test_the_type_of_an_upload_s_content_is_compared_without_case(uploader: Client, served_root: Path) -> None:
    content_type = "Application/Offset+Octet-Stream"
    url = await begin(uploader, 10)
    assert (await patch(uploader, url, 0, DIGITS[:4], content_type=content_type)).status == 204
    assert (await patch(uploader, url, 4, DIGITS[4:], content_type="text/plain")).status == 415
    answer = await ask(
        uploader, "POST", "/uploads", DIGITS[:3], upload_length="10", upload_metadata=NAMED, content_type=content_type
    )
    assert (answer.status, answer["upload-offset"]) == (201, "3")


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
async def test_only_a_post_may_stand_for_another_method(uploader: Client, served_root: Path, method: str) -> None:
    url = await begin(uploader, 10)
    answer = await ask(uploader, method, url, x_http_method_override="HEAD" if method == "DELETE" else "DELETE")
    assert answer.status == {"HEAD": 200, "PATCH": 415, "DELETE": 204}[method]
    assert len(hidden_in(served_root)) == (method != "DELETE")


async def test_a_length_that_another_request_tells_at_the_last_moment_counts(
    uploader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the session and the lock of its file."""
    url, find = await begin(uploader), sessions.find

    async def find_and_be_overtaken(request: Any) -> Any:
        session = await find(request)
        monkeypatch.setattr(appending, "find", find)
        assert (await patch(uploader, url, 0, b"", upload_length="10")).status == 204
        return session

    monkeypatch.setattr(appending, "find", find_and_be_overtaken)
    assert (await patch(uploader, url, 0, bytes(50))).status == 413
    told = await ask(uploader, "HEAD", url)
    assert (told["upload-length"], told["upload-offset"]) == ("10", "0")
    assert (await patch(uploader, url, 0, DIGITS)).status == 204
