"""Downloads that the real nginx sends by itself: the same answers, to the byte, as without it."""

import http.client
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest

from tests.hostile import MALFORMED, STRANGE
from tests.storage.conftest import AWKWARD
from tests.system.clients import run_client
from tests.system.nginx import Nginx, nginx
from tests.system.samples import MIB, digest, make_sample
from tests.system.test_metrics import metrics_of
from tests.tools import Running, serving

pytestmark = pytest.mark.system

CONFIGURATION = "fileserve-accel.conf"
MODIFIED_S = 1_700_000_000
LAST_MODIFIED = formatdate(MODIFIED_S, usegmt=True)
LARGE = 3 * MIB + 7
ID = "0" * 32  # as long as nginx's, which stands in its place, in problem documents too
OPTIONS = ("--trusted-proxies", "127.0.0.1", "--accel-redirect", "/_files/")
ON_THE_WAY = frozenset(("connection", "date", "server", "x-accel-buffering", "x-request-id"))  # nginx keeps the fourth


@dataclass(frozen=True)
class Answer:
    """What came back; of fields that only say how it came, nothing."""

    status: int
    fields: Mapping[str, list[str]]
    content: bytes


@contextmanager
def in_front_of(server: Running, root: Path, folder: str = "") -> Iterator[Nginx]:
    """Run nginx with the configuration, for the files of *root*, or, where that is given, of another *folder*."""
    with nginx(CONFIGURATION, server.url, changes={"/srv/files/": f"{folder or root}/"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with all kinds of files and links."""
    root = tmp_path_factory.mktemp("accel") / "root"
    (root / "folder").mkdir(parents=True)
    content = os.urandom(LARGE)
    for name in ("large.bin", "page.html", "folder/in.gz", "future", "ancient", ".hidden", "no-permission"):
        (root / name).write_bytes(content)
    (root / "small.txt").write_bytes(b"0123456789")
    (root / "empty").write_bytes(b"")
    for path in [path for path in root.rglob("*") if path.is_file()]:
        os.utime(path, (MODIFIED_S, MODIFIED_S))
    os.utime(root / "future", (time.time() + 86400,) * 2)
    os.utime(root / "ancient", (-1000, -1000))
    (root / "folder" / "link").symlink_to("../large.bin")
    (root / "link-hidden").symlink_to(".hidden")
    (root / "link-folder").symlink_to(f"{root}/folder")
    (root / "leaving").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Running]:
    with serving(root, *OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Running, root: Path) -> Iterator[Nginx]:
    with in_front_of(server, root) as running:
        yield running


def ask(url: str, path: str, fields: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, headers={"Host": "files.example", "X-Request-ID": ID, **(fields or {})})
        response = connection.getresponse()
        content = response.read().replace((response.getheader("x-request-id") or ID).encode(), ID.encode())
        told: dict[str, list[str]] = {}
        for name, value in response.getheaders():
            told.setdefault(name.lower(), []).append(value)
    finally:
        connection.close()
    return Answer(response.status, {name: values for name, values in told.items() if name not in ON_THE_WAY}, content)


def without_boundary(answer: Answer) -> Answer:
    """Put one boundary in place of that which is drawn for each answer."""
    found = re.search(r"boundary=(\w+)", "".join(answer.fields.get("content-type", [])))
    if found is None:
        return answer
    fields = {name: [value.replace(found[1], "B") for value in values] for name, values in answer.fields.items()}
    return Answer(answer.status, fields, answer.content.replace(found[1].encode(), b"B"))


def same(server: Running, proxy: Nginx, *request: object) -> Answer:
    """Ask both, and return the answer that they agree on."""
    direct, proxied = (without_boundary(ask(url, *request)) for url in (server.url, proxy.url))  # type: ignore[arg-type]
    assert (proxied.status, proxied.fields) == (direct.status, direct.fields)
    assert proxied.content == direct.content
    return proxied


# Fields of a request, where {etag} is the file's, and whether nginx sends the answer to a GET of the large file.
REQUESTS = [
    pytest.param({}, True, id="whole"),
    pytest.param({"Range": "bytes=0-"}, True, id="all_as_a_range"),
    pytest.param({"Range": "bytes=100000-2999999"}, True, id="range"),
    pytest.param({"Range": "bytes=1000000-99999999999"}, True, id="past_the_end"),
    pytest.param({"Range": "bytes=1000000-"}, True, id="to_the_end"),
    pytest.param({"Range": "bytes=-1000000"}, True, id="suffix"),
    pytest.param({"Range": "bytes=-99999999999"}, True, id="suffix_of_more_than_all"),
    pytest.param({"Range": "bytes=1000000-", "If-Range": "{etag}"}, True, id="if_range_that_holds"),
    pytest.param({"Range": "bytes=1000000-", "If-Range": LAST_MODIFIED}, True, id="if_range_date_that_holds"),
    pytest.param({"If-Range": '"old"'}, True, id="if_range_alone"),
    pytest.param({"Want-Repr-Digest": "sha-256=1", "Want-Digest": "sha-256"}, True, id="digests"),
    pytest.param({"Want-Repr-Digest": "sha-256=1", "Range": "bytes=5-999999"}, True, id="digest_of_the_whole_on_206"),
    pytest.param({"Accept-Encoding": "gzip, br", "TE": "trailers"}, True, id="codings"),
    pytest.param({"X-Sendfile-Type": "X-Sendfile"}, True, id="what_a_client_says_of_sending_counts_for_nothing"),
    pytest.param({"Range": "bytes=5-9"}, False, id="small_range"),
    pytest.param({"Range": "bytes=0-999999, 2000000-2099999"}, False, id="several"),
    pytest.param({"Range": "bytes=0-999999,99999999-"}, False, id="several_of_which_one_counts"),
    pytest.param({"Range": "bytes=9-5"}, False, id="malformed"),
    pytest.param({"Range": "bytes=x"}, False, id="no_range"),
    pytest.param({"Range": "bytes=-0"}, False, id="empty_suffix"),
    pytest.param({"Range": "bytes=99999999-"}, False, id="unsatisfiable"),
    pytest.param({"Range": "bytes=0-99999999999999999999999999"}, False, id="many_digits"),
    pytest.param({"Range": "items=0-5"}, False, id="unknown_unit"),
    pytest.param({"Range": "bytes=1000000-", "If-Range": '"old"'}, False, id="if_range_old"),
    pytest.param({"Range": "bytes=1000000-", "If-Range": "W/{etag}"}, False, id="if_range_weak"),
    pytest.param({"Range": "bytes=1000000-", "If-Range": formatdate(1, usegmt=True)}, False, id="if_range_old_date"),
    pytest.param({"If-Match": "{etag}"}, False, id="if_match"),
    pytest.param({"If-Match": "{etag}", "Range": "bytes=1000000-"}, False, id="if_match_and_range"),
    pytest.param({"If-Match": '"old"'}, False, id="if_match_old"),
    pytest.param({"If-Match": "*"}, False, id="if_match_any"),
    pytest.param({"If-None-Match": "{etag}"}, False, id="if_none_match"),
    pytest.param({"If-None-Match": '"old"'}, False, id="if_none_match_old"),
    pytest.param({"If-None-Match": f'"{MODIFIED_S:x}-{LARGE:x}"'}, False, id="nginx_s_own_tag"),
    pytest.param({"If-Modified-Since": LAST_MODIFIED}, False, id="if_modified_since"),
    pytest.param({"If-Modified-Since": formatdate(1, usegmt=True)}, False, id="if_modified_since_long_ago"),
    pytest.param({"If-Unmodified-Since": LAST_MODIFIED}, False, id="if_unmodified_since"),
    pytest.param({"If-Unmodified-Since": formatdate(1, usegmt=True)}, False, id="if_unmodified_since_long_ago"),
    pytest.param({"Want-Content-Digest": "sha-256=1", "Range": "bytes=0-999999"}, False, id="content_digest"),
]
FILES = [
    *("large.bin", "page.html", "page.html?disposition=inline", "folder/in.gz", "folder/link", "link-hidden"),
    *("link-folder/in.gz", "small.txt", "empty", "future", "ancient", "folder", "folder/", "absent", "large.bin/"),
    *(".hidden", "leaving", "fifo", "large.bin.sha256", "page.html?disposition=x", "../root/large.bin", ""),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("fields", "is_left"), REQUESTS)
def test_the_answer_to_any_fields_is_the_same(
    server: Running, proxy: Nginx, fields: Mapping[str, str], is_left: bool, method: str
) -> None:
    etag = ask(server.url, "/download/large.bin", {}, "HEAD").fields["etag"][0]
    ask(server.url, "/checksum/large.bin")  # from now on its digest is known to both
    filled = {name: value.replace("{etag}", etag) for name, value in fields.items()}
    before = handed_over(proxy)
    same(server, proxy, "/download/large.bin", filled, method)
    assert handed_over(proxy) - before == (is_left and method == "GET")


@pytest.mark.parametrize("fields", [{}, {"Range": "bytes=2-999999"}], ids=["whole", "range"])
@pytest.mark.parametrize("path", FILES)
def test_the_answer_for_any_file_is_the_same(
    server: Running, proxy: Nginx, path: str, fields: Mapping[str, str]
) -> None:
    for method in ("GET", "HEAD"):
        same(server, proxy, "/download/" + path, fields, method)


def test_an_archive_is_the_same(server: Running, proxy: Nginx) -> None:
    assert same(server, proxy, "/archive/folder.tar").status == 200
    assert same(server, proxy, "/archive/folder.tar", {"Range": "bytes=512-199999"}).status == 206


def test_files_of_any_name_are_the_same(tmp_path: Path) -> None:
    """Names as they are, and the hostile ones as files where there can be such."""
    root = tmp_path / "root"
    root.mkdir()
    paths = [quote_from_bytes(name).encode() for name in AWKWARD.values()]
    paths += [path for path in STRANGE.values() if len(path) < 1000 and path.isascii()]
    with serving(root, *OPTIONS, "--hidden", "--weak-etag-ms", "0") as server, in_front_of(server, root) as proxy:
        for number, path in enumerate(paths):
            write(root, unquote_to_bytes(path), b"%09d" % number * 60_000)
        for path in paths:
            same(server, proxy, "/download/" + path.decode("latin-1"))
        assert handed_over(proxy) > len(AWKWARD)
        for path in MALFORMED.values():
            if len(path) < 8000 and path.isascii():  # nginx has limits of its own
                assert ask(proxy.url, "/download/" + path.decode("latin-1")).status in (400, 404)


@pytest.mark.parametrize("client", ["wget", "curl", "aria2c"])
def test_clients_resume_and_split_as_ever(root: Path, folder: Path, client: str) -> None:
    sample = make_sample(root / "sample.bin", 40 * MIB + 5)
    os.utime(sample.path, (MODIFIED_S, MODIFIED_S))
    url = "/download/sample.bin"
    options = {
        "wget": ("-q", "-c"),
        "curl": ("-sS", "-f", "-O", "-C", "-"),
        "aria2c": ("-q", "-x8", "-s8", "-k1M", "--file-allocation=none"),
    }[client]
    with serving(root, *OPTIONS) as server, in_front_of(server, root) as proxy:
        if client != "aria2c":
            with sample.path.open("rb") as file:
                (folder / "sample.bin").write_bytes(file.read(10 * MIB))
        ended = run_client(client, *options, proxy.url + url, folder=folder)
        assert ended.returncode == 0, ended.stderr
        assert handed_over(proxy) >= 1
    assert digest(folder / "sample.bin") == sample.digest


def test_what_nginx_cannot_read_is_sent_by_fileserve(server: Running, root: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").symlink_to(root / "page.html")
    (tmp_path / "folder").symlink_to(root / "folder")
    with in_front_of(server, root, str(tmp_path)) as proxy:
        for path in ("large.bin", "page.html", "folder/in.gz"):
            assert same(server, proxy, f"/download/{path}", {"Range": "bytes=100-"}).status == 206
        (tmp_path / "large.bin").mkdir()
        part = ask(proxy.url, "/download/large.bin", {"Range": "bytes=100-"})
        assert (part.status, len(part.content)) == (206, LARGE - 100)
        assert handed_over(proxy) == 0


def test_a_root_that_a_link_leads_to_is_served(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    with serving(tmp_path / "link", *OPTIONS) as server, in_front_of(server, tmp_path / "link") as proxy:
        same(server, proxy, "/download/large.bin")
        assert handed_over(proxy) == 1


def test_of_another_file_than_fileserve_has_seen_nothing_is_said_and_no_range_resumes(
    server: Running, root: Path, tmp_path: Path
) -> None:
    """The file is replaced between the look of fileserve and that of nginx, which here is all the time."""
    for name, size, mtime in (("large.bin", LARGE, MODIFIED_S + 1), ("page.html", LARGE + 1, MODIFIED_S)):
        make_sample(tmp_path / name, size)
        os.utime(tmp_path / name, (mtime, mtime))
    with in_front_of(server, root, str(tmp_path)) as proxy:
        for name in ("large.bin", "page.html"):
            ask(server.url, f"/checksum/{name}")
            seen, other = ask(server.url, f"/download/{name}"), (tmp_path / name).read_bytes()
            assert {"etag", "repr-digest"} <= seen.fields.keys()
            whole = ask(proxy.url, f"/download/{name}")
            assert (whole.status, whole.content) == (200, other)
            assert not {"etag", "repr-digest"} & whole.fields.keys()
            part = ask(proxy.url, f"/download/{name}", {"Range": "bytes=100000-"})
            assert (part.status, part.content) == (206, other[100_000:])
            assert not {"etag", "repr-digest"} & part.fields.keys()
            rest = ask(proxy.url, f"/download/{name}", {"Range": "bytes=100000-", "If-Range": seen.fields["etag"][0]})
            assert (rest.status, rest.content) == (200, other)
        (tmp_path / "large.bin").write_bytes(b"short")
        refused = ask(proxy.url, "/download/large.bin", {"Range": "bytes=100000-"})
        assert (refused.status, refused.fields["content-range"]) == (416, ["bytes */5"])


def test_a_proxy_that_does_not_send_the_file_shows_an_error_and_no_empty_file(server: Running, root: Path) -> None:
    line = "proxy_set_header X-Sendfile-Type X-Accel-Redirect;"
    changes = {"/srv/files/": f"{root}/", line: f"{line} proxy_ignore_headers X-Accel-Redirect;"}
    with nginx(CONFIGURATION, server.url, changes=changes) as proxy:
        assert ask(proxy.url, "/download/large.bin").status == 501


def test_what_is_left_to_nginx_is_counted_as_no_error(server: Running, proxy: Nginx) -> None:
    before = metrics_of(server)
    assert ask(proxy.url, "/download/large.bin").status == 200
    after = metrics_of(server)
    left = "fileserve_responses_total status=offloaded"
    assert after[left] == before.get(left, 0) + 1
    for name in (f"fileserve_responses_total status={status}" for status in range(501, 600)):
        assert after.get(name) == before.get(name)


def test_the_client_gets_the_request_s_id_with_what_nginx_sends(server: Running, proxy: Nginx) -> None:
    for path in ("/download/large.bin", "/download/small.txt"):
        answer = run_client("curl", "-sS", "-o", "/dev/null", "-D", "-", proxy.url + path, folder=Path("/"))
        assert len(re.findall(r"(?im)^x-request-id: [0-9a-f]{32}\r?$", answer.stdout)) == 1


def test_a_client_cannot_ask_for_it_where_nginx_does_not(server: Running) -> None:
    with nginx("fileserve.conf", server.url) as proxy:
        for path in ("/download/large.bin", "/archive/folder.tar"):
            asked = ask(proxy.url, path, {"X-Sendfile-Type": "X-Accel-Redirect"})
            assert asked == ask(server.url, path)


def test_nobody_reaches_the_location_from_outside(server: Running, proxy: Nginx) -> None:
    for path in ("/_files/large.bin", "/_files/", "//_files/large.bin", "/%5Ffiles/large.bin"):
        assert ask(proxy.url, path).status == 404


def handed_over(proxy: Nginx) -> int:
    """Return how many answers nginx has sent by itself so far: its one process has logged what is over."""
    ask(proxy.url, "/healthz")
    log = proxy.folder / "fileserve-accel.log"
    return log.read_text().count('"status":') if log.exists() else 0


def write(root: Path, name: bytes, content: bytes) -> None:
    path = os.path.join(os.fsencode(root), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (MODIFIED_S, MODIFIED_S))
