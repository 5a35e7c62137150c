"""The Dockerfile, read as an engine reads it; what it runs in the end is run here as it stands there."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from fileserve import Settings
from tests.tools import running, stop

pytestmark = pytest.mark.system

HOME = Path(__file__).parent.parent.parent
INSTRUCTIONS = ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "EXPOSE", "USER", "STOPSIGNAL", "HEALTHCHECK", "CMD"]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile and their arguments."""
    lines = [line for line in (HOME / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last(name: str) -> str:
    """Return the argument of the instruction *name* that counts in the image."""
    return [argument for found, argument in instructions() if found == name][-1]


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def program(words: list[str]) -> list[str]:
    """Return a command of the image with the programs of this environment."""
    return [str(Path(sys.executable).with_name(words[0])), *words[1:]]


def check_health(port: str) -> int:
    words = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    return subprocess.run(
        program(words), env={"FILESERVE_PORT": port}, timeout=30, stderr=subprocess.DEVNULL
    ).returncode


def test_every_line_is_an_instruction() -> None:
    assert {name for name, _ in instructions()} == set(INSTRUCTIONS)


def test_it_does_not_run_as_root_and_gets_its_signals() -> None:
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(last("CMD"))[0] == "fileserve"


def test_its_variables_are_settings() -> None:
    names = {name for name in variables() if name.startswith("FILESERVE_")}
    assert {name.removeprefix("FILESERVE_").lower() for name in names} <= Settings.model_fields.keys()


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = [line[1:] for line in (HOME / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copies = [argument.split()[:-1] for name, argument in instructions() if name == "COPY" and "--from" not in argument]
    sources = [source for sources in copies for source in sources]
    assert sources
    for source in sources:
        assert (HOME / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_its_command_serves_and_its_check_tells(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    given = {"FILESERVE_ROOT": str(tmp_path / "root"), "FILESERVE_INDEX_FILE": str(tmp_path / "state/digests.sqlite")}
    chosen = variables() | given | {"FILESERVE_PORT": "0", "FILESERVE_HOST": "127.0.0.1"}
    chosen.pop("PATH")
    with running(*program(json.loads(last("CMD"))), folder=tmp_path, **chosen) as server:
        port = re.findall(r":(\d+)", server.url)[0]
        assert check_health(port) == 0
        stop(server.process)
        assert check_health(port) != 0
    assert (tmp_path / "state/digests.sqlite").exists()
