"""wget, curl and aria2c are broken off and go on, and in the end hold the same bytes as the server."""

import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.clients import run_client, started_client
from tests.system.conftest import LARGE_SIZE
from tests.system.relay import Cut, Fault, relaying
from tests.system.samples import Sample, digest
from tests.tools import Running, wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

WGET = ("wget", "-c", "--tries=1")
CURL = ("curl", "-sS", "-f", "-C", "-", "-O")
ARIA2C = ("aria2c", "-x", "8", "-s", "8", "--file-allocation=none", "--retry-wait=0", "--console-log-level=warn")
SLOW_AND_SAVED_OFTEN = ("--max-overall-download-limit=32M", "--auto-save-interval=1")  # in bytes a second; in seconds

CUTS = [
    pytest.param(Fault(1), id="after_the_first_byte"),
    pytest.param(Fault(65_537), id="after_the_first_chunk"),
    pytest.param(Fault(100_000_003), id="in_the_middle"),
    pytest.param(Fault(LARGE_SIZE - 1), id="before_the_last_byte"),
    pytest.param(Fault(100_000_003, Cut.RST), id="by_a_reset"),
]
SEVERAL_CUTS = (Fault(70_000_001), Fault(1), Fault(50_000_000))
CLIENTS = [pytest.param(WGET, id="wget"), pytest.param(CURL, id="curl")]


@pytest.mark.parametrize("fault", CUTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_broken_download_goes_on_where_it_was_cut(
    client: tuple[str, ...], fault: Fault, server: Running, large: Sample, folder: Path
) -> None:
    with relaying(server.url, fault) as relay:
        command = (*client, f"{relay.url}/download/{large.name}")
        broken = run_client(*command, folder=folder)
        kept = (folder / large.name).stat().st_size
        resumed = run_client(*command, folder=folder)
    assert broken.returncode != 0
    assert kept == fault.content_bytes or (fault.cut is Cut.RST and 0 < kept < fault.content_bytes)
    assert resumed.returncode == 0, resumed.stderr
    assert relay.ranges == [None, f"bytes={kept}-"]
    assert digest(folder / large.name) == large.digest


def test_wget_that_is_cut_several_times_goes_on_by_itself(server: Running, large: Sample, folder: Path) -> None:
    with relaying(server.url, *SEVERAL_CUTS) as relay:
        url = f"{relay.url}/download/{large.name}"
        ended = run_client("wget", "-c", "--tries=5", "--waitretry=0", url, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert relay.ranges == [None, "bytes=70000001-", "bytes=70000002-", "bytes=120000002-"]
    assert digest(folder / large.name) == large.digest


def test_curl_that_is_cut_several_times_tries_again_by_itself(server: Running, large: Sample, folder: Path) -> None:
    """Whether ``--retry`` goes on or starts over is a matter of curl's version; the bytes are right either way."""
    with relaying(server.url, *SEVERAL_CUTS) as relay:
        url = f"{relay.url}/download/{large.name}"
        ended = run_client(*CURL, "--retry", "5", "--retry-delay", "1", "--retry-all-errors", url, folder=folder)
    assert ended.returncode == 0, ended.stderr
    assert len(relay.downloads) == 4
    assert digest(folder / large.name) == large.digest


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_was_killed_goes_on_from_what_it_had(
    client: tuple[str, ...], server: Running, large: Sample, folder: Path
) -> None:
    saved = folder / large.name
    with relaying(server.url, Fault(100_000_003, Cut.HOLD)) as relay:
        with started_client(*client, f"{relay.url}/download/{large.name}", folder=folder):
            relay.wait_until_holding()
            assert wait_until(lambda: saved.exists() and saved.stat().st_size > 0, timeout_s=10)
        kept = saved.stat().st_size
        resumed = run_client(*client, f"{relay.url}/download/{large.name}", folder=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert relay.ranges == [None, f"bytes={kept}-"]
    assert digest(saved) == large.digest


def test_aria2c_fetches_eight_segments_at_once(server: Running, large: Sample, folder: Path) -> None:
    with relaying(server.url) as relay:
        ended = run_client(*ARIA2C, f"{relay.url}/download/{large.name}", folder=folder)
    assert ended.returncode == 0, ended.stdout
    assert len(set(relay.ranges)) >= 8
    assert digest(folder / large.name) == large.digest


def test_aria2c_mends_segments_that_are_cut(server: Running, large: Sample, folder: Path) -> None:
    faults = (Fault(3_000_000), Fault(1), Fault(7_000_000, Cut.RST), Fault(0), Fault(5_000_000))
    with relaying(server.url, *faults) as relay:
        ended = run_client(*ARIA2C, "--max-tries=10", f"{relay.url}/download/{large.name}", folder=folder)
    assert ended.returncode == 0, ended.stdout
    assert digest(folder / large.name) == large.digest


@pytest.mark.parametrize(
    "end", [pytest.param(signal.SIGTERM, id="asked_to_end"), pytest.param(signal.SIGKILL, id="killed")]
)
def test_aria2c_goes_on_by_its_control_file(end: signal.Signals, server: Running, large: Sample, folder: Path) -> None:
    """A control file that was saved on the way is enough, also when there was no time to save it at the end."""
    control = folder / f"{large.name}.aria2"
    with relaying(server.url) as relay:
        command = (*ARIA2C, f"{relay.url}/download/{large.name}")
        with started_client(*command, *SLOW_AND_SAVED_OFTEN, folder=folder) as client:
            assert wait_until(saved_again(control), timeout_s=20)
            client.send_signal(end)
            client.wait(20)
        before = relay.ranges
        resumed = run_client(*command, folder=folder)
        after = relay.ranges[len(before) :]
    assert resumed.returncode == 0, resumed.stdout
    assert set(after) != set(before), "it started over"
    assert not control.exists()
    assert digest(folder / large.name) == large.digest


def saved_again(control: Path) -> Callable[[], bool]:
    """Return the question whether *control* was saved a second time: the first is before there is any progress."""
    times_ns: set[int] = set()

    def question() -> bool:
        with suppress(FileNotFoundError):
            times_ns.add(control.stat().st_mtime_ns)
        return len(times_ns) > 1

    return question


@pytest.mark.parametrize("client", [pytest.param(WGET, id="wget"), pytest.param(CURL[:2] + CURL[3:], id="curl")])
def test_resuming_what_is_complete_succeeds_and_changes_nothing(
    client: tuple[str, ...], server: Running, medium: Sample, folder: Path
) -> None:
    """416 with the complete length is what tells these clients that they are done. RFC 9110 §15.5.17."""
    url = f"{server.url}/download/{medium.name}"
    assert run_client(*client, url, folder=folder).returncode == 0
    saved_ns = (folder / medium.name).stat().st_mtime_ns
    again = run_client(*client, url, folder=folder)
    assert again.returncode == 0, again.stderr
    assert (folder / medium.name).stat().st_mtime_ns == saved_ns
    assert digest(folder / medium.name) == medium.digest
