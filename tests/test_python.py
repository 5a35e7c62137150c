"""Which Python ``make`` takes: stand-ins on a PATH that say how quick they are."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "python.py"
choose: Callable[[str, list[str], str], str] = runpy.run_path(str(SCRIPT))["choose"]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, str], str]:
    """Make a stand-in in a folder of its own; return the folder."""

    def make(folder: str, script: str) -> str:
        path = tmp_path / folder / "python3.x"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path.parent)

    return make


def says(seconds: float, path: str = "/a/python3.x") -> str:
    return f"echo {seconds} {path}"


@pytest.mark.parametrize(
    ("own", "others", "chosen"),
    [
        pytest.param(says(1.0), [], None, id="alone"),
        pytest.param(says(1.0), [says(0.7)], "/a/python3.x", id="quicker"),
        pytest.param(says(1.0), [says(0.9)], None, id="hardly quicker"),
        pytest.param(says(1.0), [says(2.0)], None, id="slower"),
        pytest.param(says(1.0), [says(0.7, "/b c/python3.x"), says(0.6), says(0.7)], "/a/python3.x", id="the quickest"),
        pytest.param(says(1.0), [says(0.6, "/b c/python3.x")], "/b c/python3.x", id="a space in the path"),
        pytest.param(says(1.0), ["exit 1", "echo nonsense", "true"], None, id="none that works"),
        pytest.param("exit 1", [says(2.0)], "/a/python3.x", id="the first does not work"),
        pytest.param("exit 1", ["exit 1"], None, id="nobody works"),
    ],
)
def test_another_python_is_taken_where_it_is_quicker(
    make: Callable[[str, str], str], own: str, others: list[str], chosen: str | None
) -> None:
    first = make("first", own)
    folders = [first, *(make(str(number), other) for number, other in enumerate(others)), "/nowhere"]
    python = f"{first}/python3.x"
    assert choose(python, folders, "python3.x") == (chosen or python)


def test_what_may_not_be_run_is_passed_over(make: Callable[[str, str], str]) -> None:
    first, other = make("first", says(1.0)), make("other", says(0.1))
    Path(other, "python3.x").chmod(0o644)
    assert choose(f"{first}/python3.x", [other], "python3.x") == f"{first}/python3.x"
