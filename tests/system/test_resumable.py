"""Uploads that go on after a break, with tuspy and curl, over real kills, two workers and a really full disk."""

import base64
import http.client
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.system.clients import run_client
from tests.system.samples import MIB, Sample, digest
from tests.system.uploading import KILLS, OPTIONS, begin_request, left_in, moments_of, small_disk
from tests.tools import Running, serving, wait_until

pytestmark = [pytest.mark.system, pytest.mark.alone]

SPOKEN = {"Tus-Resumable": "1.0.0"}
BYTES = {**SPOKEN, "Content-Type": "application/offset+octet-stream"}


def metadata(filename: str) -> str:
    return f"filename {base64.b64encode(filename.encode()).decode()}"


Content = bytes | Iterator[bytes]


def ask(server: Running, method: str, url: str, content: Content | None = None, /, **fields: str) -> tuple[int, Any]:
    """Send one request over a connection of its own, in chunks where its length is not known; return status, fields."""
    connection = http.client.HTTPConnection(server.url.rpartition("//")[2], timeout=20)
    try:
        sent = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, url, content, (SPOKEN if content is None else BYTES) | sent)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def begin(server: Running, filename: str, length: int) -> str:
    status, fields = ask(server, "POST", "/uploads", Upload_Length=str(length), Upload_Metadata=metadata(filename))
    assert status == 201
    return str(fields["location"])


def offset_of(server: Running, url: str) -> int:
    status, fields = ask(server, "HEAD", url)
    assert status == 200
    return int(fields["upload-offset"])


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("checked", [False, True], ids=["plain", "with_checksums"])
def test_tuspy_uploads_in_pieces_and_resumes_after_a_break(
    workers: str, checked: bool, root: Path, source: Sample
) -> None:
    with serving(root, *OPTIONS, "--workers", workers) as server, source.path.open("rb") as content:
        client = TusClient(f"{server.url}/uploads")
        options = {"metadata": {"filename": "new"}, "chunk_size": MIB, "upload_checksum": checked}
        first = client.uploader(file_stream=content, **options)
        first.upload(stop_at=2 * MIB)
        assert left_in(root) != ["new"]
        again = client.uploader(file_stream=content, url=first.url, **options)  # one that knows the URL alone
        assert again.offset == 2 * MIB
        again.upload()
        assert left_in(root) == ["new"]
        assert digest(root / "new") == source.digest


def test_tuspy_resumes_where_its_server_was_killed(root: Path, source: Sample) -> None:
    with source.path.open("rb") as content:
        with serving(root, *OPTIONS) as server:
            client = TusClient(f"{server.url}/uploads")
            uploader = client.uploader(file_stream=content, metadata={"filename": "new"}, chunk_size=MIB)
            uploader.upload(stop_at=MIB)
            server.process.kill()
            server.process.wait()
            with pytest.raises(TusCommunicationError):
                uploader.upload()
        with serving(root, *OPTIONS, port=int(server.url.rpartition(":")[2])):
            again = client.uploader(file_stream=content, url=uploader.url, chunk_size=MIB)
            assert again.offset == MIB
            again.upload()
    assert digest(root / "new") == source.digest


def test_curl_speaks_it_by_hand(root: Path, source: Sample, tmp_path: Path) -> None:
    curl = ("curl", "-sS", "-D", "-", "-o", os.devnull, "-H", "Tus-Resumable: 1.0.0")
    begins = ("-X", "POST", "-H", f"Upload-Length: {source.size}", "-H", f"Upload-Metadata: {metadata('new')}")
    sends = ("-X", "PATCH", "-H", "Content-Type: application/offset+octet-stream", "-T", str(source.path))
    with serving(root, *OPTIONS) as server:
        begun = run_client(*curl, *begins, f"{server.url}/uploads", folder=tmp_path).stdout
        url = server.url + next(line.split()[1] for line in begun.splitlines() if line.lower().startswith("location:"))
        refused = run_client(*curl, *sends, "-H", "Upload-Offset: 7", url, folder=tmp_path).stdout
        assert refused.startswith("HTTP/1.1 409")  # and no 100 before it
        ended = run_client(*curl, *sends, "-H", "Upload-Offset: 0", url, folder=tmp_path).stdout
        assert ended.startswith("HTTP/1.1 100")
        assert "content-location: /download/new" in ended.lower()
    assert digest(root / "new") == source.digest


