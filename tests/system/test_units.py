"""The units that we ship, as systemd itself reads and judges them."""

import subprocess
import sys
from pathlib import Path

import pytest

from fileserve import Settings
from tests.tools import tool

pytestmark = pytest.mark.system

UNITS = Path(__file__).parent.parent.parent / "systemd"
EXPOSURE = 2.0  # 1.4 with systemd 252, as docs/deploy.md says; 10 is a service without any of it
PROGRAM = "/opt/fileserve/bin/fileserve"


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with a program that is there."""
    for unit in UNITS.iterdir():
        text = unit.read_text()
        (tmp_path / unit.name).write_text(text.replace(PROGRAM, str(Path(sys.executable).with_name("fileserve"))))
    return sorted(tmp_path.iterdir())


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_no_fault_in_the_units(units: list[Path]) -> None:
    assert [unit.name for unit in units] == ["fileserve.service", "fileserve.socket"]
    assert PROGRAM in (UNITS / "fileserve.service").read_text()
    verified = run("verify", *units)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_service_is_exposed_no_more_than_the_documents_say(units: list[Path]) -> None:
    judged = run("security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", units[0])
    assert judged.returncode == 0, judged.stdout


def test_the_variables_of_the_unit_are_settings() -> None:
    lines = (UNITS / "fileserve.service").read_text().splitlines()
    names = [line.removeprefix("Environment=FILESERVE_").partition("=")[0] for line in lines if "=FILESERVE_" in line]
    assert names
    assert {name.lower() for name in names} <= Settings.model_fields.keys()
