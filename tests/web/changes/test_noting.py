"""What the log tells of changes: one line for each, with who it was and from where."""

import base64
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.asgi import Client, client_of
from tests.web.conftest import DIGITS
from tests.web.uploading import ask, metadata, post, put, settings

TOKEN = "t0ken-of-sixteen-characters"
ACCOUNT = f"anna:{PasswordHasher(1, 8, 1).hash('secret')}"
BASIC = "Basic " + base64.b64encode(b"anna:secret").decode()


async def change(client: Client, known: dict[str, str]) -> None:
    """Change something in every way there is."""
    assert (await put(client, "/upload/a%0Ab", DIGITS, known)).status == 201
    assert (await post(client, "/upload/folder/", [(b"c", DIGITS)], known)).status == 201
    told: dict[str, Any] = {"upload_length": "10", "upload_metadata": metadata(filename=b"d"), **known}
    assert (await ask(client, "POST", "/uploads", DIGITS, **told)).status == 201
    assert (await client.request("MKCOL", "/api/files/e", known)).status == 201
    assert (await client.request("MOVE", "/api/files/d", {"destination": "/api/files/e/%0D", **known})).status == 201
    assert (
        await client.request("MOVE", "/api/files/e/%0D", {"destination": "/api/files/empty", **known})
    ).status == 204
    assert (await client.request("DELETE", "/api/files/e", known)).status == 204


@pytest.mark.parametrize(
    ("changed", "known", "who"),
    [
        pytest.param({}, {}, "127.0.0.1", id="nobody_is_known"),
        pytest.param({"auth": (ACCOUNT,)}, {"authorization": BASIC}, "anna, 127.0.0.1", id="account"),
        pytest.param({"token": TOKEN}, {"authorization": f"Bearer {TOKEN}"}, "token, 127.0.0.1", id="token"),
    ],
)
async def test_each_change_is_one_line(
    served_root: Path, changed: dict[str, Any], known: dict[str, str], who: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fileserve.uploads")
    async with client_of(settings(served_root, delete=True, move=True, **changed)) as client:
        await change(client, known)
    lines = [record.getMessage() for record in caplog.records if record.name == "fileserve.uploads"]
    assert [line.replace("\\n", "?").replace("\\r", "?").replace("\ufffd", "?") for line in lines] == [
        f"a?b stored, 10 bytes ({who})",
        f"folder/c stored, 10 bytes ({who})",
        f"d stored, 10 bytes ({who})",
        f"e made, a directory ({who})",
        f"d moved to e/? ({who})",
        f"e/? moved to empty, which is replaced ({who})",
        f"e deleted ({who})",
    ]
