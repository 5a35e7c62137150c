"""Events through nginx: each comes when it is sent, and alone."""

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileserve.checkproxy.client import Client
from fileserve.checkproxy.judging import each_event_alone
from fileserve.checkproxy.observing import events
from fileserve.checkproxy.site import Site
from tests.eventsource import EventSource, Message
from tests.system.clients import TIMEOUT_S
from tests.system.nginx import Nginx, nginx
from tests.tools import serving

pytestmark = pytest.mark.system

PATIENCE_MS = 5_000  # tells a wait for more from none at all; measured are a few milliseconds


@pytest.fixture(params=["fileserve.conf", "fileserve-cache.conf"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nginx]:
    (tmp_path / "app.log").write_bytes(b"")
    with serving(tmp_path, "--trusted-proxies", "127.0.0.1") as server, nginx(request.param, server.url) as running:
        yield running


def test_each_event_comes_when_it_is_sent(proxy: Nginx) -> None:
    seen = events(Site(Client(proxy.url)))
    assert each_event_alone(seen) is None
    assert seen.is_whole
    assert seen.first_ms < PATIENCE_MS


def test_each_line_of_a_followed_file_comes_before_the_next_is_written(proxy: Nginx, tmp_path: Path) -> None:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=TIMEOUT_S)
    connection.request("GET", "/events/tail/app.log?from=start", headers={"Accept-Encoding": "gzip, br"})
    response, source = connection.getresponse(), EventSource()
    for number in range(3):
        with (tmp_path / "app.log").open("ab") as file:
            file.write(b"line %d\n" % number)
        assert [message.data for message in _next(response, source)] == [f"line {number}"]
    connection.close()


def _next(response: http.client.HTTPResponse, source: EventSource) -> list[Message]:
    while True:
        data = response.read1(os.sysconf("SC_PAGESIZE"))
        assert data
        if messages := source.feed(data):
            return messages
