"""Problem documents: the form that the client asks for, and every error of storage in the table."""

import json

import pytest

from fileserve.storage import errors
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

    assert kinds(errors.StorageError) - {errors.StorageError} == set(STATUS_OF)
