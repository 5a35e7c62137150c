"""wget, curl and aria2c through each configuration of nginx: broken off, they go on, and hold the same bytes then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.clients import run_client
from tests.system.nginx import Nginx, nginx
from tests.system.relay import Fault, relaying
from tests.system.samples import MIB, Sample, digest
from tests.tools import Running

pytestmark = pytest.mark.system

CUT = 70_000_001
CLIENTS = [
    pytest.param(("wget", "-c", "--tries=1"), id="wget"),
    pytest.param(("curl", "-sS", "-f", "-C", "-", "-O"), id="curl"),
]


@pytest.fixture(scope="module", params=["fileserve.conf", "fileserve-cache.conf"])
def proxy(request: pytest.FixtureRequest, server: Running) -> Iterator[Nginx]:
    with nginx(request.param, server.url) as running:
        yield running
        assert running.spooled() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_broken_download_goes_on_where_it_was_cut(
    client: tuple[str, ...], proxy: Nginx, large: Sample, folder: Path
) -> None:
    with relaying(proxy.url, Fault(CUT)) as relay:
        command = (*client, f"{relay.url}/download/{large.name}")
        broken = run_client(*command, folder=folder)
        kept = (folder / large.name).stat().st_size
        resumed = run_client(*command, folder=folder)
    assert broken.returncode != 0
    assert resumed.returncode == 0, resumed.stderr
    assert relay.ranges == [None, f"bytes={kept}-"]
    assert digest(folder / large.name) == large.digest


def test_aria2c_takes_it_over_eight_connections(proxy: Nginx, large: Sample, folder: Path) -> None:
    pieces = ("-x", "8", "-s", "8", "-k", f"{MIB}", "--file-allocation=none", "--console-log-level=warn")
    ended = run_client("aria2c", *pieces, f"{proxy.url}/download/{large.name}", folder=folder)
    assert ended.returncode == 0, ended.stdout
    assert digest(folder / large.name) == large.digest
    assert proxy.access_log.count(" 206 ") >= 7
