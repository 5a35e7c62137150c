"""A file that is replaced or changes while somebody downloads it: the old bytes or the new ones, never a mixture.

RFC 9110 §13.1.5 (If-Range: the rest if nothing has changed, else the whole), §13.1.1 (If-Match: 412 if anything has),
and what holds without any field: no answer looks whole that is not.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.clients import head, run_client, started_client, strong_etag
from tests.system.relay import Cut, Fault, relaying
from tests.system.samples import MIB, Sample, digest, make_sample
from tests.tools import Running

pytestmark = pytest.mark.system

KEPT = 5 * MIB + 1
TRANSFER_CLOSED = 18  # curl: "transfer closed with outstanding read data remaining"
HOUR_S = 3600

Change = Callable[[Sample], str]


def replace_by_rename(sample: Sample) -> str:
    """Put another file, of another size, in the sample's place; return its digest."""
    other = make_sample(sample.path.with_name(f".{sample.name}"), sample.size // 2)
    other.path.rename(sample.path)
    return other.digest


def rewrite_in_place(sample: Sample) -> str:
    """Write other bytes into the same file, which keeps its size and inode; return the new digest."""
    with sample.path.open("r+b") as file:
        for _ in range(0, sample.size, MIB):
            file.write(os.urandom(min(MIB, sample.size - file.tell())))
    return digest(sample.path)


def truncate(sample: Sample) -> str:
    os.truncate(sample.path, sample.size // 2)
    return sample.digest


def append(sample: Sample) -> str:
    with sample.path.open("ab") as file:
        file.write(os.urandom(MIB))
    return sample.digest


def unlink(sample: Sample) -> str:
    sample.path.unlink()
    return sample.digest


def touch_nothing(sample: Sample) -> str:
    return sample.digest


CHANGES = [pytest.param(replace_by_rename, id="by_rename"), pytest.param(rewrite_in_place, id="in_place")]


def etag(url: str) -> str:
    return strong_etag(url)


def last_modified(url: str) -> str:
    return head(url)["last-modified"]


def fetch_rest(url: str, field: str, folder: Path) -> str:
    """Ask for all but the first ``KEPT`` bytes on a condition, save it as ``rest``, and return the status."""
    command = ("curl", "-sS", "-H", field, "-r", f"{KEPT}-", "-o", "rest", "-w", "%{http_code}", url)
    return run_client(*command, folder=folder).stdout


@pytest.fixture
def aged(medium: Sample) -> Sample:
    """A sample whose date is strong: last modified an hour ago (RFC 9110 §8.8.2.2)."""
    changed_s = medium.path.stat().st_mtime - HOUR_S
    os.utime(medium.path, (changed_s, changed_s))
    return medium


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("validator", [pytest.param(etag, id="entity_tag"), pytest.param(last_modified, id="date")])
def test_if_range_gets_the_new_file_whole(
    change: Change, validator: Callable[[str], str], server: Running, aged: Sample, folder: Path
) -> None:
    url = f"{server.url}/download/{aged.name}"
    field = f"If-Range: {validator(url)}"
    new_digest = change(aged)
    assert fetch_rest(url, field, folder) == "200"
    assert digest(folder / "rest") == new_digest


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("field", "validator"),
    [
        pytest.param("If-Match", etag, id="if_match_13.1.1"),
        pytest.param("If-Unmodified-Since", last_modified, id="if_unmodified_since_13.1.4"),
    ],
)
def test_if_match_gets_412_and_no_byte_of_the_new_file(
    change: Change, field: str, validator: Callable[[str], str], server: Running, aged: Sample, folder: Path
) -> None:
    url = f"{server.url}/download/{aged.name}"
    condition = f"{field}: {validator(url)}"
    change(aged)
    assert fetch_rest(url, condition, folder) == "412"
    assert not (folder / "rest").exists() or (folder / "rest").stat().st_size == 0


@pytest.mark.parametrize(
    ("field", "validator"),
    [
        pytest.param("If-Range", etag, id="if_range_entity_tag"),
        pytest.param("If-Range", last_modified, id="if_range_date"),
        pytest.param("If-Match", etag, id="if_match"),
        pytest.param("If-Unmodified-Since", last_modified, id="if_unmodified_since"),
    ],
)
def test_the_same_conditions_give_the_rest_of_an_unchanged_file(
    field: str, validator: Callable[[str], str], server: Running, aged: Sample, folder: Path
) -> None:
    url = f"{server.url}/download/{aged.name}"
    assert fetch_rest(url, f"{field}: {validator(url)}", folder) == "206"
    assert (folder / "rest").read_bytes() == aged.path.read_bytes()[KEPT:]


def test_a_hard_link_and_a_chmod_cost_no_resume(server: Running, aged: Sample, folder: Path) -> None:
    url = f"{server.url}/download/{aged.name}"
    field = f"If-Range: {strong_etag(url)}"
    os.link(aged.path, folder / "link")
    aged.path.chmod(0o640)
    strong_etag(url)
    assert fetch_rest(url, field, folder) == "206"


@pytest.mark.parametrize(
    ("change", "is_whole"),
    [
        pytest.param(touch_nothing, True, id="nothing_happens"),
        pytest.param(replace_by_rename, True, id="another_takes_its_name"),
        pytest.param(unlink, True, id="it_is_removed"),
        pytest.param(append, True, id="it_grows"),
        pytest.param(truncate, False, id="it_is_truncated"),
        pytest.param(rewrite_in_place, False, id="it_is_rewritten_in_place"),
    ],
)
def test_a_change_in_mid_transfer_leaves_the_old_bytes_or_an_error(
    change: Change, is_whole: bool, server: Running, medium: Sample, folder: Path
) -> None:
    """The answer belongs to the file that was opened: the announced bytes exactly, or a connection cut short."""
    with relaying(server.url, Fault(MIB, Cut.HOLD)) as relay:
        url = f"{relay.url}/download/{medium.name}"
        with started_client("curl", "-sS", "-f", "-O", url, folder=folder) as client:
            relay.wait_until_holding()
            change(medium)
            relay.release()
            status = client.wait(30)
    if is_whole:
        assert (status, digest(folder / medium.name)) == (0, medium.digest)
    else:
        assert status == TRANSFER_CLOSED
        assert (folder / medium.name).stat().st_size < medium.size