def send_part(server: Running, url: str, offset: int, content: bytes, sent: int) -> socket.socket:
    """Begin a PATCH with *content*, send so many bytes of it, and return the connection."""
    fields = {**BYTES, "Upload-Offset": str(offset), "Content-Length": str(len(content))}
    return begin_request(server, "PATCH", url, fields, content[:sent])


def test_a_server_killed_at_any_moment_tells_a_true_offset_and_the_upload_goes_on(root: Path) -> None:
    """What is told is there and right, never less than was told before and never more than was sent.

    The rest arrives, and nothing is left after the next start and the expiry. Every moment falls in the upload, which
    goes on from one server to the next: the moments behind its last byte come last.
    """
    content = os.urandom(3 * MIB + 7)
    url, told, most = "", 0, 0
    for sent, pause_s in moments_of(len(content), KILLS, seed=6):
        with serving(root, *OPTIONS) as server:
            url = url or begin(server, "new", len(content))
            told = check_offset(server, root, url, content, told, most)
            with send_part(server, url, told, content[told:], max(0, sent - told)):
                most = max(most, sent)
                time.sleep(pause_s)
                server.process.kill()
                server.process.wait(20)
        assert sent == len(content) or not (root / "new").exists()
    with serving(root, *OPTIONS) as server:
        rest = check_offset(server, root, url, content, told, most)
        if rest < len(content):
            assert ask(server, "PATCH", url, content[rest:], Upload_Offset=str(rest))[0] == 204
        assert (root / "new").read_bytes() == content
    left = begin_and_leave(root)
    with serving(root, *OPTIONS, "--upload-expiry", "0.5"):
        assert wait_until(lambda: left_in(root) == ["new"], timeout_s=20), left


def check_offset(server: Running, root: Path, url: str, content: bytes, least: int, most: int) -> int:
    """Ask for the offset, look at the file whether it is true, and return it."""
    offset = offset_of(server, url)
    assert least <= offset <= most
    if offset == len(content):
        assert left_in(root) == ["new"]
        assert (root / "new").read_bytes() == content
    else:
        (hidden,) = root.glob(".fileserve-tus-*")
        assert hidden.read_bytes()[:offset] == content[:offset]
        assert not (root / "new").exists()
    return offset


def begin_and_leave(root: Path) -> list[str]:
    """Begin an upload that lasts for half a second, kill the server, and return what is there then."""
    with serving(root, *OPTIONS, "--upload-expiry", "0.5") as server:
        begin(server, "left", 10)
        server.process.kill()
    return left_in(root)


def test_of_two_writers_over_two_workers_one_is_told_to_wait(root: Path) -> None:
    """One of them sends slowly; the others come to whichever worker."""
    content = os.urandom(MIB)
    with serving(root, *OPTIONS, "--workers", "2") as server:
        url = begin(server, "new", MIB)
        (hidden,) = root.glob(".fileserve-tus-*")
        with send_part(server, url, 0, content, MIB - 9) as slow:
            assert wait_until(lambda: hidden.stat().st_size > 0, timeout_s=10)
            for number in range(8):
                assert ask(server, "PATCH", url, content, Upload_Offset="0")[0] == 423
                slow.sendall(content[MIB - 9 + number : MIB - 8 + number])  # it is not silent
            slow.sendall(content[MIB - 1 :])
            assert slow.recv(100).startswith(b"HTTP/1.1 204")
    assert (root / "new").read_bytes() == content


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_client_whose_network_was_swallowed_goes_on_at_once(workers: str, root: Path) -> None:
    """Its old connection stays open and silent, and the server would wait for a minute; the new one is not refused."""
    content, arrived = os.urandom(3 * MIB), 2 * MIB + 5
    with serving(root, *OPTIONS, "--workers", workers) as server, ExitStack() as stack:
        urls = [begin(server, f"new-{number}", len(content)) for number in range(4)]
        swallowed = [stack.enter_context(send_part(server, url, 0, content, arrived)) for url in urls]
        time.sleep(3)  # the silence is the thing tested
        for number, url in enumerate(urls):  # whichever worker has the old connection, and takes the new one
            if number % 2:
                assert offset_of(server, url) <= arrived
            status, fields = ask(server, "PATCH", url, b"", Upload_Offset="1")
            assert (status, fields["upload-offset"]) == (409, str(arrived))
            assert ask(server, "PATCH", url, content[arrived:], Upload_Offset=str(arrived))[0] == 204
            with suppress(ConnectionResetError):
                assert swallowed[number].recv(100) == b""
            assert (root / f"new-{number}").read_bytes() == content
        assert "Traceback" not in server.log.read_text()


