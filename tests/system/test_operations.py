"""What operators get of a running server: logs that a program can read, and one request found again in all of them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fileserve.server.sparing import RECORDS
from tests.server.harness import Client
from tests.system.nginx import accepts, free_port
from tests.system.test_metrics import PATIENCE_S, address_of, curl, status_of
from tests.tools import Running, clean_environment, running, stop, tool, wait_until

pytestmark = pytest.mark.system

HOSTILE = [
    b'new\nline {"level": "CRITICAL"}',
    b"\x1b]0;owned\x07\x1b[2J",
    b"not-utf8-\xff\x9b31m",
    "separators-\u2028\u2029\x85".encode(),
    b'"}, {"quotes\\',
    "gpj.\u202eexe".encode(),
]
SECRET = "a-token-that-nobody-may-read"
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "operations.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    for name in (b"plain.txt", *HOSTILE):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(b"0123456789")
    return root


def command(root: Path, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0", *options)


def records(server: Running, logger: str = "") -> list[dict[str, Any]]:
    """Return all lines of the log, each of which is to be JSON."""
    told = [json.loads(line) for line in server.log.read_text(encoding="ascii").split("\n")[:-1]]
    return [one for one in told if one["logger"].startswith(logger)]


def wait_for_records(server: Running, logger: str, count: int) -> list[dict[str, Any]]:
    assert wait_until(lambda: len(records(server, logger)) >= count, PATIENCE_S), server.log.read_text()
    return records(server, logger)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_line_of_the_log_is_json_whatever_clients_send(workers: str, root: Path) -> None:
    options = ("--access-log", "--upload", "--replace", "--resume-window", "1", "--workers", workers)
    with running(
        *command(root, *options),
        FILESERVE_LOG_FORMAT="auto",
        FILESERVE_OPERATOR_TOKEN=SECRET,
        FILESERVE_METRICS_TOKEN=SECRET + "s",
    ) as server:
        for name in HOSTILE:
            assert status_of(f"{server.url}/download/{quote(name)}") == 200
            assert status_of("-T", str(root / "plain.txt"), f"{server.url}/upload/{quote(name)}") == 204
        assert status_of(f"{server.url}/live?token={SECRET}") == 200
        assert status_of(f"{server.url}/live?token={SECRET}x") == 401
        assert status_of("-H", f"Authorization: Bearer {SECRET}", "-b", f"a={SECRET}", f"{server.url}/live") == 200
        assert status_of("-H", f"Authorization: Bearer {SECRET}s", f"{server.url}/metrics") == 200
        agent = b'GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\x80"\\ \xe2\x80\xa8 x\r\n\r\n'
        with address_of(server) as sock:
            assert Client(sock).send(agent).head().status == 200
        with address_of(server) as sock:
            assert Client(sock).send(b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n").head().status == 400
        told = wait_for_records(server, "fileserve.access", 2 * len(HOSTILE) + 5)
        wait_for_records(server, "fileserve.transfers", len(HOSTILE))
        everything, said = server.log.read_text(), records(server)
    assert SECRET not in everything
    assert everything.isascii()
    for one in said:
        assert {"time", "level", "logger", "pid", "message"} <= one.keys()
        assert datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["level"] in ("INFO", "WARNING")
    paths = {one["fields"]["path"] for one in told}
    assert {f"/download/{quote(name)}" for name in HOSTILE} <= paths
    assert [one["fields"]["user_agent"] for one in told][-1] == "%FF%80%22%5C %E2%80%A8 x"
    if workers == "2":
        assert "2 workers accept connections" in [one["message"] for one in said]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_was_left_out_of_the_log_is_told_when_the_server_ends(workers: str, root: Path) -> None:
    flood = 2 * RECORDS * int(workers) + 1  # more than is told, however it falls on the workers
    with running(*command(root, "--workers", workers)) as server:
        for _ in range(flood):
            with Client(address_of(server)) as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                client.rest()
        stop(server.process)
        log = server.log.read_text()
    left_out = re.findall(r"(\d+) more malformed requests before the end$", log, re.MULTILINE)
    assert log.count("Host field") + sum(map(int, left_out)) == flood


def test_the_log_of_requests_tells_what_was_answered(root: Path) -> None:
    with running(*command(root, "--access-log"), FILESERVE_LOG_FORMAT="json") as server:
        status_of("-A", "me/1", f"{server.url}/download/plain.txt?disposition=inline")
        status_of("-r", "2-4", f"{server.url}/download/plain.txt")
        status_of("-I", f"{server.url}/download/plain.txt")
        status_of("-X", "POST", f"{server.url}/download/plain.txt")
        told = wait_for_records(server, "fileserve.access", 4)
    fields = [one["fields"] for one in told]
    assert [(one["method"], one["status"], one["bytes"]) for one in fields][:3] == [
        ("GET", 200, 10),
        ("GET", 206, 3),
        ("HEAD", 200, 0),
    ]
    assert (fields[3]["method"], fields[3]["status"]) == ("POST", 405)
    assert {one["path"] for one in fields} == {"/download/plain.txt"}
    assert {one["client"] for one in fields} == {"127.0.0.1"}
    assert fields[0]["user_agent"] == "me/1"
    assert all(0 <= one["first_byte_s"] <= one["seconds"] < PATIENCE_S for one in fields)
    assert len({one["request_id"] for one in told}) == 4
    (told_of,) = re.findall(r"^`--access-log` adds .*?\n\n", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert fields[0].keys() <= set(re.findall(r"`(\w+)`", told_of))
    assert re.fullmatch(
        r'127\.0\.0\.1 "GET /download/plain\.txt HTTP/1\.1" 200 10 bytes in [0-9.]+ s, first after [0-9.]+ s, "me/1"',
        told[0]["message"],
    )


def test_bytes_that_went_by_zero_copy_and_a_client_that_left_are_told(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(64 << 20)
    with running(*command(root, "--access-log"), FILESERVE_LOG_FORMAT="json") as server:
        status_of(f"{server.url}/download/large")
        with address_of(server) as sock:
            client = Client(sock).get("/download/large")
            client.head()
            client.exactly(1 << 20)
            client.reset()
        whole, left = wait_for_records(server, "fileserve.access", 2)
    assert whole["fields"]["bytes"] == 64 << 20
    assert 1 << 20 <= left["fields"]["bytes"] < 64 << 20


def test_without_it_there_is_no_log_of_requests(root: Path) -> None:
    with running(*command(root, "--resume-window", "1"), FILESERVE_LOG_FORMAT="json") as server:
        status_of(f"{server.url}/download/plain.txt")
        wait_for_records(server, "fileserve.transfers", 1)
        assert records(server, "fileserve.access") == []


def test_an_error_tells_the_id_by_which_the_log_tells_more(root: Path) -> None:
    with running(*command(root, "--access-log"), FILESERVE_LOG_FORMAT="json") as server:
        for form in ("application/json", "text/plain", "text/html"):
            answer = curl("-i", "-H", f"Accept: {form}", f"{server.url}/nowhere").stdout.decode()
            head, _, content = answer.partition("\r\n\r\n")
            found = re.search(r"x-request-id: (\S+)", head)
            assert found is not None
            assert found[1] in content
            assert wait_until(partial(has_record_of, server, found[1]), PATIENCE_S)
        assert b"x-request-id" not in curl("-i", f"{server.url}/download/plain.txt").stdout
        given = curl("-i", "-H", "X-Request-ID: from-a-stranger", f"{server.url}/nowhere").stdout
        assert b"from-a-stranger" not in given


def has_record_of(server: Running, id: str) -> bool:
    return any(one.get("request_id") == id for one in records(server, "fileserve.access"))


@pytest.mark.parametrize("given", ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "two words"])
def test_an_id_that_is_well_formed_goes_back(given: str, root: Path) -> None:
    options = ("--access-log", "--trusted-proxies", "127.0.0.1")
    with running(*command(root, *options), FILESERVE_LOG_FORMAT="json") as server:
        answer = curl("-i", "-H", f"X-Request-ID: {given}", f"{server.url}/download/plain.txt").stdout
        [told] = wait_for_records(server, "fileserve.access", 1)
    taken = " " not in given
    assert (f"x-request-id: {given}\r\n".encode() in answer) == taken
    assert (told["request_id"] == given) == taken
    assert told["request_id"]


SITE = """\
{user}daemon off;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    log_format ids '$request_id';
    access_log access.log ids;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Request-ID $request_id;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """Run nginx in front of *upstream*, which passes the id of each request on; yield its URL."""
    program, port = tool("nginx"), free_port()
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(SITE.format(port=port, upstream=upstream, user=user))
    process = subprocess.Popen([program, "-p", folder, "-c", "nginx.conf", "-e", "error.log"])
    try:
        assert wait_until(lambda: accepts(port), PATIENCE_S), (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def test_one_id_goes_through_nginx_and_back(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    options = ("--access-log", "--trusted-proxies", "127.0.0.1", "--resume-window", "1")
    with (
        running(*command(root, *options), FILESERVE_LOG_FORMAT="json") as server,
        nginx(folder, server.url) as url,
    ):
        answer = curl("-i", url + "/download/plain.txt").stdout
        problem = curl(url + "/nowhere").stdout
        assert status_of(url + "/metrics") == 403  # it is no request of this machine
        access = wait_for_records(server, "fileserve.access", 3)
        [finished] = wait_for_records(server, "fileserve.transfers", 1)
    ids = (folder / "access.log").read_text().split()
    assert [one["request_id"] for one in access] == ids
    assert f"x-request-id: {ids[0]}\r\n".encode() in answer
    assert json.loads(problem)["request_id"] == ids[1]
    assert finished["request_id"] == ids[0]
    assert finished["fields"]["requests"] == [ids[0]]


def ended_of(script: str) -> str:
    """Return what a Python of its own prints: telemetry is a matter of the whole process."""
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_what_is_not_asked_for_is_not_imported() -> None:
    """prometheus_client takes a twentieth of a second; of OpenTelemetry, FastAPI itself imports the bare API."""
    script = """
import asyncio, sys
from pathlib import Path
from fileserve import Settings
from fileserve.server import run
from tests.asgi import client_of
async def ask():
    async with client_of(Settings(root=Path("tests"))) as client:
        for path in ("/", "/download/asgi.py", "/docs", "/readyz"):
            assert (await client.get(path)).status == 200
        assert "prometheus_client" not in sys.modules
        assert (await client.get("/metrics")).status == 200
asyncio.run(ask())
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.instrumentation"))])
"""
    assert ended_of(script) == "[]\n"


@pytest.mark.parametrize(("telemetry", "spans"), [("", "[]"), (", telemetry={}", "['GET']")])
def test_telemetry_is_off_unless_the_host_application_asks_for_it(telemetry: str, spans: str) -> None:
    """Also where the process has a provider, and the environment says that FastAPI should send."""
    script = f"""
import asyncio, os
from pathlib import Path
os.environ["FASTAPI_OTEL_AUTO_CONFIGURE"] = "{"true" if not telemetry else "false"}"
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
from opentelemetry import trace
from fileserve import Settings, create_app
from tests.asgi import Client
spans = []
class Tracer(trace.NoOpTracer):
    def start_span(self, name, *given, **named):
        spans.append(name)
        return super().start_span(name, *given, **named)
class Provider(trace.TracerProvider):
    def get_tracer(self, *given, **named):
        return Tracer()
trace.set_tracer_provider(Provider())
async def ask():
    app = create_app(Settings(root=Path("tests")){telemetry})
    async with app.router.lifespan_context(app) as state:
        assert (await Client(app, state).get("/healthz")).status == 200
asyncio.run(ask())
print([name for name in spans if name.startswith("GET")])
"""
    assert ended_of(script) == spans + "\n"
