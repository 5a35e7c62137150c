"""Whatever a directory holds: any span of its archive is the slice of the whole, and the whole reads back."""

import asyncio
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileserve.storage.archives.archive import Archives, Format
from fileserve.storage.root import Root
from tests.storage.archiving import archives_of, span_of

_NAMES = st.binary(min_size=1, max_size=120).filter(
    lambda name: not {0, ord("/")} & set(name) and not name.startswith(b".")
)
_SIZES = st.sampled_from([0, 1, 511, 512, 513, 65_536, 65_537, 100_000])
_FILES = st.dictionaries(st.tuples(_NAMES, st.booleans()), _SIZES, max_size=6)
_TIMES = st.integers(-(2**33), 2**34)


def make(folder: bytes, files: dict[tuple[bytes, bool], int], when: int) -> dict[bytes, bytes]:
    """Make *files* (those that are marked in a directory of their own); return the content of each path."""
    made = {}
    for number, ((name, is_deep), size) in enumerate(files.items()):
        path = b"deep-%d/%b" % (number, name) if is_deep else name
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        made[path] = os.urandom(size)
        with open(os.path.join(folder, path), "wb") as file:
            file.write(made[path])
        os.utime(os.path.join(folder, path), ns=(0, when * 10**9 + number))
    return made


@pytest.mark.parametrize("form", list(Format))
@settings(max_examples=40, deadline=None)
@given(files=_FILES, when=_TIMES, cuts=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6))
def test_any_span_is_the_slice_of_the_whole(
    form: Format, files: dict[tuple[bytes, bool], int], when: int, cuts: list[tuple[float, float]]
) -> None:
    async def spans(archives: Archives) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        archive = await archives.open((b"folder",), form)
        whole = await span_of(archive)
        assert len(whole) == archive.length
        archive.close()
        found = []
        for one, other in cuts:
            start, stop = sorted((round(one * len(whole)), round(other * len(whole))))
            archive = await archives.open((b"folder",), form)
            found.append((start, stop, await span_of(archive, start, stop)))
            archive.close()
        return whole, found

    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "folder").mkdir()
        made = make(os.fsencode(base) + b"/folder", files, when)
        root = Root(base)
        try:
            whole, found = asyncio.run(spans(archives_of(root)))
        finally:
            root.close()
    for start, stop, data in found:
        assert data == whole[start:stop]
    assert sorted(read_back(form, whole)) == sorted(made.values())


def read_back(form: Format, whole: bytes) -> list[bytes]:
    """Return the contents of the archive's files."""
    if form is Format.ZIP:
        with zipfile.ZipFile(io.BytesIO(whole)) as opened:
            assert opened.testzip() is None
            return [opened.read(item) for item in opened.infolist() if not item.is_dir()]
    with tarfile.open(fileobj=io.BytesIO(whole), errorlevel=2) as archive:
        files = [archive.extractfile(item) for item in archive if item.isreg()]
        return [file.read() for file in files if file is not None]
