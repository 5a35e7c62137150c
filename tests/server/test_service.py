"""fileserve as a service: what it tells the service manager, and how it takes sockets, renews itself and leaves."""

import asyncio
import http.client
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from fileserve.server.notifying import SHORTEST_WATCHDOG_S, Notifier, superior_of_environment
from tests.server.downloading import Download
from tests.servicemanager import Service, service
from tests.tools import clean_environment, stop, tool, wait_until

SUPERVISED = (("--workers", "2"), ("--supervise",))
EVERY = ((), *SUPERVISED)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def netloc(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def get(listener: socket.socket, path: str = "small") -> bytes:
    with closing(http.client.HTTPConnection(netloc(listener), timeout=30)) as connection:
        connection.request("GET", f"/download/{path}")
        return connection.getresponse().read()


def workers(server: Service) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract_name"])
@pytest.mark.parametrize("options", EVERY, ids=" ".join)
def test_it_is_ready_when_it_accepts_and_stops_when_it_drains(
    options: tuple[str, ...], abstract: bool, root: Path, digest: str, listener: socket.socket
) -> None:
    with service(root, *options, listeners=(listener,), abstract=abstract) as server:
        ready = server.hears("READY", "1")
        assert "accept" in ready["STATUS"]
        assert server.told == [ready]
        download = Download(netloc(listener))
        server.process.terminate()
        stopping = server.hears("STOPPING", "1")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 10_000_000
        assert download.finish() == digest
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("options", SUPERVISED, ids=" ".join)
def test_it_is_ready_only_when_all_workers_are(options: tuple[str, ...], root: Path, listener: socket.socket) -> None:
    with service(root, *options, listeners=(listener,)) as server:
        server.hears("READY", "1")
        assert len(workers(server)) == (2 if "2" in options else 1)
        listening = [worker for worker in workers(server) if worker.net_connections("tcp")]
        assert len(listening) == len(workers(server))


@pytest.mark.parametrize("options", SUPERVISED, ids=" ".join)
def test_a_reload_renews_the_workers_and_loses_neither_download_nor_connection(
    options: tuple[str, ...], root: Path, digest: str, listener: socket.socket
) -> None:
    with service(root, *options, listeners=(listener,)) as server:
        server.hears("READY")
        before = set(workers(server))
        download = Download(netloc(listener))
        asked_at = time.monotonic_ns() // 1000
        server.process.send_signal(signal.SIGHUP)
        reloading = server.hears("RELOADING", "1")
        assert asked_at <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert get(listener) == b"small"
        assert "renewed" in server.hears("READY", "1")["STATUS"]
        assert get(listener) == b"small"
        assert download.finish() == digest
        assert wait_until(lambda: not before & set(workers(server)), timeout_s=20)


@pytest.mark.parametrize("options", SUPERVISED, ids=" ".join)
def test_a_restart_loses_neither_download_nor_connection(
    options: tuple[str, ...], root: Path, digest: str, listener: socket.socket
) -> None:
    """As the shipped unit has it: SIGUSR2 to the main process alone, and the next one is started when that is gone."""
    with service(root, *options, listeners=(listener,)) as old:
        old.hears("READY")
        left = workers(old)
        download = Download(netloc(listener))
        old.process.send_signal(signal.SIGUSR2)
        old.hears("STOPPING", "1")
        assert old.process.wait(20) == 0
        with service(root, *options, listeners=(listener,)) as new:
            assert get(listener) == b"small"
            new.hears("READY")
            assert download.finish() == digest
            assert not psutil.wait_procs(left, timeout=20)[1]
            assert get(listener) == b"small"


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGKILL], ids=["is_told_to", "is_killed"])
def test_a_worker_that_drains_already_goes_on_when_its_supervisor_leaves(
    number: signal.Signals, root: Path, digest: str, listener: socket.socket
) -> None:
    """A reload and then a restart: two reasons to drain, and none to break off."""
    with service(root, "--supervise", listeners=(listener,)) as server:
        server.hears("READY")
        [draining] = workers(server)
        download = Download(netloc(listener))
        server.process.send_signal(signal.SIGHUP)
        assert "renewed" in server.hears("READY", "1")["STATUS"]
        others = [worker for worker in workers(server) if worker != draining]
        server.process.send_signal(number)
        server.process.wait(20)
        assert not psutil.wait_procs(others, timeout=20)[1]  # by then the draining one has heard of it as well
        assert download.finish() == digest
        assert not psutil.wait_procs([draining], timeout=20)[1]


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP], ids=["SIGUSR2", "SIGHUP"])
def test_a_single_process_that_is_told_to_leave_drains(
    number: signal.Signals, root: Path, digest: str, listener: socket.socket
) -> None:
    """Nobody is there to start its successor; so SIGHUP, which elsewhere renews, says the same."""
    with service(root, listeners=(listener,)) as server:
        server.hears("READY")
        download = Download(netloc(listener))
        server.process.send_signal(number)
        server.hears("STOPPING", "1")
        assert download.finish() == digest
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("options", EVERY, ids=" ".join)
def test_the_watchdog_hears_of_a_loop_that_turns(options: tuple[str, ...], root: Path) -> None:
    with service(root, "--port", "0", *options, watchdog_s=1) as server:
        server.hears("READY")
        for _ in range(3):
            server.hears("WATCHDOG", "1")


