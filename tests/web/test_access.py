"""``authorize``: every action, for everybody it is asked for."""

import base64
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from fileserve import Settings
from fileserve.web.access import Action, authorize
from fileserve.web.problems import Problem
from tests.asgi import client_of

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ACCOUNT = f"anna:{CHEAP.hash('secret')}"
TOKEN = "t0ken-of-sixteen-characters"
ALL_ON = {"upload": True, "replace": True, "delete": True, "move": True}
RIGHT = {"authorization": "Basic " + base64.b64encode(b"anna:secret").decode()}
WRONG = {"authorization": "Basic " + base64.b64encode(b"anna:wrong").decode()}
BEARER = {"authorization": f"Bearer {TOKEN}"}
CHANGES = [action for action in Action if action.changes]


HERE = ("127.0.0.1", 1)
THERE = ("192.0.2.1", 1)
Address = tuple[str, int]


async def status_of(
    served_root: Path, action: Action, fields: dict[str, str], client_at: Address | None = THERE, **settings: Any
) -> int:
    """Return the status that *action* is refused with, or 200."""
    async with client_of(Settings(root=served_root, **settings)) as client:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        scope = {"type": "http", "headers": headers, "client": client_at, "state": dict(client.state)}
        try:
            await authorize(scope, action)
        except Problem as problem:
            challenged = "www-authenticate" in problem.fields
            return int(problem.status) if challenged == (problem.status == 401) else 0
        return 200


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize(
    ("settings", "fields", "status"),
    [
        pytest.param({}, {}, 403, id="switched_off"),
        pytest.param({"auth": (ACCOUNT,)}, RIGHT, 403, id="known_but_switched_off"),
        pytest.param(ALL_ON, {}, 403, id="nobody_can_be_known"),
        pytest.param(ALL_ON | {"auth": (ACCOUNT,)}, {}, 401, id="no_credentials"),
        pytest.param(ALL_ON | {"auth": (ACCOUNT,)}, WRONG, 401, id="wrong_password"),
        pytest.param(ALL_ON | {"auth": (ACCOUNT,)}, RIGHT, 200, id="right_password"),
        pytest.param(ALL_ON | {"auth": (ACCOUNT,)}, BEARER, 401, id="token_where_there_is_none"),
        pytest.param(ALL_ON | {"token": TOKEN}, BEARER, 200, id="right_token"),
        pytest.param(ALL_ON | {"token": TOKEN}, RIGHT, 401, id="password_where_there_is_a_token"),
        pytest.param(ALL_ON | {"token": TOKEN, "auth": (ACCOUNT,)}, RIGHT, 200, id="password_beside_a_token"),
        pytest.param(
            ALL_ON | {"auth": (ACCOUNT,)}, RIGHT | {"sec-fetch-site": "cross-site"}, 403, id="page_of_another_site"
        ),
        pytest.param(
            ALL_ON | {"auth": (ACCOUNT,)},
            RIGHT | {"host": "files.example", "origin": "https://evil.example"},
            403,
            id="origin_of_another_site",
        ),
        pytest.param(
            ALL_ON | {"auth": (ACCOUNT,)},
            RIGHT | {"host": "files.example", "origin": "https://files.example"},
            200,
            id="own_page",
        ),
    ],
)
async def test_a_change_needs_the_switch_and_who_is_known(
    served_root: Path, action: Action, settings: dict[str, Any], fields: dict[str, str], status: int
) -> None:
    assert await status_of(served_root, action, fields, **settings) == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("localhost:8000", 200, id="localhost"),
        pytest.param("127.0.0.1:8000", 200, id="ipv4"),
        pytest.param("127.0.0.1", 200, id="without_a_port"),
        pytest.param("[::1]:8000", 200, id="ipv6"),
        pytest.param("[::1]", 200, id="ipv6_without_a_port"),
        pytest.param("evil.example:8000", 403, id="name_that_was_pointed_here"),
        pytest.param("evil.example", 403, id="name_without_a_port"),
        pytest.param("127.0.0.1.evil.example", 403, id="name_that_looks_like_an_address"),
        pytest.param("192.0.2.1:8000", 403, id="other_address"),
    ],
)
async def test_without_credentials_changes_are_taken_under_this_machine_s_own_names(
    served_root: Path, host: str, status: int
) -> None:
    assert await status_of(served_root, Action.DELETE, {"host": host}, HERE, delete=True) == status
    assert await status_of(served_root, Action.DELETE, {"host": host} | BEARER, delete=True, token=TOKEN) == 200


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize(
    ("client_at", "status"),
    [
        pytest.param(HERE, 200, id="ipv4"),
        pytest.param(("127.8.9.10", 1), 200, id="any_of_the_loopback_network"),
        pytest.param(("::1", 1), 200, id="ipv6"),
        pytest.param(("::ffff:127.0.0.1", 1), 200, id="ipv4_on_a_socket_for_both"),
        pytest.param(THERE, 403, id="another_machine"),
        pytest.param(("::ffff:192.0.2.1", 1), 403, id="another_machine_on_a_socket_for_both"),
        pytest.param(("2001:db8::1", 1), 403, id="another_machine_by_ipv6"),
        pytest.param(("", 0), 403, id="empty_address"),
        pytest.param(("testclient", 1), 403, id="no_address"),
        pytest.param(None, 403, id="unix_socket"),
    ],
)
async def test_without_credentials_changes_are_taken_from_this_machine_only(
    served_root: Path, action: Action, client_at: Address | None, status: int
) -> None:
    assert await status_of(served_root, action, {"host": "localhost"}, client_at, **ALL_ON) == status
    known = ALL_ON | {"token": TOKEN}
    assert await status_of(served_root, action, {"host": "localhost"} | BEARER, client_at, **known) == 200


