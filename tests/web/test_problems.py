"""Problem documents: the form that the client asks for, and every error of storage in the table."""

import json

import pytest

from fileserve.storage import errors
from fileserve.storage.limits import Full
from fileserve.storage.root import Root
from fileserve.web.problems import STATUS_OF, preferred_form
from tests.asgi import Client


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        pytest.param("*/*", "application/problem+json", id="curl"),
        pytest.param("", "application/problem+json", id="empty"),
        pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html", id="browser"),
        pytest.param("text/plain", "text/plain", id="plain"),
        pytest.param("text/*", "text/plain", id="any_text"),
        pytest.param("application/json", "application/problem+json", id="json"),
        pytest.param("text/html;q=0.5, application/problem+json;q=0.4", "text/html", id="weights_12.4.2"),
        pytest.param("text/html;q=0, */*;q=0.1", "application/problem+json", id="zero_refuses_12.4.2"),
        pytest.param("text/html;q=nonsense, */*;q=0.1", "application/problem+json", id="broken_weight"),
        pytest.param("image/png", "application/problem+json", id="none_of_ours"),
    ],
)
def test_the_form_is_the_one_that_accept_prefers(accept: str, form: str) -> None:
    assert preferred_form(accept) == form


async def test_each_form_tells_the_same(client: Client) -> None:
    for accept in ("*/*", "text/plain", "text/html"):
        answer = await client.get("/download/absent", {"accept": accept})
        assert answer.status == 404
        assert b"There is no such file or directory." in answer.content
        head = await client.request("HEAD", "/download/absent", {"accept": accept})
        assert (head.content, head["content-length"]) == (b"", str(len(answer.content)))


async def test_what_the_router_refuses_is_a_problem_too(client: Client) -> None:
    answer = await client.get("/nowhere")
    assert json.loads(answer.content)["status"] == 404
    answer = await client.request("POST", "/healthz")
    assert (answer.status, answer["content-type"]) == (405, "application/problem+json")
    assert set(answer["allow"].split(", ")) == {"GET", "HEAD"}


def test_every_error_of_storage_has_a_status() -> None:
    def kinds(error: type[errors.StorageError]) -> set[type[errors.StorageError]]:
        return {error}.union(*map(kinds, error.__subclasses__()))

    listed = {kind for kind in kinds(errors.StorageError) if kind.__module__ == errors.__name__}
    assert listed - {errors.StorageError} == set(STATUS_OF)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(errors.InvalidName, 400, id="invalid_name"),
        pytest.param(errors.NotFound, 404, id="not_found"),
        pytest.param(errors.OutsideRoot, 404, id="outside_root"),
        pytest.param(errors.TooManyMembers, 403, id="too_many_members"),
        pytest.param(Full, 503, id="a_kind_of_busy"),
        pytest.param(errors.NotRegular, 403, id="not_regular"),
        pytest.param(errors.NotPermitted, 403, id="not_permitted"),
        pytest.param(errors.Busy, 503, id="busy"),
        pytest.param(errors.Unreadable, 500, id="unreadable"),
    ],
)
async def test_an_error_is_answered_with_its_status(
    client: Client, error: type[errors.StorageError], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Root, "open", fail)
    answer = await client.get("/download/digits.txt")
    assert answer.status == status
    assert ("retry-after" in answer.fields) == (status == 503)


async def test_a_fault_of_ours_is_logged_and_told_without_details(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Root, "open", fail)
    answer = await client.get("/download/digits.txt")
    assert answer.status == 500
    assert b"secret" not in answer.content
    assert "secret" in caplog.text


async def test_a_link_that_leaves_is_answered_like_a_name_that_does_not_exist(client: Client) -> None:
    absent, leaving = await client.get("/download/absent"), await client.get("/download/leaving")
    assert (absent.status, absent.content) == (leaving.status, leaving.content)


async def test_the_answer_varies_with_accept(client: Client) -> None:
    assert (await client.get("/download/absent"))["vary"] == "accept"
