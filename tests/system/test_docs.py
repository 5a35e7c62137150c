"""The page of the API in Chromium: what a CDN sends in the place of Swagger UI does not run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.system.test_chromium import browser, complaints, page  # noqa: F401  fixtures
from tests.tools import Running, serving

pytestmark = [pytest.mark.system, pytest.mark.alone]

CDN = "https://cdn.jsdelivr.net/**"
ALLOWED = {"access-control-allow-origin": "*"}


@pytest.fixture(params=["", "/files"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, "--root-path", request.param) as running:
        yield running


def test_another_script_in_the_place_of_swagger_ui_does_not_run(
    page: Page,  # noqa: F811
    complaints: list[str],  # noqa: F811
    server: Running,
) -> None:
    asked: list[str] = []

    def send_another(route: Route) -> None:
        asked.append(route.request.url)
        assert "referer" not in route.request.headers
        route.fulfill(headers=ALLOWED, content_type="text/javascript", body="document.title = 'taken over'")

    page.route(CDN, send_another)
    page.goto(f"{server.url}/docs")
    expect(page.locator("#docs-missing")).to_contain_text("Swagger UI did not come from cdn.jsdelivr.net")
    assert len(asked) == 2
    assert [complaint for complaint in complaints if "integrity" in complaint]
    assert page.title() == "API · fileserve"
    page.get_by_role("link", name="openapi.json").click()
    expect(page).to_have_url(f"{server.url}/openapi.json")


def test_without_the_network_the_page_says_so(page: Page, server: Running) -> None:  # noqa: F811
    page.route(CDN, lambda route: route.abort())
    page.goto(f"{server.url}/docs")
    expect(page.locator("#docs-missing")).to_be_visible()