@pytest.mark.parametrize(
    ("settings", "fields", "status"),
    [
        pytest.param({}, {}, 200, id="open"),
        pytest.param({"auth": (ACCOUNT,)}, {}, 200, id="open_although_some_are_known"),
        pytest.param({"auth": (ACCOUNT,), "private": True}, {}, 401, id="private"),
        pytest.param({"auth": (ACCOUNT,), "private": True}, WRONG, 401, id="private_wrong_password"),
        pytest.param({"auth": (ACCOUNT,), "private": True}, RIGHT, 200, id="private_right_password"),
        pytest.param({"token": TOKEN, "private": True}, BEARER, 200, id="private_right_token"),
        pytest.param({"token": TOKEN, "private": True}, BEARER | {"sec-fetch-site": "cross-site"}, 200, id="a_link"),
    ],
)
async def test_reading_is_open_unless_it_is_private(
    served_root: Path, settings: dict[str, Any], fields: dict[str, str], status: int
) -> None:
    assert await status_of(served_root, Action.READ, fields, **settings) == status
    assert await status_of(served_root, Action.PROBE, {}, **settings) == 200


@pytest.mark.parametrize("path", ["/", "/browse/folder/", "/download/digits.txt", "/api/files/", "/archive.tar"])
async def test_a_private_server_tells_of_its_files_to_nobody_unknown(served_root: Path, path: str) -> None:
    async with client_of(Settings(root=served_root, private=True, auth=(ACCOUNT,))) as client:
        refused = await client.get(path)
        assert (refused.status, refused["www-authenticate"]) == (401, 'Basic realm="fileserve", charset="UTF-8"')
        assert (await client.get(path, RIGHT)).status == 200


async def test_a_private_server_s_health_is_told_to_everybody(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, private=True, token=TOKEN)) as client:
        assert [(await client.get(path)).status for path in ("/healthz", "/readyz")] == [200, 200]


async def test_chat_tells_of_the_files_too(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, private=True, token=TOKEN)) as client:
        assert (await client.request("POST", "/chat")).status == 401


def test_every_change_has_a_switch_of_its_name_that_is_off() -> None:
    assert [getattr(Settings(), action.value) for action in CHANGES] == [False] * 4
