"""Lines of one file: where they begin and end, in pieces where they are long, and never half of one."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.storage.lines import HEAD, LINE, LINES, LOOK_BACK, Line, LineReader, last_lines, split_lines
from fileserve.storage.reader import OpenFile


def opened(path: Path) -> OpenFile:
    return OpenFile(os.open(path, os.O_RDONLY))


@pytest.mark.parametrize(
    ("data", "to_the_end", "expected"),
    [
        pytest.param(b"", False, [], id="nothing"),
        pytest.param(b"", True, [], id="nothing_at_the_end"),
        pytest.param(b"a\nb\n", False, [(b"a", 2, False), (b"b", 4, False)], id="two_lines"),
        pytest.param(b"a\r\nb\n", False, [(b"a", 3, False), (b"b", 5, False)], id="crlf_is_no_part_of_the_line"),
        pytest.param(b"a\rb\r\r\n", False, [(b"a\rb\r", 6, False)], id="other_carriage_returns_are"),
        pytest.param(b"\n\n", False, [(b"", 1, False), (b"", 2, False)], id="empty_lines"),
        pytest.param(b"a\nhal", False, [(b"a", 2, False)], id="an_unfinished_line_waits"),
        pytest.param(b"a\nhal", True, [(b"a", 2, False), (b"hal", 5, False)], id="but_not_at_the_end_of_the_file"),
        pytest.param(b"a\0\x1b\x85b\n", False, [(b"a\0\x1b\x85b", 6, False)], id="control_characters"),
        pytest.param(b"x" * LINE + b"\n", False, [(b"x" * LINE, LINE + 1, False)], id="the_longest_line"),
        pytest.param(b"x" * LINE, False, [], id="the_longest_unfinished_line"),
        pytest.param(b"x" * (LINE + 1), False, [(b"x" * LINE, LINE, True)], id="a_byte_more_is_a_piece"),
        pytest.param(b"x" * (LINE + 1), True, [(b"x" * LINE, LINE, True)], id="also_at_the_end_of_the_file"),
        pytest.param(
            b"x" * (LINE - 1) + "ü".encode(), False, [(b"x" * (LINE - 1), LINE - 1, True)], id="between_two_characters"
        ),
        pytest.param(b"\x80" * (LINE + 1), False, [(b"\x80" * LINE, LINE, True)], id="no_utf8_at_all"),
        pytest.param(
            b"a\n" + b"x" * (LINE - 1), True, [(b"a", 2, False)], id="what_is_full_may_not_be_the_end_of_the_file"
        ),
        pytest.param(
            b"\n" * (LINES + 5), True, [(b"", stop, False) for stop in range(1, LINES + 1)], id="many_lines_in_turns"
        ),
    ],
)
def test_lines_are_split(data: bytes, to_the_end: bool, expected: list[tuple[bytes, int, bool]]) -> None:
    assert split_lines(data, to_the_end=to_the_end) == expected


@pytest.mark.parametrize(
    ("content", "count", "rest"),
    [
        pytest.param(b"", 0, b"", id="empty_file"),
        pytest.param(b"a\nb\nc\n", 0, b"", id="from_now_on"),
        pytest.param(b"a\nb\nc\n", 2, b"b\nc\n", id="two_lines"),
        pytest.param(b"a\nb\nc\n", 3, b"a\nb\nc\n", id="as_many_as_there_are"),
        pytest.param(b"a\nb\nc\n", 9, b"a\nb\nc\n", id="more_than_there_are"),
        pytest.param(b"a\nb\nhalf", 0, b"half", id="an_unfinished_line_is_still_to_come"),
        pytest.param(b"a\nb\nhalf", 1, b"b\nhalf", id="and_is_not_counted"),
        pytest.param(b"half", 0, b"half", id="only_an_unfinished_line"),
        pytest.param(b"\n\n\n", 2, b"\n\n", id="empty_lines"),
        pytest.param(b"a\n" + b"x" * 200_000 + b"\nb\n", 2, b"x" * 200_000 + b"\nb\n", id="over_several_blocks"),
    ],
)
async def test_the_last_lines_are_found(tmp_path: Path, content: bytes, count: int, rest: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    file = opened(path)
    assert content[await last_lines(file, count) :] == rest
    file.close()


@pytest.mark.parametrize(
    ("end", "offset_from_end"),
    [pytest.param(b"\nlast\nhalf", 4, id="end"), pytest.param(b"x" * 100, 0, id="no_newline_far_and_wide")],
)
async def test_a_file_of_50_gb_is_not_searched_through(
    tmp_path: Path, end: bytes, offset_from_end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "file", []
    with path.open("wb") as sparse:
        sparse.seek(50 * 10**9)
        sparse.write(end)
    reading = OpenFile.read

    async def counted(self: OpenFile, offset: int, count: int) -> bytes:
        read.append(count)
        return await reading(self, offset, count)

    monkeypatch.setattr(OpenFile, "read", counted)
    file = opened(path)
    assert file.status.size - await last_lines(file, 0) == offset_from_end
    assert sum(read) <= LOOK_BACK
    file.close()


async def read_all(reader: LineReader) -> list[Line]:
    lines = []
    while batch := await reader.read():
        lines += batch
    return lines


_TEXTS = st.lists(st.binary(max_size=40).filter(lambda text: b"\n" not in text and not text.endswith(b"\r")))


@given(texts=_TEXTS, cuts=st.lists(st.integers(1, 60)))
def test_however_a_file_grows_and_wherever_one_goes_on_its_lines_are_the_same(
    texts: list[bytes], cuts: list[int]
) -> None:
    content = b"".join(text + b"\n" for text in texts)

    async def check(path: Path) -> None:
        path.touch()
        file = opened(path)
        growing, lines = LineReader(file, b"", 0), []
        with path.open("ab", buffering=0) as end:
            written = 0
            for cut in [*cuts, len(content)]:
                end.write(content[written : written + cut])
                written += cut
                lines += await read_all(growing)
        assert [line.text for line in lines] == texts
        for number, line in enumerate(lines):
            resumed = LineReader(file, content[:HEAD], line.position.offset)
            assert resumed.position == line.position
            assert await read_all(resumed) == lines[number + 1 :]
        file.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder, "file")))


@pytest.mark.parametrize("text", ["x" * 200_000, "ü\N{CLAPPER BOARD}" * 50_000, "x" * 2 * LINE])
async def test_the_pieces_of_a_long_line_make_it_up(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(f"{text}\nnext\n")
    file = opened(path)
    lines = await read_all(LineReader(file, b"", 0))
    file.close()
    *pieces, last, following = lines
    assert "".join(line.text.decode() for line in (*pieces, last)) == text
    assert [line.is_part for line in lines] == [*[True] * len(pieces), False, False]
    assert all(len(line.text) <= LINE for line in lines)
    assert following.text == b"next"


@pytest.mark.parametrize("left", [pytest.param(1, id="with_a_rest"), pytest.param(0, id="cut_at_a_piece_s_end")])
async def test_a_long_line_that_ends_with_its_file_gets_a_last_piece_once(tmp_path: Path, left: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (LINE + 1))
    file = opened(path)
    reader = LineReader(file, b"", 0)
    assert [line.is_part for line in await reader.read(to_the_end=True) or ()] == [True]
    os.truncate(path, LINE + left)
    assert [(line.text, line.is_part) for line in await reader.read(to_the_end=True) or ()] == [(b"x" * left, False)]
    assert await reader.read(to_the_end=True) == []
    file.close()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"old\n", id="shorter"),
        pytest.param(b"new line\n", id="as_long_and_another"),
        pytest.param(b"new and longer\n" * 100, id="longer_and_another"),
    ],
)
async def test_content_that_was_cut_is_noticed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old line\n")
    file = opened(path)
    reader = LineReader(file, b"", 0)
    await reader.read()
    path.write_bytes(content)
    assert await reader.read() is None
    file.close()


async def test_content_that_was_cut_behind_its_first_bytes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * HEAD + b"\nanother\n")
    file = opened(path)
    reader = LineReader(file, b"", 0)
    await reader.read()
    os.truncate(path, HEAD + 1)
    assert await reader.read() is None
    file.close()
