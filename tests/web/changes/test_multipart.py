"""Forms taken apart: whole, byte by byte, with anything behind them; what is too large or no form ends in one error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileserve.web.changes import multipart
from fileserve.web.changes.multipart import (
    Event,
    Field,
    FileBegins,
    FileData,
    FileEnds,
    FormEnds,
    FormError,
    FormParser,
    boundary_of,
)

BOUNDARY = b"----boundary"


def part(head: str, data: bytes) -> bytes:
    return b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (BOUNDARY, head.encode(), data)


END = b"--%b--\r\n" % BOUNDARY
FORM = (
    part('name="before"', b"1")
    + part('name="file"; filename="a.txt"', b"first\r\n--not the boundary\r\n")
    + part('name="file"; filename="b"', b"")
    + part('name="after"', b"2\r\n")
    + END
)
EVENTS = [
    Field("before", b"1"),
    FileBegins(b"a.txt"),
    b"first\r\n--not the boundary\r\n",
    FileEnds(),
    FileBegins(b"b"),
    b"",
    FileEnds(),
    Field("after", b"2\r\n"),
    FormEnds(),
]


def joined(events: list[Event]) -> list[Event | bytes]:
    """Return the events with the data of each file in one piece."""
    found: list[Event | bytes] = []
    for event in events:
        if isinstance(event, FileData) and isinstance(found[-1], bytes):
            found[-1] += bytes(event.data)
        elif not isinstance(event, FileData):
            found.append(event)
        if isinstance(event, FileBegins):
            found.append(b"")
    return found


def parse(content: bytes, size: int) -> list[Event | bytes]:
    parser = FormParser(BOUNDARY)
    events = [event for at in range(0, len(content), size) for event in parser.feed(content[at : at + size])]
    return joined(events)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, len(FORM)])
@pytest.mark.parametrize("behind", [b"", b"\r\n", b"epilogue", FORM], ids=["nothing", "line_end", "words", "form"])
def test_a_form_is_the_same_in_any_pieces(size: int, behind: bytes) -> None:
    assert parse(FORM + behind, size) == EVENTS


@given(
    contents=st.lists(
        st.binary(max_size=60) | st.sampled_from([b"\r\n--" + BOUNDARY[:-1], b"\r\n--", b"\r"]), max_size=4
    ),
    size=st.integers(1, 40),
)
def test_any_content_passes_unchanged(contents: list[bytes], size: int) -> None:
    form = b"".join(part(f'name="f"; filename="{number}"', data) for number, data in enumerate(contents)) + END
    assert [event for event in parse(form, size) if isinstance(event, bytes)] == contents


@given(st.binary(max_size=300), st.integers(1, 300))
def test_anything_is_a_form_or_an_error(content: bytes, size: int) -> None:
    for beginning in (b"", b"--" + BOUNDARY, FORM[:60], FORM[:150]):
        try:
            events = parse(beginning + content, size)
        except FormError:
            continue
        data = sum(len(event) for event in events if isinstance(event, bytes))
        assert data <= len(beginning) + len(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"no boundary", "malformed", id="no_boundary"),
        pytest.param(b"--" + BOUNDARY + b"x", "malformed", id="something_behind_the_boundary"),
        pytest.param(b"--" + BOUNDARY + b"\r\nbad header\r\n\r\n", "malformed", id="header_without_a_colon"),
        pytest.param(b"--" + BOUNDARY + b"\r\n\r\ndata\r\n" + END, "no name", id="part_without_a_head"),
        pytest.param(part('filename="a"', b""), "no name", id="file_without_a_field_s_name"),
        pytest.param(part('name="a', b""), "no name", id="quote_that_does_not_end"),
        pytest.param(
            b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; name=a\r\n\r\n", "no name", id="other_disposition"
        ),
        pytest.param(part('name="' + "a" * 5000 + '"', b""), "malformed", id="header_too_large"),
        pytest.param(b"--" + BOUNDARY + b"\r\n" + b"a: b\r\n" * 9, "malformed", id="too_many_headers"),
        pytest.param(part('name="a"', bytes(multipart.FIELD_BYTES + 1)), "field", id="field_too_large"),
        pytest.param(part('name="a"', b"") * (multipart.MOST_PARTS + 1), "parts", id="too_many_parts"),
        pytest.param(FORM + bytes(2 * multipart.EPILOGUE_BYTES), "follows", id="endless_epilogue"),
    ],
)
@pytest.mark.parametrize("size", [1, 4096])
def test_what_is_no_form_or_too_large_is_one_error(content: bytes, words: str, size: int) -> None:
    with pytest.raises(FormError, match=words):
        parse(content, size)


@pytest.mark.parametrize(
    ("head", "filename"),
    [
        pytest.param('name=f; filename="a b.txt"', b"a b.txt", id="quoted_7578_4_2"),
        pytest.param("name=f; filename=a.txt", b"a.txt", id="token"),
        pytest.param('NAME=f; FileName="a.txt"', b"a.txt", id="names_have_no_case"),
        pytest.param('filename="a.txt"; name=f', b"a.txt", id="in_any_order"),
        pytest.param('name=f; filename="na\u00efve.txt"', "na\u00efve.txt".encode(), id="utf8"),
        pytest.param('name=f; filename="say %22hi%22.txt"', b'say "hi".txt', id="quotes_of_browsers"),
        pytest.param('name=f; filename="say \\"hi\\".txt"', b'say "hi".txt', id="quotes_of_other_clients"),
        pytest.param('name=f; filename="a%0D%0Ab"', b"a\r\nb", id="line_end_of_browsers"),
        pytest.param('name=f; filename="50%25.txt"', b"50%25.txt", id="other_escapes_are_text"),
        pytest.param('name=f; filename="a\\b.txt"', b"a\\b.txt", id="backslash_of_browsers"),
        pytest.param('name=f; filename="C:\\dir\\a.txt"', b"a.txt", id="path_of_windows"),
        pytest.param('name=f; filename="\\\\host\\share\\a.txt"', b"a.txt", id="unc_path"),
        pytest.param('name=f; filename="../../etc/passwd"', b"passwd", id="climbing"),
        pytest.param('name=f; filename="/etc/passwd"', b"passwd", id="absolute"),
        pytest.param('name=f; filename="dir/"', b"", id="folder"),
        pytest.param('name=f; filename=""', b"", id="empty"),
        pytest.param("name=f; filename=\"a\"; filename*=UTF-8''b", b"a", id="extended_is_ignored_7578_4_2"),
        pytest.param('name=f; filename="a"; filename="b"', b"a", id="the_first_counts"),
    ],
)
def test_a_file_has_the_base_name_that_the_client_means(head: str, filename: bytes) -> None:
    assert parse(part(head, b"") + END, 1000)[0] == FileBegins(filename)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        pytest.param("multipart/form-data; boundary=abc", b"abc", id="token"),
        pytest.param('Multipart/Form-Data ; charset=utf-8; Boundary="a b"', b"a b", id="quoted"),
        pytest.param(
            "multipart/form-data; boundary=----WebKitFormBoundaryX", b"----WebKitFormBoundaryX", id="chromium"
        ),
        pytest.param("multipart/form-data", None, id="without_a_boundary"),
        pytest.param("multipart/form-data; boundary=", None, id="empty"),
        pytest.param("multipart/form-data; boundary=" + "a" * 71, None, id="more_than_70_characters_2046_5_1_1"),
        pytest.param('multipart/form-data; boundary="a "', None, id="space_at_the_end_2046_5_1_1"),
        pytest.param('multipart/form-data; boundary="a\r\nb"', None, id="line_end"),
        pytest.param("multipart/mixed; boundary=abc", None, id="other_type"),
        pytest.param("application/x-www-form-urlencoded", None, id="plain_form"),
        pytest.param("", None, id="no_field"),
        pytest.param("multipart/form-data" + "; a=b" * 10_000 + "; boundary=abc", b"abc", id="many_parameters"),
    ],
)
def test_the_boundary_is_read_from_the_content_type(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
