"""What the documents say, where the code can be asked whether it is so."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from fileserve import Settings
from fileserve.server.refusals import Refusal
from fileserve.web.transfer import FIRST_PIECE

HOME = Path(__file__).parent.parent
PAGES = sorted([*HOME.glob("*.md"), *(HOME / "docs").glob("*.md"), *(HOME / "nginx").glob("**/*.conf")])
TELL_ALL_MODULES = ["semantics", "server", "storage", "web", "web.transfers", "checkproxy"]


def text_of(name: str) -> str:
    return (HOME / name).read_text()


@pytest.mark.parametrize("package", TELL_ALL_MODULES)
def test_where_to_look_names_each_module(package: str) -> None:
    found = import_module(f"fileserve.{package}")
    modules = {path.stem for path in Path(str(found.__file__)).parent.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"``(\w+)``", found.__doc__ or ""))


def test_every_reason_to_refuse_is_told_with_its_status() -> None:
    (row,) = re.findall(r"^\| `fileserve_refusals_total` .*", text_of("docs/operations.md"), re.MULTILINE)
    told = {
        name: int(status) for names, status in re.findall(r"((?:`\w+`,? )+)\((\d+)\)", row) for name in names.split()
    }
    assert {name.strip("`,"): status for name, status in told.items()} == {
        refusal.name.lower(): refusal.status for refusal in Refusal
    }


def test_what_the_unit_takes_from_elsewhere_is_a_setting() -> None:
    (row,) = re.findall(r"^\| settings \| .*", text_of("docs/deploy.md"), re.MULTILINE)
    names = re.findall(r"`([a-z_]+)`", row.partition(" but ")[2])
    assert {"host", "port", "uds", "fd", "root"} <= set(names) <= Settings.model_fields.keys()


def test_a_start_behind_nginx_lets_nginx_wait() -> None:
    """Where connections are kept for nginx, clients behind it are given time, too: docs/nginx.md says why."""
    places = [place for page in PAGES for place in re.split(r"\n(?=\||[# ]*\n)", page.read_text())]
    starts = [place for place in places if re.search(r"(?<!timeout-)keep.alive( = |=| )300", place, re.IGNORECASE)]
    assert len(starts) > 7
    for start in starts:
        assert re.search(r"stall.timeout( = |=| )300", start, re.IGNORECASE), start


def test_the_row_that_shows_how_a_table_grows_is_in_the_table() -> None:
    (row,) = re.findall(r"^pytest.param\(.*", text_of("CONTRIBUTING.md"), re.MULTILINE)
    assert row in text_of("tests/semantics/test_ranges.py")


def test_what_leaves_with_the_head_is_as_much_as_the_document_says() -> None:
    assert f"the first {FIRST_PIECE // 1024} KiB are read and leave with the head" in text_of("docs/performance.md")
