"""The operator's token: who shows it is let in, everybody else is 401, and it is said nowhere."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fileserve import Settings
from tests.asgi import Answer, Client, client_of

TOKEN = 'a-token;of"32",characters=%41\\'
COOKIE = f"fileserve_operator={quote(TOKEN, safe='')}"
WATCHED = ["/live", "/events/logs", "/events?topic=logs", "/events?topic=tail:digits.txt&topic=logs"]


@pytest.fixture
async def client(served_root: Path) -> AsyncIterator[Client]:
    async with client_of(Settings(root=served_root, operator_token=TOKEN)) as opened:
        yield opened


def is_let_in(answer: Answer) -> bool:
    assert answer.status in (200, 401, 404)
    assert (answer.status == 401) == (answer.fields.get("www-authenticate") == "Bearer")
    return answer.status != 401


@pytest.mark.parametrize("route", WATCHED)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"Authorization": f"Bearer {TOKEN}"}, True, id="bearer"),
        pytest.param({"Authorization": f"bearer  {TOKEN} "}, True, id="scheme_in_any_case_rfc_9110_11_1"),
        pytest.param({"Cookie": COOKIE}, True, id="cookie"),
        pytest.param({"Cookie": f"a=b; {COOKIE};c"}, True, id="among_other_cookies"),
        pytest.param({"Cookie": f"fileserve_operator=other; {COOKIE}"}, True, id="second_of_a_name"),
        pytest.param({"Cookie": COOKIE, "Authorization": "Bearer other"}, True, id="one_of_two"),
        pytest.param({}, False, id="nothing"),
        pytest.param({"Authorization": "Bearer"}, False, id="no_token"),
        pytest.param({"Authorization": "Bearer "}, False, id="empty_token"),
        pytest.param({"Authorization": f"Bearer {TOKEN[:-1]}"}, False, id="shorter"),
        pytest.param({"Authorization": f"Bearer {TOKEN}x"}, False, id="longer"),
        pytest.param({"Authorization": f"Bearer {TOKEN.upper()}"}, False, id="in_another_case"),
        pytest.param({"Authorization": "Bearer \xff\xfe"}, False, id="no_ascii"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, False, id="another_scheme"),
        pytest.param({"Authorization": TOKEN}, False, id="no_scheme"),
        pytest.param({"Cookie": "fileserve_operator="}, False, id="empty_cookie"),
        pytest.param({"Cookie": f"xfileserve_operator={quote(TOKEN, safe='')}"}, False, id="another_cookie"),
        pytest.param({"Cookie": "fileserve_operator=%FF%"}, False, id="broken_cookie"),
        pytest.param({"X-Forwarded-For": "127.0.0.1", "Host": "localhost"}, False, id="loopback_proves_nothing"),
    ],
)
async def test_who_shows_the_token_is_let_in(
    client: Client, route: str, fields: dict[str, str], expected: bool
) -> None:
    assert is_let_in(await client.request("HEAD", route, fields)) is expected
    if route == "/live" or not expected:  # or it would be a stream without an end
        assert is_let_in(await client.get(route, fields)) is expected


@pytest.mark.parametrize("route", WATCHED)
async def test_without_a_token_nobody_is_let_in_and_is_told_why(served_root: Path, route: str) -> None:
    async with client_of(Settings(root=served_root)) as client:
        for fields in ({}, {"Authorization": "Bearer "}, {"Cookie": "fileserve_operator="}):
            answer = await client.get(route, fields)
            assert answer.status == 401
            assert b"FILESERVE_OPERATOR_TOKEN" in answer.content
        assert (await client.get("/live?token=")).status == 401


@pytest.mark.parametrize(
    ("root_path", "scheme", "expected"),
    [
        pytest.param("", "http", f"{COOKIE}; Path=/; HttpOnly; SameSite=Strict", id="at_the_top"),
        pytest.param("/files", "http", f"{COOKIE}; Path=/files; HttpOnly; SameSite=Strict", id="beneath_a_prefix"),
        pytest.param("", "https", f"{COOKIE}; Path=/; HttpOnly; SameSite=Strict; Secure", id="over_https"),
    ],
)
async def test_the_link_sets_the_cookie_and_its_page_leads_to_an_address_without_the_token(
    served_root: Path, root_path: str, scheme: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(Settings(root=served_root, operator_token=TOKEN, root_path=root_path)) as client:
        scope_of = client._scope
        monkeypatch.setattr(client, "_scope", lambda *arguments: scope_of(*arguments) | {"scheme": scheme})
        answer = await client.get(f"/live?token={quote(TOKEN, safe='')}")
        assert (answer.status, answer["set-cookie"]) == (200, expected)
        assert f'<meta http-equiv="refresh" content="0;url={root_path}/live">'.encode() in answer.content
        assert f'<a href="{root_path}/live">'.encode() in answer.content, "for those who are not led on by themselves"
        assert TOKEN.encode() not in answer.content
        assert quote(TOKEN, safe="").encode() not in answer.content
        assert (answer["cache-control"], answer["referrer-policy"]) == ("no-store", "no-referrer")
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["content-security-policy"] == (
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert is_let_in(await client.get("/live", {"Cookie": answer["set-cookie"].partition(";")[0]}))


async def test_a_wrong_link_is_401_also_for_who_is_in(client: Client) -> None:
    for token in ("other", "", "%FF", quote(TOKEN[:-1], safe="")):
        answer = await client.get(f"/live?token={token}", {"Cookie": COOKIE})
        assert answer.status == 401
        assert "set-cookie" not in answer.fields


async def test_the_token_is_said_nowhere(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what is answered and logged, nor in what the settings say of themselves."""
    caplog.set_level(logging.DEBUG)
    with_cookie = {"Cookie": COOKIE, "Authorization": f"Bearer {TOKEN}"}
    answers = [
        await client.get(path, fields)
        for path in (
            "/live",
            "/live/beneath",
            f"/live?token={quote(TOKEN, safe='')}x",
            "/openapi.json",
            "/",
            "/nothing",
        )
        for fields in ({}, with_cookie, with_cookie | {"Accept": "text/html"})
    ]
    said = repr([(answer.content, answer.fields) for answer in answers])
    assert TOKEN not in said
    assert quote(TOKEN, safe="") not in said
    assert TOKEN not in caplog.text
    assert "operator_token" not in repr(client.state["site"].settings)
