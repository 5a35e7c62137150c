"""The OpenAPI document tells of every route, and tells the truth."""

import json
from typing import Any

from tests.asgi import Client


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
