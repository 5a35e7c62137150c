"""The OpenAPI document tells of every route, and tells the truth."""

import json
from pathlib import Path
from typing import Any

from fileserve import Settings
from fileserve.records import request_id
from fileserve.web.changes.appending import CHECKED
from fileserve.web.changes.sessions import PRECONDITIONS
from tests.asgi import Client, client_of

OPEN = {"/healthz", "/readyz", "/metrics"}  # on this machine
EXAMPLES = {"/events": "/events?topic=tail:digits.txt"}


async def document(client: Client) -> Any:
    return json.loads((await client.get("/openapi.json")).content)


async def test_every_route_is_described(client: Client) -> None:
    assert set((await document(client))["paths"]) == {
        "/",
        "/healthz",
        "/metrics",
        "/readyz",
        "/download/{path}",
        "/api/files/{path}",
        "/archive/{path}.tar",
        "/archive/{path}.zip",
        "/archive.tar",
        "/archive.zip",
        "/chat",
        "/check-proxy/content",
        "/check-proxy/events",
        "/check-proxy/request/{path}",
        "/checksum/{path}",
        "/uploads",
        "/uploads/{id}",
        "/events",
        "/events/checksum/{path}",
        "/events/logs",
        "/events/tail/{path}",
        "/events/transfers",
        "/sign-in",
        "/upload/{path}",
        "/browse/{path}/",
        "/live",
    }


async def test_every_reference_leads_somewhere(client: Client) -> None:
    schema = await document(client)

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in schema["components"]["schemas"]


async def test_the_document_is_made_once(client: Client) -> None:
    assert client.app.openapi() is client.app.openapi()


async def test_docs_are_served_and_operations_are_told_apart(client: Client) -> None:
    assert (await client.get("/docs")).status == 200
    operations = [
        operation["operationId"] for path in (await document(client))["paths"].values() for operation in path.values()
    ]
    assert len(operations) == len(set(operations))


async def test_what_strangers_are_told_by_a_private_server_is_described(served_root: Path) -> None:
    settings = Settings(root=served_root, private=True, token="t" * 16, upload=True, delete=True)
    async with client_of(settings) as client:
        described = (await document(client))["paths"]
        for path, operations in described.items():
            for method in operations.keys() - {"options"}:
                url = EXAMPLES.get(path, path).replace("{path}", "digits.txt").replace("{id}", "0")
                answer = await client.request(method.upper(), url, {"Tus-Resumable": "1.0.0"})
                assert answer.status == (200 if path in OPEN else 401), (method, path)
                assert str(answer.status) in operations[method]["responses"], (method, path)


async def test_the_fields_that_uploads_over_tus_understand_are_parameters(client: Client) -> None:
    paths = (await document(client))["paths"]

    def fields(path: str, method: str) -> set[str]:
        return {one["name"].lower() for one in paths[path][method]["parameters"] if one["in"] == "header"}

    assert {*PRECONDITIONS, *CHECKED} <= fields("/uploads", "post")
    assert set(CHECKED) <= fields("/uploads/{id}", "patch")


async def test_a_problem_has_the_members_that_its_schema_tells(client: Client) -> None:
    properties = (await document(client))["components"]["schemas"]["Problem"]["properties"]
    request_id.set("an-id")
    assert json.loads((await client.get("/download/nothing")).content).keys() == properties.keys()
