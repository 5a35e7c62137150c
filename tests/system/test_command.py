"""``fileserve serve`` as a user meets it: mistakes, the greeting, settings and signals."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import psutil
import pytest
from argon2 import PasswordHasher

from fileserve import Settings
from fileserve.settings import variable
from tests.system.clients import head, run_client
from tests.tools import Running, clean_environment, running, serving, tool, wait_until

pytestmark = pytest.mark.system

FILESERVE = (sys.executable, "-m", "fileserve")
TIMEOUT_S = 30
USAGE_ERROR = 2
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A served directory whose first file has a name that a shell would misread."""
    directory = tmp_path / "served files"
    (directory / "sub").mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(directory) + b"/!a 'b\" $HOME `id`; *\n\xff.bin")).write_bytes(CONTENT)
    (directory / "plain.bin").write_bytes(CONTENT)
    return directory


def run_fileserve(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment() | variables
    return subprocess.run(
        [*FILESERVE, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def assert_refused(ended: subprocess.CompletedProcess[str], *expected: str) -> None:
    """One line that contains what is *expected*, exit code 2, and nothing else."""
    assert ended.returncode == USAGE_ERROR, ended.stderr
    assert ended.stdout == ""
    assert re.fullmatch(r"fileserve: [^\n]+\n", ended.stderr)
    for words in expected:
        assert words in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["serve", "--worker", "2"], ["--worker", "--workers"], id="misspelt_option"),
        pytest.param(["serve", "--port"], ["--port"], id="option_without_a_value"),
        pytest.param(["serve", "--port", "http"], ["--port", "http"], id="port_that_is_no_number"),
        pytest.param(["serve", "--port", "70000"], ["--port", "70000"], id="port_out_of_range"),
        pytest.param(["serve", "--etag", "md5"], ["--etag", "inode"], id="none_of_the_choices"),
        pytest.param(["serve", "--chunk-size", "much"], ["--chunk-size", "much"], id="size_that_is_none"),
        pytest.param(["serve", "--root-path", "files"], ["--root-path", "files"], id="root_path_without_a_slash"),
        pytest.param(["serve", "--auth", "anna:secret"], ["--auth", "hash-password"], id="password_for_a_hash"),
        pytest.param(["serve", "--private"], ["--private", "--auth"], id="private_for_nobody"),
        pytest.param(["serve", "--writable", "nowhere"], ["--writable", "nowhere", "make it"], id="missing_folder"),
        pytest.param(["serve", "--writable", "../x"], ["--writable", "(it is '../x')"], id="folder_elsewhere"),
        pytest.param(["serve", "--existing", "replace"], ["--existing", "--replace"], id="replacing_that_nobody_may"),
        pytest.param(["serve", "--keep-free", "1e9"], ["--keep-free", "1.5GB"], id="size_in_another_notation"),
        pytest.param(["serve", "--port", "0", "--upload", "--host", "0.0.0.0"], ["--auth"], id="uploads_by_anybody"),
        pytest.param(
            ["serve", "--port", "0", "--delete", "--host", "::"], ["--delete", "--auth"], id="deletes_by_anybody"
        ),
        pytest.param(["serve", "--upload", "--uds", "socket"], ["--token"], id="uploads_by_a_proxy_s_clients"),
        pytest.param(
            ["serve", "--port", "0", "--move", "--trusted-proxies", "127.0.0.1"],
            ["--move"],
            id="moves_by_a_proxy_s_clients",
        ),
        pytest.param(["hash-password", "a b"], ["no space"], id="name_with_a_space"),
        pytest.param(["serve", "missing"], ["DIR", "missing"], id="missing_directory"),
        pytest.param(["serve", sys.executable], ["DIR", sys.executable], id="file_for_a_directory"),
        pytest.param(["serve", "a", "b"], ["b"], id="two_directories"),
        pytest.param(["sevre"], ["sevre", "serve"], id="misspelt_command"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(arguments: list[str], expected: list[str], tmp_path: Path) -> None:
    assert_refused(run_fileserve(*arguments, folder=tmp_path), *expected)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        pytest.param("FILESERVE_WORKER", "2", ["FILESERVE_WORKER:", "FILESERVE_WORKERS"], id="misspelt"),
        pytest.param("FILESERVE_PORT", "http", ["FILESERVE_PORT", "http"], id="value_that_does_not_do"),
        pytest.param("FILESERVE_ROOT", "missing", ["FILESERVE_ROOT", "missing"], id="missing_directory"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(
    variable: str, value: str, expected: list[str], tmp_path: Path
) -> None:
    assert_refused(run_fileserve("serve", folder=tmp_path, **{variable: value}), *expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("worker = 2", ["fileserve.toml", "worker", "workers"], id="misspelt"),
        pytest.param('port = "http"', ["port", "http"], id="value_that_does_not_do"),
        pytest.param("port: 8000", ["fileserve.toml", "line 1"], id="not_toml"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(content: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "fileserve.toml").write_text(content)
    assert_refused(run_fileserve("serve", folder=tmp_path), *expected)


def test_workers_that_could_not_share_uploads_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The served directory holds the user's home, cache included."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    options = ("--workers", "2", "--upload")
    ended = run_fileserve("serve", str(tmp_path), "--port", "0", *options, folder=tmp_path)
    assert ended.returncode == USAGE_ERROR
    assert "--index-file" in ended.stderr.splitlines()[-1]
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served", *options):
        pass
    with serving(tmp_path, *options, "--index-file", str(tmp_path.parent / f"{tmp_path.name}-index")):
        pass


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_refused(run_fileserve("serve", "--port", port, folder=tmp_path), port, "in use")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--upload", "--replace", "--delete", "--move"), id="for_this_machine"),
        pytest.param(("--upload", "--host", "0.0.0.0", "--token", "0123456789abcdef"), id="for_who_has_the_token"),
    ],
)
def test_changes_may_be_switched_on_where_it_is_known_who_makes_them(arguments: tuple[str, ...], root: Path) -> None:
    with serving(root, *arguments) as server:
        assert server.process.poll() is None
        assert "curl -fT FILE " in server.log.read_text()


@pytest.mark.parametrize("known", ["", "auth", "token"])
@pytest.mark.parametrize("writable", [(), ("--writable", "new in/it", "--writable", "sub")])
def test_the_command_that_the_greeting_tells_uploads(
    known: str, writable: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    tool("curl")
    (tmp_path / "new.bin").write_bytes(CONTENT)
    (root / "new in" / "it").mkdir(parents=True)
    account = f"NAME:{PasswordHasher(1, 8, 1).hash('secret')}"
    options = {"": (), "auth": ("--auth", account), "token": ("--token", "0123456789abcdef")}[known]
    with serving(root, "--upload", *options, *writable) as server:
        command = re.search("upload: +(.*)", server.log.read_text())
        assert command
        written = command[1].replace("FILE", "new.bin").replace("-u NAME", "-u NAME:secret")
        environment = os.environ | {"TOKEN": "0123456789abcdef"}
        ended = subprocess.run(["sh", "-c", written], cwd=tmp_path, env=environment, timeout=TIMEOUT_S)
    assert ended.returncode == 0, written
    assert (root / ("new in/it" if writable else ".") / "new.bin").read_bytes() == CONTENT


def test_a_hash_is_made_of_what_is_piped_in_and_lets_in(root: Path, tmp_path: Path) -> None:
    made = subprocess.run(
        [*FILESERVE, "hash-password", "anna"], input="se:cret\n", capture_output=True, text=True, timeout=TIMEOUT_S
    )
    account = made.stdout.rstrip("\n")
    assert account.startswith("anna:$argon2id$"), made.stderr
    url = "/download/plain.bin"
    with serving(root, "--private", "--auth", account, "--workers", "2") as server:
        for user, returncode in (("anna:se:cret", 0), ("anna:secret", 22)):  # 22: curl got a status of 400 or more
            ended = run_client("curl", "-sSf", "-u", user, "-o", "saved", server.url + url, folder=tmp_path)
            assert ended.returncode == returncode, ended.stderr


def test_credentials_that_are_no_ascii_are_refused_as_any_that_are_wrong(root: Path) -> None:
    account = f"anna:{PasswordHasher(1, 8, 1).hash('secret')}"
    with serving(root, "--private", "--auth", account) as server:
        for fields in ({"Authorization": "Basic \xe4nna"}, {"Authorization": "Basic wrong"}):
            with closing(HTTPConnection(server.url.removeprefix("http://"), timeout=TIMEOUT_S)) as connection:
                connection.request("GET", "/download/plain.bin", headers=fields)
                assert connection.getresponse().status == 401
        assert "Traceback" not in server.log.read_text()


def test_help_lists_every_option_with_its_default(tmp_path: Path) -> None:
    shown = " ".join(run_fileserve("serve", "--help", folder=tmp_path).stdout.split())
    for name in Settings.model_fields.keys() - {"root"}:
        option = f"--{name.replace('_', '-')}"
        told = re.search(rf"{option}\b.*?\[default: [^\]]+\]", shown)
        assert told, option
        if variable(name) != f"FILESERVE_{name.upper()}":  # what nobody could guess
            assert variable(name) in told[0]
    assert "FILESERVE_CHUNK_SIZE" in shown
    assert "fileserve.toml" in shown


def test_help_says_of_each_option_what_kind_of_value_it_takes(tmp_path: Path) -> None:
    shown = " ".join(run_fileserve("serve", "--help", folder=tmp_path).stdout.split())
    for spelling in ("--port NUMBER", "--fd NUMBER", "--uds PATH", "--chunk-size SIZE", "--keep-alive SECONDS"):
        assert f" {spelling} " in shown


def greeted_command(server: Running, label: str) -> str:
    """Return the command that the greeting gives under *label*."""
    found = re.search(rf"^ +{label}: +(.+)$", server.log.read_text(), re.MULTILINE)
    assert found is not None, server.log.read_text()
    return found[1]


@pytest.mark.parametrize("options", [(), ("--root-path", "/files")], ids=["at_the_top", "beneath_a_prefix"])
@pytest.mark.parametrize("known", ["", "auth", "token"])
def test_the_commands_of_the_greeting_work_as_they_stand(
    options: tuple[str, ...], known: str, root: Path, tmp_path: Path
) -> None:
    account = f"NAME:{PasswordHasher(1, 8, 1).hash('secret')}"
    shown = {"": (), "auth": ("--private", "--auth", account), "token": ("--private", "--token", "0123456789abcdef")}
    environment = os.environ | {"TOKEN": "0123456789abcdef"}
    with serving(root, *options, *shown[known]) as server:
        for label, program in (("download", tool("curl")), ("resume", tool("wget"))):
            folder = tmp_path / label
            folder.mkdir()
            command = greeted_command(server, label)
            assert command.startswith(Path(program).name)
            written = command.replace("-u NAME", "-u NAME:secret").replace("--ask-password", "--password=secret")
            ended = subprocess.run(
                written, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
            )
            assert ended.returncode == 0, ended.stderr
            (saved,) = folder.iterdir()
            assert saved.read_bytes() == CONTENT


@pytest.mark.parametrize("log_format", ["human", "json"])
@pytest.mark.parametrize("inherited", [False, True], ids=["its_own", "inherited"])
def test_a_unix_socket_is_told_by_its_path(log_format: str, inherited: bool, root: Path, tmp_path: Path) -> None:
    path, environment = tmp_path / "http.sock", clean_environment()
    with socket.socket(socket.AF_UNIX) as listener:
        where = ("--uds", str(path))
        if inherited:
            listener.bind(str(path))
            listener.listen()
            where = ("--fd", str(listener.fileno()))
        command = (*FILESERVE, "serve", str(root), *where, "--log-format", log_format)
        fds = (listener.fileno(),)
        with subprocess.Popen(command, env=environment, pass_fds=fds, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            told = [process.stderr.readline() for _ in range(2)]
            process.terminate()
    assert re.search(rf" on the socket {re.escape(str(path))}[\"\n]", told[0])
    if log_format == "human":
        assert f"--unix-socket {path} http://localhost/" in told[1]


def test_the_greeting_says_what_is_served_and_how_to_end_it(root: Path) -> None:
    with serving(root) as server:
        greeting = server.log.read_text()
    assert f"serves {root} on {server.url}/\n" in greeting
    assert "Ctrl-C" in greeting


def test_the_application_runs_under_uvicorn_itself(root: Path) -> None:
    command = (sys.executable, "-m", "uvicorn", "--factory", "fileserve:create_app", "--port", "0")
    with running(*command, FILESERVE_ROOT=str(root)) as server, urlopen(f"{server.url}/download/plain.bin") as answer:
        assert answer.read() == CONTENT


@pytest.mark.parametrize(
    ("sources", "workers", "expected"),
    [
        pytest.param((), "1", "no-cache", id="default"),
        pytest.param(("file",), "1", "file", id="file"),
        pytest.param(("file", "environment"), "1", "environment", id="environment_before_file"),
        pytest.param(("file", "environment", "option"), "1", "option", id="option_before_both"),
        pytest.param(("file", "environment", "option"), "2", "option", id="in_worker_processes_too"),
        pytest.param(("file", "environment", "option"), "1", "", id="an_option_that_is_empty"),
        pytest.param(("file", "environment", "option"), "2", "", id="an_empty_one_in_worker_processes_too"),
    ],
)
def test_settings_count_in_the_promised_order(
    sources: tuple[str, ...], workers: str, expected: str, root: Path, tmp_path: Path
) -> None:
    if "file" in sources:
        (tmp_path / "fileserve.toml").write_text('cache_control = "file"')
    variables = {"FILESERVE_CACHE_CONTROL": "environment"} if "environment" in sources else {}
    options = ("--cache-control", expected) if "option" in sources else ()
    command = (*FILESERVE, "serve", str(root), "--port", "0", "--workers", workers, *options)
    with running(*command, folder=tmp_path, **variables) as server:
        assert head(f"{server.url}/download/plain.bin")["cache-control"] == expected


def test_the_directory_may_come_from_the_environment_or_the_file(root: Path, tmp_path: Path) -> None:
    (tmp_path / "fileserve.toml").write_text(f'root = "{root.name}"\nport = 0')
    with running(*FILESERVE, "serve", folder=tmp_path) as server:
        assert head(f"{server.url}/download/plain.bin")["content-length"] == str(len(CONTENT))
    with running(*FILESERVE, "serve", folder=tmp_path, FILESERVE_ROOT=str(root / "sub")) as server:
        assert f"serves {root / 'sub'} on" in server.log.read_text()


def processes_of(server: Running) -> list[psutil.Process]:
    main = psutil.Process(server.process.pid)
    return [main, *main.children(recursive=True)]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_all_processes(workers: str, root: Path) -> None:
    with serving(root, "--workers", workers) as server:
        assert wait_until(lambda: len(processes_of(server)) >= int(workers), timeout_s=TIMEOUT_S)
        processes = processes_of(server)
        server.process.terminate()
        server.process.wait(TIMEOUT_S)
        assert wait_until(lambda: not any(process.is_running() for process in processes), timeout_s=20)
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_all_processes(workers: str, root: Path) -> None:
    """A terminal sends SIGINT to the command and to its workers alike."""
    with serving(root, "--workers", workers) as server:
        head(server.url + "/")
        processes = processes_of(server)
        for process in processes:
            process.send_signal(signal.SIGINT)
        server.process.wait(TIMEOUT_S)
        assert wait_until(lambda: not any(process.is_running() for process in processes), timeout_s=20)


def test_ctrl_c_prints_no_traceback(root: Path) -> None:
    with serving(root) as server:
        head(server.url + "/")
        server.process.send_signal(signal.SIGINT)
        server.process.wait(TIMEOUT_S)
        assert "Traceback" not in server.log.read_text()


def link_of(server: Running) -> str:
    """Return the operator's link that the greeting carries."""
    found = re.search(r"watch: +(\S+)", server.log.read_text())
    assert found is not None
    return found[1]


def status_of(url: str, **fields: str) -> tuple[int, HTTPMessage]:
    """Return the status and the fields of a GET that follows no redirect."""
    host, _, path = url.partition("//")[2].partition("/")
    with closing(HTTPConnection(host, timeout=TIMEOUT_S)) as connection:
        connection.request("GET", "/" + path, headers=fields)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_printed_link_lets_the_operator_in(workers: str, root: Path) -> None:
    """The token that is made at the start reaches every worker, also a renewed one, and no list of processes."""
    with serving(root, "--workers", workers) as server:
        link = link_of(server)
        token = link.partition("token=")[2]
        assert len(token) >= 32
        assert status_of(f"{server.url}/live")[0] == 401
        before = processes_of(server)
        if workers == "2":
            server.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: not any(process.is_running() for process in before[1:]), TIMEOUT_S)
        for _ in range(8):
            status, fields = status_of(link)
            assert status == 200
            assert status_of(f"{server.url}/live", Cookie=fields["set-cookie"].partition(";")[0])[0] != 401
            assert status_of(f"{server.url}/live", Authorization=f"Bearer {token}")[0] != 401
        assert token not in str([process.cmdline() for process in processes_of(server)])
        assert server.log.read_text().count(token) == 1
    with serving(root) as again:
        assert link_of(again) != link.replace(server.url, again.url)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_token_that_was_set_is_not_repeated(workers: str, root: Path, tmp_path: Path) -> None:
    token = "set-by-the-operator"
    command = (*FILESERVE, "serve", str(root), "--port", "0", "--workers", workers)
    with running(*command, folder=tmp_path, FILESERVE_OPERATOR_TOKEN=token) as server:
        assert link_of(server) == f"{server.url}/live?token=..."
        assert status_of(f"{server.url}/live?token={quote(token)}")[0] == 200
        assert status_of(f"{server.url}/live?token={quote(token)}x")[0] == 401
        assert token not in str([process.cmdline() for process in processes_of(server)])
        assert token not in server.log.read_text()