@pytest.mark.parametrize("options", EVERY, ids=" ".join)
def test_the_watchdog_hears_nothing_when_it_does_not_listen(options: tuple[str, ...], root: Path) -> None:
    with service(root, "--port", "0", *options) as server:
        server.hears("READY")
        server.process.terminate()
        server.process.wait(20)
        server.hears("STOPPING")
        assert not any("WATCHDOG" in message for message in server.told)


@pytest.mark.parametrize("options", SUPERVISED, ids=" ".join)
def test_a_worker_whose_loop_hangs_is_replaced(options: tuple[str, ...], root: Path, listener: socket.socket) -> None:
    with service(root, *options, listeners=(listener,), watchdog_s=2) as server:
        server.hears("READY")
        for worker in (hung := workers(server)):
            worker.suspend()
        assert get(listener) == b"small"
        assert not psutil.wait_procs(hung, timeout=20)[1]
        assert server.process.poll() is None


def test_workers_are_not_told_what_was_said_to_their_supervisor(root: Path, listener: socket.socket) -> None:
    with service(root, "--workers", "2", listeners=(listener,), watchdog_s=30) as server:
        server.hears("READY")
        for worker in workers(server):
            variables = worker.environ()
            assert not [name for name in variables if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))]


def test_several_sockets_are_all_served(root: Path, listener: socket.socket) -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
        service(root, "--supervise", listeners=(listener, other)) as server,
    ):
        server.hears("READY")
        assert (get(listener), get(other)) == (b"small", b"small")


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["datagrams", "nobody_listens"])
def test_a_socket_that_is_none_to_listen_on_is_refused(kind: socket.SocketKind, root: Path) -> None:
    with socket.socket(socket.AF_INET, kind) as wrong, service(root, listeners=(wrong,)) as server:
        assert server.process.wait(20) == 2


def test_sockets_for_another_process_are_left_alone(root: Path) -> None:
    """A child of a service has the variables of its parent, and descriptors that are not meant for it."""
    command = [sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0"]
    variables = clean_environment() | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=variables)
    try:
        assert process.stderr is not None
        assert b" serves " in process.stderr.readline()  # and not that descriptor 3 is no listening socket
    finally:
        stop(process)
        process.stderr.close()  # type: ignore[union-attr]


