"""Who may see the metrics, and that every family has a name and a meaning as Prometheus wants them."""

from pathlib import Path
from typing import Any

import pytest

from fileserve import Settings
from fileserve.web.metrics.families import COUNTERS, GAUGES, HISTOGRAMS, PER_WORKER
from tests.asgi import client_of

TOKEN, OPERATOR = "a-token-for-the-scraper", "the-token-of-the-operator"
BEARER, OPERATES = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {OPERATOR}"}


@pytest.mark.parametrize(
    ("settings", "fields", "status"),
    [
        pytest.param({}, {}, 200, id="this_machine"),
        pytest.param({}, {"Host": "localhost:8000"}, 200, id="by_its_name"),
        pytest.param({}, {"Host": "[::1]:8000"}, 200, id="by_its_address"),
        pytest.param({}, {"Host": "rebound.example"}, 403, id="a_page_that_rebinds_its_name"),
        pytest.param({}, {"X-Forwarded-For": "127.0.0.1"}, 403, id="proxied"),
        pytest.param({}, {"X-Real-IP": "192.0.2.1"}, 403, id="proxied_in_other_words"),
        pytest.param({}, {"Forwarded": "for=192.0.2.1"}, 403, id="proxied_rfc_7239"),
        pytest.param({}, {"Via": "1.1 proxy"}, 403, id="proxied_rfc_9110_7_6_3"),
        pytest.param({}, OPERATES | {"X-Forwarded-For": "192.0.2.1"}, 200, id="the_operator_through_a_proxy"),
        pytest.param({}, BEARER | {"X-Forwarded-For": "192.0.2.1"}, 403, id="a_token_that_nobody_set"),
        pytest.param({"metrics_token": TOKEN}, {}, 401, id="this_machine_without_the_token"),
        pytest.param({"metrics_token": TOKEN}, BEARER, 200, id="the_token"),
        pytest.param({"metrics_token": TOKEN}, BEARER | {"X-Forwarded-For": "192.0.2.1"}, 200, id="from_anywhere"),
        pytest.param({"metrics_token": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}, 401, id="another_token"),
        pytest.param({"metrics_token": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, 401, id="another_scheme"),
        pytest.param({"metrics_token": TOKEN}, OPERATES, 200, id="the_operator_instead"),
        pytest.param({"private": True, "token": "t" * 16}, {}, 200, id="a_private_server_s"),
    ],
)
async def test_who_may_see_them(
    served_root: Path, settings: dict[str, Any], fields: dict[str, str], status: int
) -> None:
    async with client_of(Settings(root=served_root, operator_token=OPERATOR, **settings)) as client:
        answer = await client.get("/metrics", fields)
        assert answer.status == status
        assert (answer.fields.get("www-authenticate") == "Bearer") == (status == 401)
        assert (b"fileserve_workers" in answer.content) == (status == 200)
        assert TOKEN.encode() not in answer.content


async def test_another_machine_needs_the_token(served_root: Path) -> None:
    async with client_of(Settings(root=served_root)) as client:
        scope = client._scope
        for address, status in (
            ("192.0.2.1", 403),
            ("127.0.0.9", 200),
            ("::1", 200),
            ("::ffff:127.0.0.1", 200),
            ("::ffff:192.0.2.1", 403),
            ("no address", 403),
        ):
            client._scope = lambda *given, at=address: scope(*given) | {"client": (at, 1)}  # type: ignore[method-assign]
            assert (await client.get("/metrics")).status == status


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        pytest.param("", "text/plain", id="nothing"),
        pytest.param("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", id="openmetrics"),
        pytest.param("application/openmetrics-text; version=abc", "text/plain", id="a_version_that_is_none"),
        pytest.param("application/openmetrics-text; version=", "application/openmetrics-text", id="no_version"),
        pytest.param("text/plain; version=9.abc", "text/plain", id="a_version_of_the_text_that_is_none"),
        pytest.param("\xff,;=;q=x, ,", "text/plain", id="nonsense"),
    ],
)
async def test_the_format_is_the_one_asked_for_or_the_plain_one(
    served_root: Path, accept: str, media_type: str
) -> None:
    async with client_of(Settings(root=served_root)) as client:
        answer = await client.get("/metrics", {"Accept": accept})
        assert answer.status == 200
        assert answer.fields["content-type"].startswith(media_type)
        assert b"fileserve_workers" in answer.content


async def test_the_token_for_metrics_opens_nothing_else(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, metrics_token=TOKEN, operator_token=OPERATOR)) as client:
        assert (await client.get("/live", BEARER)).status == 401


def test_names_are_as_prometheus_wants_them() -> None:
    families = (*COUNTERS, *HISTOGRAMS, *GAUGES, *PER_WORKER)
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.replace("_", "").isalpha()
        assert not family.name.endswith("_total")  # prometheus_client adds it
        assert family.meaning.endswith(".")
    assert all(family.name.endswith("_seconds") for family in HISTOGRAMS)


def test_every_metric_is_documented() -> None:
    document = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    for family in COUNTERS:
        assert f"`fileserve_{family.name}_total" in document
    for family in (*HISTOGRAMS, *GAUGES, *PER_WORKER):
        assert f"`fileserve_{family.name}" in document
