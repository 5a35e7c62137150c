"""``fileserve check-proxy`` and the real nginx: each fault is found in a configuration that has it, none in ours."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fileserve.checkproxy import observing
from fileserve.checkproxy.client import Client, bearer
from fileserve.checkproxy.running import Verdict, run_checks
from fileserve.checkproxy.site import Site
from tests.server.certificates import certificate
from tests.system.nginx import nginx
from tests.tools import Running, clean_environment, serving

pytestmark = pytest.mark.system

LONG_AGO_S = 1_700_000_000
TOKEN = "t0ken-of-sixteen-characters"
BEHIND = ("--trusted-proxies", "127.0.0.1", "--keep-alive", "300")
SHORT_PAUSE_S, SHORT_INTERVAL_MS = 0.2, 100
GZIP = "gzip on; gzip_types {}; gzip_min_length 1; gzip_proxied any;"

# What is broken, and the checks that find it.
FAULTS = [
    pytest.param({"gzip off;": GZIP.format("text/event-stream")}, {"events"}, id="events_are_compressed"),
    pytest.param(
        {
            "proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
            "proxy_max_temp_file_size 0;": "",
        },
        {"spooling"},
        id="downloads_are_spooled",
    ),
    pytest.param({"send_timeout 300s;": "send_timeout 200ms;"}, {"large-download"}, id="slow_clients_are_cut_off"),
    pytest.param({"proxy_read_timeout 300s;": "proxy_read_timeout 1s;"}, {"idle-streams"}, id="silence_is_cut_off"),
    pytest.param(
        {"proxy_request_buffering off;": "proxy_request_buffering on;"}, {"upload-buffering"}, id="uploads_are_stored"
    ),
    pytest.param({"client_max_body_size 0;": "client_max_body_size 1g;"}, {"upload-size"}, id="uploads_are_limited"),
    pytest.param(
        {"gzip off;": GZIP.format("text/plain")}, {"length", "compression", "coded-etag"}, id="downloads_are_compressed"
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_set_header Range '';"},
        {"ranges", "suffix-range", "multiple-ranges", "unsatisfiable-range", "if-range"},
        id="range_is_dropped",
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_force_ranges on; max_ranges 0; proxy_set_header Range '';"},
        {"ranges", "suffix-range", "multiple-ranges", "unsatisfiable-range", "if-range", "accept-ranges"},
        id="ranges_are_switched_off",
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_force_ranges on; max_ranges 1; proxy_set_header Range '';"},
        {"multiple-ranges"},
        id="several_ranges_are_switched_off",
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_set_header If-Range '';"}, {"if-range-changed"}, id="if_range_is_dropped"
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_set_header If-None-Match '';"}, {"if-none-match"}, id="if_none_match_is_dropped"
    ),
    pytest.param({"gzip off;": "gzip off; proxy_set_header If-Match '';"}, {"if-match"}, id="if_match_is_dropped"),
    pytest.param(
        {"gzip off;": "gzip off; proxy_hide_header ETag;"}, {"etag", "coded-etag"}, id="the_entity_tag_is_hidden"
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_hide_header Last-Modified;"}, {"last-modified"}, id="the_date_is_hidden"
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_hide_header Accept-Ranges;"}, {"accept-ranges"}, id="ranges_are_not_offered"
    ),
    pytest.param(
        {"gzip off;": "gzip off; proxy_hide_header Content-Disposition;"}, {"disposition"}, id="the_name_is_hidden"
    ),
    pytest.param(
        {"proxy_pass http://fileserve;  #": "proxy_pass http://fileserve/;  #"}, {"names"}, id="names_are_decoded"
    ),
    pytest.param({"proxy_http_version 1.1;": "proxy_http_version 1.0;"}, {"http-version"}, id="http_1_0"),
    pytest.param({'proxy_set_header Connection "";': ""}, {"connections"}, id="a_connection_for_each_request"),
    pytest.param({"proxy_set_header Host $fileserve_host;": ""}, {"host"}, id="the_upstream_s_name_as_host"),
    pytest.param({"Host $fileserve_host;": "Host $host;"}, {"host"}, id="host_without_its_port"),
    pytest.param(
        {"proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;": "proxy_set_header X-Forwarded-For '';"},
        {"address"},
        id="no_address",
    ),
    pytest.param(
        {"proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;": ""}, {"address"}, id="the_client_s_own_address"
    ),
    pytest.param(
        {"proxy_set_header X-Forwarded-Proto $scheme;": "proxy_set_header X-Forwarded-Proto '';"},
        {"scheme"},
        id="no_scheme",
    ),
    pytest.param({"proxy_set_header X-Forwarded-Proto $scheme;": ""}, {"scheme"}, id="the_client_s_own_scheme"),
    pytest.param({"proxy_set_header X-Request-ID $request_id;": ""}, {"request-id"}, id="no_id"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "text.txt").write_text("text " * 1000)
    (root / "large.bin").write_bytes(os.urandom(100_000))
    for path in root.iterdir():
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Running]:
    with serving(root, *BEHIND) as running:
        yield running


@pytest.fixture(autouse=True)
def in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "PAUSE_S", SHORT_PAUSE_S)
    monkeypatch.setattr(observing, "INTERVAL_MS", SHORT_INTERVAL_MS)


@pytest.mark.parametrize(("changes", "found"), FAULTS)
def test_a_fault_is_found_by_its_check(
    server: Running, changes: Mapping[str, str], found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if found & {"spooling", "large-download"}:  # what the proxy does while a client rests takes it some time
        monkeypatch.setattr(observing, "PAUSE_S", 1.0)
    with nginx("fileserve.conf", server.url, changes=changes) as proxy:
        patience_s = 2 if "upload-buffering" in found else 5  # an answer that never comes is the fault
        site = Site(Client(proxy.url, timeout_s=patience_s), idle_s=2 if "idle-streams" in found else 0)
        results = list(run_checks(site))
    left_out = {"idle-streams"} - found
    assert {result.check.name for result in results if result.verdict is Verdict.FAULT} == found
    assert {result.check.name for result in results if result.verdict not in (Verdict.FAULT, Verdict.OK)} == left_out


def test_a_proxy_that_nobody_trusts_is_found(root: Path) -> None:
    with serving(root) as server, nginx("fileserve.conf", server.url) as proxy:
        results = list(run_checks(Site(Client(proxy.url))))
    assert [result.check.name for result in results if result.verdict is Verdict.FAULT] == ["trust"]


@pytest.mark.parametrize("configuration", ["fileserve.conf", "fileserve-cache.conf"])
def test_nothing_is_found_in_ours(server: Running, configuration: str) -> None:
    with nginx(configuration, server.url) as proxy:
        done = _run(sys.executable, "-m", "fileserve", "check-proxy", proxy.url, "--idle", "1")
    assert (done.returncode, done.stdout.count("\n"), done.stdout.count("ok  ")) == (0, 30, 30), done.stdout


def test_a_private_site_beneath_a_prefix_is_checked_by_who_may_read_it(root: Path) -> None:
    with (
        serving(root, *BEHIND, "--private", "--root-path", "/files", "--token", TOKEN) as server,
        nginx("fileserve.conf", server.url.removesuffix("/files")) as proxy,
    ):
        url = proxy.url + "/files/"
        done = _check_proxy(url, "--idle", "0", "--json", FILESERVE_TOKEN=TOKEN)
        refused = list(run_checks(Site(Client(url))))
        stranger = _check_proxy(url, "--idle", "0")
        named = list(run_checks(Site(Client(url, bearer(TOKEN)), path="text.txt")))
    verdicts = {check["name"]: check["verdict"] for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0
    assert {name for name, verdict in verdicts.items() if verdict != "ok"} == {"idle-streams"}
    assert {result.verdict for result in named} == {Verdict.OK, Verdict.LEFT_OUT}
    assert {result.check.name for result in refused if result.verdict is Verdict.OK} == {
        "upload-buffering",
        "upload-size",
    }
    assert "401" in refused[0].reason
    assert (stranger.returncode, stranger.stderr.count("27 of 30 questions could not be asked")) == (3, 1)
    assert "--token or --user" in stranger.stdout


def test_faults_are_told_with_their_mends_and_a_status(server: Running) -> None:
    with nginx("fileserve.conf", server.url, changes={"gzip off;": GZIP.format("text/plain")}) as proxy:
        lines = _check_proxy(proxy.url, "--idle", "0")
        document = _check_proxy(proxy.url, "--idle", "0", "--json")
    assert (lines.returncode, document.returncode) == (1, 1)
    assert "mend: gzip off" in lines.stdout
    faults = [check for check in json.loads(document.stdout)["checks"] if check["verdict"] == "fault"]
    assert [check["mend"] for check in faults] == ["gzip off"] * 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "Missing argument 'URL'", id="no_url"),
        pytest.param(["files.example.org"], "no URL of a site", id="no_scheme"),
        pytest.param(["ftp://files.example.org"], "no URL of a site", id="another_scheme"),
        pytest.param(["http://[::1"], "no URL of a site", id="no_address"),
        pytest.param(["http://127.0.0.1/ü"], "no URL of a site", id="not_escaped"),
        pytest.param(["http://a..b"], "nobody answers", id="no_name"),
        pytest.param(["http://127.0.0.1:1"], "nobody answers", id="nobody"),
        pytest.param(["http://127.0.0.1:1", "--token", "a", "--user", "b:c"], "not both", id="two_credentials"),
        pytest.param(["http://127.0.0.1:1", "--token", "a\nb"], "the token has a character", id="two_lines"),
        pytest.param(["http://127.0.0.1:1", "--idle", "121"], "--idle", id="too_long"),
        pytest.param(["http://127.0.0.1:1", "--timeout", "0"], "--timeout", id="no_time"),
        pytest.param(["http://127.0.0.1:1", "--timeout", "-1"], "--timeout", id="negative_time"),
        pytest.param(["https://127.0.0.1:1", "--ca-file", __file__], "has no certificates", id="no_certificates"),
    ],
)
def test_what_cannot_be_asked_is_status_2_in_one_line(arguments: list[str], told: str) -> None:
    done = _check_proxy(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr


def test_another_server_is_no_fileserve(server: Running) -> None:
    with nginx("fileserve.conf", server.url, changes={"proxy_pass http://fileserve;": "return 404;"}) as proxy:
        done = _check_proxy(proxy.url)
    assert done.returncode == 2
    assert "no fileserve answers: /healthz is 404" in done.stderr


def test_a_name_is_escaped_as_a_url_needs_it(tmp_path: Path) -> None:
    name = tmp_path / "ü ?.txt"
    name.write_text("text " * 1000)
    os.utime(name, (LONG_AGO_S, LONG_AGO_S))
    with serving(tmp_path, *BEHIND) as server, nginx("fileserve.conf", server.url) as proxy:
        done = _check_proxy(proxy.url, "--idle", "0", "--path", name.name)
        missing = _check_proxy(proxy.url, "--idle", "0", "--path", "none")
    assert done.returncode == 0, done.stdout
    assert (missing.returncode, missing.stdout.count("--path names a file below /download/")) == (3, 15)


def test_a_site_over_https_is_named_as_one(root: Path, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with serving(root, "--ssl-certfile", str(pem)) as server:
        stranger = _check_proxy(server.url, "--idle", "0")
        known = _check_proxy(server.url, "--idle", "0", "--ca-file", str(pem))
    assert (stranger.returncode, stranger.stderr.count("--ca-file FILE trusts")) == (2, 1)
    assert known.stdout.count("ok  ") > 20


IN_SHORT = f"""
from fileserve.checkproxy import observing
from fileserve.cli import main
observing.PAUSE_S, observing.INTERVAL_MS = {SHORT_PAUSE_S}, {SHORT_INTERVAL_MS}
main()
"""


def _check_proxy(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, "-c", IN_SHORT, "check-proxy", *arguments, **variables)


def _run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment() | variables, timeout=60)