@pytest.mark.system
def test_the_tool_of_systemd_starts_it_at_the_first_connection(root: Path) -> None:
    activate = tool("systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = [activate, "-l", f"{address[0]}:{address[1]}", sys.executable, "-m", "fileserve", "serve", str(root)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=clean_environment())
    try:
        with socket.socket() as listener:
            assert wait_until(lambda: listener.connect_ex(address) == 0, timeout_s=20)
        with closing(http.client.HTTPConnection(f"{address[0]}:{address[1]}", timeout=30)) as connection:
            connection.request("GET", "/download/small")
            assert connection.getresponse().read() == b"small"
    finally:
        stop(process)


def test_a_manager_that_is_gone_is_a_warning_and_nothing_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "nobody"), None).ready("accepts connections")
    assert "READY=1" in caplog.text


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({}, None, id="no_manager"),
        pytest.param({"WATCHDOG_USEC": "3000000"}, 3.0, id="watchdog"),
        pytest.param({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None, id="watchdog_of_another"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no_number"),
    ],
)
def test_what_is_said_to_this_process_alone_leaves_the_environment(
    variables: dict[str, str], expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NOTIFY_SOCKET": "/run/nobody", **variables}.items():
        monkeypatch.setenv(name, value)
    superior = superior_of_environment()
    assert superior.watchdog_s == expected
    assert not [name for name in os.environ if name.startswith(("NOTIFY_", "WATCHDOG_"))]


@pytest.mark.parametrize(
    ("usec", "watchdog_s", "warning"),
    [
        ("1", SHORTEST_WATCHDOG_S, "WATCHDOG_USEC=1 is too short"),
        ("0", None, ""),
        (str(2**64 - 1), (2**64 - 1) / 1_000_000, ""),
        ("9" * 400, (2**64 - 1) / 1_000_000, ""),
    ],
)
def test_a_watchdog_without_sense_is_bounded(
    usec: str, watchdog_s: float | None, warning: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    superior = superior_of_environment()
    assert superior.watchdog_s == watchdog_s
    assert superior.beat_s is not None
    assert superior.beat_s >= SHORTEST_WATCHDOG_S / 3
    assert caplog.text.count("WATCHDOG_USEC") == bool(warning)
    assert warning in caplog.text


@pytest.mark.parametrize("path", ["vsock:2:1234", "run/notify"])
def test_a_manager_that_cannot_be_told_is_one_warning(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    superior = superior_of_environment()
    superior.ready("accepts connections")
    superior.beat()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert path in caplog.text


@contextmanager
def full_ear(path: Path) -> Iterator[socket.socket]:
    """Listen as a manager does that reads nothing, and has no room any more."""
    with ExitStack() as opened:
        ear = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        ear.bind(str(path))
        while _fill(opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)), path):
            pass  # each sender has a bound of its own
        yield ear


def _fill(sender: socket.socket, path: Path) -> int:
    sender.setblocking(False)
    for count in itertools.count():
        try:
            sender.sendto(b"full", str(path))
        except BlockingIOError:
            return count
    raise AssertionError


def heard(ear: socket.socket) -> list[bytes]:
    """Return what is there, but for what filled it."""
    messages = list[bytes]()
    ear.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            messages.append(ear.recv(4096))
    return [message for message in messages if message != b"full"]


def test_what_a_full_socket_does_not_take_comes_later_and_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "notify"), 3.0)
    with full_ear(tmp_path / "notify") as ear:
        notifier.reloading("a")
        for _ in range(50):
            notifier.beat()
        notifier.ready("b")
        assert heard(ear) == []
        notifier.beat()
        reloading, *others = heard(ear)
        assert reloading.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert others == [b"READY=1\nSTATUS=b", b"WATCHDOG=1"]
    assert len(caplog.records) == 1


def test_a_manager_that_reads_nothing_does_not_hold_up_the_end(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fileserve", "serve", str(root), "--port", "0", "--log-format", "json"]
    variables = clean_environment() | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1"}
    with full_ear(tmp_path / "notify"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=variables)
        assert process.stderr is not None
        try:
            assert any(b"could not be told" in line for line in iter(process.stderr.readline, b""))
            process.terminate()
            assert b"could not be told" not in process.stderr.read()  # a second time
            assert process.wait(20) == 0
        finally:
            stop(process)
            process.stderr.close()


async def test_a_server_that_ends_asks_for_time_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileserve.server.notifying.STOPPING_BEAT_S", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        notifier = Notifier(str(tmp_path / "notify"), None)
        with notifier.attended(lost=lambda: None):
            notifier.stopping("ends")
            for _ in range(3):
                said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ear, 4096), 10)
                assert b"EXTEND_TIMEOUT_USEC=" in said