def test_a_client_that_sends_too_slowly_is_told_and_loses_nothing(root: Path) -> None:
    content = os.urandom(MIB)
    with serving(root, *OPTIONS, "--stall-timeout", "1") as server:
        url = begin(server, "new", MIB)
        with send_part(server, url, 0, content, MIB // 2 + 3) as slow:
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert offset_of(server, url) == MIB // 2 + 3
        assert ask(server, "PATCH", url, content[MIB // 2 + 3 :], Upload_Offset=str(MIB // 2 + 3))[0] == 204
    assert (root / "new").read_bytes() == content


def test_parts_that_were_sent_at_once_to_two_workers_are_put_together(root: Path, source: Sample) -> None:
    content = source.path.read_bytes()
    cuts = [content[start : start + MIB] for start in range(0, len(content), MIB)]
    with serving(root, *OPTIONS, "--workers", "2") as server, ThreadPoolExecutor(4) as clients:

        def send(part: bytes) -> str:
            status, fields = ask(server, "POST", "/uploads", Upload_Length=str(len(part)), Upload_Concat="partial")
            assert status == 201
            assert ask(server, "PATCH", fields["location"], part, Upload_Offset="0")[0] == 204
            return str(fields["location"])

        final = "final;" + " ".join(clients.map(send, cuts))
        status, _ = ask(server, "POST", "/uploads", Upload_Concat=final, Upload_Metadata=metadata("new"))
        assert status == 201
    assert left_in(root) == ["new"]
    assert digest(root / "new") == source.digest


def test_a_full_disk_is_507_and_the_offset_is_true(tmp_path: Path) -> None:
    """What is known to be too long is refused before it is read; of other content what fits is kept, and goes on."""
    content = os.urandom(20 * MIB)
    with small_disk("16M") as disk, serving(disk, *OPTIONS) as server:
        known = {"Upload_Length": str(len(content)), "Upload_Metadata": metadata("new")}
        assert ask(server, "POST", "/uploads", **known)[0] == 507
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(12 * MIB))
        deferred = {"Upload_Defer_Length": "1", "Upload_Metadata": metadata("new")}
        url = ask(server, "POST", "/uploads", **deferred)[1]["location"]
        with suppress(OSError):  # the answer may come while content is still being sent
            assert ask(server, "PATCH", url, content[: 8 * MIB], Upload_Offset="0")[0] == 507
        assert offset_of(server, url) == 0
        with suppress(OSError):
            chunks = (content[at : at + MIB] for at in range(0, 8 * MIB, MIB))
            assert ask(server, "PATCH", url, chunks, Upload_Offset="0")[0] == 507
        assert wait_until(lambda: ask(server, "PATCH", url, b"", Upload_Offset="1")[0] == 409, timeout_s=10)
        offset = offset_of(server, url)
        assert 0 < offset <= 4 * MIB
        ballast.unlink()
        rest = content[offset : 8 * MIB]
        status, _ = ask(server, "PATCH", url, rest, Upload_Offset=str(offset), Upload_Length=str(8 * MIB))
        assert status == 204
        assert (disk / "new").read_bytes() == content[: 8 * MIB]
