"""Files with awkward names, fetched by their percent-encoded names with each client."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from tests.system.clients import run_client
from tests.system.samples import Sample, digest, make_sample
from tests.tools import Running

pytestmark = pytest.mark.system

CLIENTS = [
    pytest.param(("curl", "-sS", "-f", "-O"), id="curl"),
    pytest.param(("curl", "-sS", "-f", "-OJ"), id="curl_by_disposition"),
    pytest.param(("wget", "-nv", "-c", "--tries=1"), id="wget"),
    pytest.param(("wget", "-nv", "-c", "--tries=1", "--content-disposition"), id="wget_by_disposition"),
    pytest.param(("aria2c", "-x", "8", "-k", "1M", "--allow-overwrite=true"), id="aria2c"),
]
NAMES = [
    pytest.param(b"with  spaces.bin", id="spaces"),
    pytest.param(b"quo\"te's.bin", id="quotes"),
    pytest.param(b"new\nline.bin", id="newline"),
    pytest.param("film \N{CLAPPER BOARD}.bin".encode(), id="emoji"),
    pytest.param(b"latin-1-\xff.bin", id="not_utf-8"),
    pytest.param(b"per%41cent.bin", id="percent"),
    pytest.param(b"back\\slash.bin", id="backslash"),
    pytest.param(b"semi;colon=1.bin", id="parameter_of_a_field"),
    pytest.param(b"what?#.bin", id="query_and_fragment"),
    pytest.param(b"-rf.bin", id="option"),
]


@pytest.fixture
def named(request: pytest.FixtureRequest, served_root: Path) -> Iterator[Sample]:
    """A file of the parameter's name, in a directory of its own."""
    directory = served_root / "names"
    directory.mkdir()
    sample = make_sample(directory / request.param.decode("utf-8", "surrogateescape"), 100_001)
    yield sample
    sample.path.unlink()
    directory.rmdir()


def url_of(sample: Sample, server: Running) -> str:
    encoded = quote_from_bytes(sample.name.encode("utf-8", "surrogateescape"), safe="")
    return f"{server.url}/download/names/{encoded}"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("named", NAMES, indirect=True)
def test_a_file_of_any_name_arrives_as_one_file(
    client: tuple[str, ...], named: Sample, server: Running, folder: Path
) -> None:
    """What the file is called in the end is the client's business; that it is one file, here, and whole, is ours."""
    ended = run_client(*client, url_of(named, server), folder=folder)
    assert ended.returncode == 0, ended.stderr
    (saved,) = folder.iterdir()
    assert digest(saved) == named.digest


@pytest.mark.parametrize(
    ("named", "saved_as"),
    [
        pytest.param(b"with  spaces.bin", "with  spaces.bin", id="spaces"),
        pytest.param(b"semi;colon=1.bin", "semi;colon=1.bin", id="parameter_of_a_field"),
        pytest.param(b"new\nline.bin", "new_line.bin", id="newline"),
        pytest.param("film \N{CLAPPER BOARD}.bin".encode(), "film _.bin", id="emoji"),
        pytest.param(b"latin-1-\xff.bin", "latin-1-_.bin", id="not_utf-8"),
        pytest.param(b"back\\slash.bin", "back_slash.bin", id="backslash"),
    ],
    indirect=["named"],
)
def test_curl_saves_under_the_ascii_filename(named: Sample, saved_as: str, server: Running, folder: Path) -> None:
    """``curl -J`` reads ``filename`` and not ``filename*`` (RFC 6266 appendix D: the fallback is for such clients)."""
    assert run_client("curl", "-sS", "-f", "-OJ", url_of(named, server), folder=folder).returncode == 0
    assert [saved.name for saved in folder.iterdir()] == [saved_as]


@pytest.mark.parametrize("client", [("wget", "-nv", "--content-disposition"), ("aria2c", "-q")], ids=["wget", "aria2c"])
@pytest.mark.parametrize(
    "named",
    [
        pytest.param(b"quo\"te's.bin", id="quotes"),
        pytest.param("Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{CLAPPER BOARD}.bin".encode(), id="beyond_ascii"),
        pytest.param(b"back\\slash.bin", id="backslash"),
    ],
    indirect=True,
)
def test_wget_and_aria2c_save_under_the_true_name(
    client: tuple[str, ...], named: Sample, server: Running, folder: Path
) -> None:
    """They read ``filename*`` (RFC 8187)."""
    assert run_client(*client, url_of(named, server), folder=folder).returncode == 0
    assert [saved.name for saved in folder.iterdir()] == [named.name]
