"""``/download/{path}`` in process: what is planned is what is sent, for every name."""

import os
from email.message import Message as Fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileserve import Settings
from fileserve.semantics.ranges import select_spans
from tests.asgi import Client, client_of
from tests.web.conftest import DIGITS, LARGE

URL = "/download/digits.txt"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param("digits.txt", DIGITS, id="plain"),
        pytest.param("folder/inner.txt", b"inner", id="in_a_folder"),
        pytest.param("empty", b"", id="empty"),
        pytest.param("large.bin", LARGE, id="several_chunks"),
        pytest.param("with%20space%20%22quote%22%20'single'%20&%20%3Cangle%3E.txt", b"quotes", id="quotes"),
        pytest.param("new%0Aline.txt", b"newline", id="newline"),
        pytest.param("back%5Cslash", b"backslash", id="backslash_encoded"),
        pytest.param("back\\slash", b"backslash", id="backslash_as_it_is"),
        pytest.param("not-utf8-%FF", b"bytes", id="a_byte_that_is_no_utf8"),
        pytest.param("emoji-%F0%9F%98%80.txt", b"emoji", id="emoji"),
        pytest.param("%64igits.txt", DIGITS, id="an_escape_that_needs_none"),
    ],
)
async def test_every_name_can_be_fetched(client: Client, path: str, content: bytes) -> None:
    answer = await client.get("/download/" + path)
    assert (answer.status, answer.content, answer.finished) == (200, content, True)
    assert answer["content-length"] == str(len(content))
    head = await client.request("HEAD", "/download/" + path)
    assert (head.status, head.content, head.fields) == (200, b"", answer.fields)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("absent", 404, id="absent"),
        pytest.param("digits.txt/", 404, id="trailing_slash_on_a_file"),
        pytest.param("digits.txt/x", 404, id="beneath_a_file"),
        pytest.param("folder", 404, id="directory"),
        pytest.param("folder/", 404, id="directory_with_slash"),
        pytest.param("", 404, id="root"),
        pytest.param("../etc/passwd", 400, id="dots"),
        pytest.param("%2e%2e/etc/passwd", 400, id="encoded_dots"),
        pytest.param("folder/../digits.txt", 400, id="dots_that_stay_inside"),
        pytest.param("..%2fetc%2fpasswd", 400, id="encoded_slash"),
        pytest.param("%252e%252e/etc/passwd", 404, id="encoded_twice_is_decoded_once"),
        pytest.param("/etc/passwd", 400, id="absolute"),
        pytest.param("digits.txt%00.png", 400, id="nul"),
        pytest.param("%zz", 400, id="broken_escape"),
        pytest.param("digits.txt%", 400, id="cut_escape"),
        pytest.param("x" * 256, 404, id="component_too_long"),
        pytest.param("/".join(["x" * 200] * 40), 404, id="name_too_long"),
        pytest.param(".hidden", 404, id="hidden"),
        pytest.param("leaving", 404, id="link_that_leaves"),
        pytest.param("fifo", 403, id="fifo"),
    ],
)
async def test_what_cannot_be_served_is_a_problem_that_tells_nothing_of_the_server(
    client: Client, served_root: Path, path: str, status: int
) -> None:
    answer = await client.get("/download/" + path)
    assert (answer.status, answer["content-type"]) == (status, "application/problem+json")
    assert os.fsencode(served_root) not in answer.content
    assert b"Traceback" not in answer.content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_another_method_is_405_with_allow(client: Client, method: str) -> None:
    answer = await client.request(method, URL)
    assert (answer.status, answer["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("fields", "status", "content"),
    [
        pytest.param({"range": "bytes=0-3"}, 206, b"0123", id="range"),
        pytest.param({"range": "bytes=-3"}, 206, b"789", id="suffix"),
        pytest.param({"range": "bytes=4-99"}, 206, b"456789", id="clamped"),
        pytest.param({"range": "bytes=10-"}, 416, b"", id="nothing_left"),
        pytest.param({"range": "lines=1-2"}, 200, DIGITS, id="unknown_unit"),
        pytest.param({"range": "bytes=0-3", "if-range": '"stale"'}, 200, DIGITS, id="stale_if_range"),
        pytest.param({"if-match": '"stale"'}, 412, b"", id="stale_if_match"),
        pytest.param({"if-match": "*"}, 200, DIGITS, id="any_if_match"),
        pytest.param({"if-none-match": "*"}, 304, b"", id="any_if_none_match"),
        pytest.param({"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412, b"", id="modified_since_1970"),
        pytest.param({"if-modified-since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304, b"", id="not_modified_since"),
    ],
)
async def test_fields_are_obeyed(client: Client, fields: dict[str, str], status: int, content: bytes) -> None:
    answer = await client.get(URL, fields)
    assert (answer.status, answer.content, answer.finished) == (status, content, True)


async def test_a_resume_with_the_validators_of_the_first_answer_gets_the_rest(client: Client) -> None:
    first = await client.get(URL)
    for name, validator in [("if-range", "etag"), ("if-range", "last-modified"), ("if-match", "etag")]:
        rest = await client.get(URL, {"range": "bytes=4-", name: first[validator]})
        assert (rest.status, rest.content, rest["content-range"]) == (206, b"456789", "bytes 4-9/10")


async def test_a_replaced_file_is_never_mixed_with_the_old_one(client: Client, served_root: Path) -> None:
    etag = (await client.get(URL))["etag"]
    (served_root / "new").write_bytes(b"abcdefghij")
    (served_root / "new").rename(served_root / "digits.txt")
    whole = await client.get(URL, {"range": "bytes=4-", "if-range": etag})
    assert (whole.status, whole.content) == (200, b"abcdefghij")
    refused = await client.get(URL, {"range": "bytes=4-", "if-match": etag})
    assert (refused.status, refused.content) == (412, b"")


async def test_an_entity_tag_survives_a_hard_link_and_a_chmod(client: Client, served_root: Path) -> None:
    before = await client.get(URL)
    (served_root / "link").hardlink_to(served_root / "digits.txt")
    (served_root / "digits.txt").chmod(0o400)
    assert (await client.get(URL))["etag"] == before["etag"]


async def test_a_file_just_written_has_a_weak_entity_tag_of_another_text(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, weak_etag_ms=10**9)) as client:
        weak = (await client.get(URL))["etag"]
    async with client_of(Settings(root=served_root, weak_etag_ms=0)) as client:
        strong = (await client.get(URL))["etag"]
    assert weak.startswith('W/"')
    assert strong.startswith('"')
    assert strong[1:-1] != weak[3:-1]


async def test_portable_entity_tags_are_the_same_for_replicas(served_root: Path, tmp_path: Path) -> None:
    replica = tmp_path / "replica"
    replica.mkdir()
    (replica / "digits.txt").write_bytes(DIGITS)
    status = (served_root / "digits.txt").stat()
    os.utime(replica / "digits.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    tags = []
    for root in (served_root, replica):
        async with client_of(Settings(root=root, etag="portable", weak_etag_ms=0)) as client:
            tags.append((await client.get(URL))["etag"])
    assert tags[0] == tags[1]


async def test_hidden_names_are_served_when_asked_for(served_root: Path) -> None:
    async with client_of(Settings(root=served_root, hidden=True)) as client:
        assert (await client.get("/download/.hidden")).content == b"hidden"


async def test_inline_is_sandboxed(client: Client) -> None:
    answer = await client.get("/download/page.html?disposition=inline")
    assert answer["content-disposition"].startswith("inline")
    assert answer["content-security-policy"] == "sandbox"
    assert answer["x-content-type-options"] == "nosniff"
    assert (await client.get(URL + "?disposition=evil")).status == 422


async def test_a_compressed_tar_is_a_gzip_file_without_content_coding(client: Client) -> None:
    answer = await client.get("/download/archive.tar.gz")
    assert answer["content-type"] == "application/gzip"
    assert "content-encoding" not in answer.fields


async def test_a_directory_links_to_its_page_and_listing(client: Client) -> None:
    client.root_path = "/files"
    answer = await client.get("/download/folder")
    assert b'"page": "/files/browse/folder/"' in answer.content
    assert b'"listing": "/files/api/files/folder"' in answer.content


async def test_a_prefix_that_the_proxy_left_in_the_path_is_taken_off(client: Client) -> None:
    client.root_path = "/files"
    assert (await client.get("/files" + URL)).content == DIGITS


async def test_last_modified_is_never_later_than_now(client: Client, served_root: Path) -> None:
    os.utime(served_root / "digits.txt", (2**32, 2**32))
    assert "2106" not in (await client.get(URL))["last-modified"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    value=st.one_of(
        st.from_regex(r"bytes=[0-9 ,\t-]{0,30}", fullmatch=True),
        st.lists(st.from_regex(r"[0-9]{0,7}-[0-9]{0,7}", fullmatch=True), max_size=6).map(
            lambda specs: "bytes=" + ",".join(specs)
        ),
        st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20),
    )
)
async def test_for_any_range_the_bytes_sent_are_the_slices_asked_for(client: Client, value: str) -> None:
    answer = await client.get("/download/large.bin", {"range": value})
    assert answer.finished
    assert answer["content-length"] == str(len(answer.content))
    spans = select_spans(value.strip(" \t"), len(LARGE), part_head_length=128)
    if spans is None:
        assert (answer.status, answer.content) == (200, LARGE)
    elif not spans:
        assert (answer.status, answer.content) == (416, b"")
    elif len(spans) == 1:
        assert (answer.status, answer.content) == (206, LARGE[spans[0].start : spans[0].stop])
    else:
        assert parts(answer.content, answer["content-type"]) == [LARGE[span.start : span.stop] for span in spans]


def parts(content: bytes, content_type: str) -> list[bytes]:
    """Read ``multipart/byteranges`` by its framing alone (RFC 2046 §5.1.1): the lengths come from Content-Range."""
    fields = Fields()
    fields["content-type"] = content_type
    delimiter = b"--" + str(fields.get_param("boundary")).encode()
    found = []
    at = content.index(delimiter)
    while not content.startswith(delimiter + b"--", at):
        head_end = content.index(b"\r\n\r\n", at) + 4
        head = content[at:head_end].decode("latin-1").lower()
        first, last = head.partition("content-range: bytes ")[2].partition("/")[0].split("-")
        end = head_end + int(last) - int(first) + 1
        found.append(content[head_end:end])
        assert content.startswith(b"\r\n" + delimiter, end)
        at = end + 2
    return found
