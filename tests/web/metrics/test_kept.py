"""The counts of workers in files: none is lost, none is counted twice, and there are no more files than workers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fileserve.web.metrics.kept import Kept, Numbers, add

ONE: Numbers = {"done": {"": 1.0}}
STANDS: Numbers = {"now": {"": 5.0}}


def total(kept: Kept) -> float:
    nothing: Numbers = {}
    for snapshot in kept.read_all():
        nothing = add(nothing, snapshot.counters)
    return nothing["done"][""]


def living(kept: Kept) -> list[int]:
    return [snapshot.worker for snapshot in kept.read_all() if snapshot.gauges]


def test_all_read_what_each_writes(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "counts"), Kept(tmp_path / "counts")
    one.write({"done": {"": 3, "more": 1}}, STANDS)
    other.write({"done": {"": 4}}, STANDS)
    assert (one.worker, other.worker) == (0, 1)
    assert total(one) == total(other) == 7
    assert living(one) == living(other) == [0, 1]
    one.close()
    assert living(other) == [1]
    assert total(other) == 7
    other.close()


def test_a_later_worker_goes_on_where_one_has_ended(tmp_path: Path) -> None:
    staying = Kept(tmp_path)
    for _ in range(10):
        passing = Kept(tmp_path)
        assert passing.worker == 1
        for number in (1, 2, 3):
            passing.write({"done": {"": number}}, STANDS)
        passing.close()
    assert total(staying) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "0.lock", "1.json", "1.lock"]
    staying.close()


def test_who_ended_without_a_word_is_known_by_the_lock(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from fileserve.web.metrics.kept import Kept\n"
        "kept = Kept(Path(sys.argv[1])); kept.write({'done': {'': 2.0}}, {'now': {'': 1.0}}); os._exit(9)"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", script, tmp_path], timeout=30).returncode == 9
    kept = Kept(tmp_path)
    assert living(kept) == []
    assert total(kept) == 4
    kept.close()


@pytest.mark.parametrize(
    "content", [b"", b'{"counters": {"do', b"[]", b'{"counters": 5}', b'{"counters": {"done": []}}']
)
def test_a_file_that_says_nothing_sensible_counts_for_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "0.json").write_bytes(content)
    (tmp_path / "note.json").write_bytes(b"{}")
    kept = Kept(tmp_path)
    kept.write(ONE, STANDS)
    assert total(kept) == 1
    kept.close()


def test_a_directory_that_is_deleted_is_made_anew_with_what_is_known(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "counts"), Kept(tmp_path / "counts")
    other.write(ONE, STANDS)
    shutil.rmtree(tmp_path / "counts")
    other.write({"done": {"": 2}}, STANDS)
    one.write({"done": {"": 3}}, STANDS)
    assert {one.worker, other.worker} == {0, 1}
    assert total(one) == total(other) == 5
    assert living(one) == [0, 1]
    one.close()
    other.close()


def test_where_no_place_can_be_had_nothing_of_others_is_closed(tmp_path: Path) -> None:
    """Not at the second try either, when the number of the lost place is somebody else's."""
    place = tmp_path / "counts"
    kept = Kept(place)
    shutil.rmtree(place)
    place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        kept.write(ONE, STANDS)
    with Path(os.devnull).open() as of_another:
        with pytest.raises(FileExistsError):
            kept.write(ONE, STANDS)
        os.fstat(of_another.fileno())
        place.unlink()
        kept.write(ONE, STANDS)
        os.fstat(of_another.fileno())
    assert total(kept) == 1
    kept.close()


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    one, other = Kept(tmp_path), Kept(tmp_path)
    for kept in (one, other):
        kept.write(ONE, STANDS)
        kept.read_all()
        kept.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_called_alike_is_added() -> None:
    assert add({"a": {"x": 1}}, {"a": {"x": 2, "y": 3}, "b": {"": 4}}) == {"a": {"x": 3, "y": 3}, "b": {"": 4}}
