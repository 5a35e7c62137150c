"""What the server leans on in uvicorn: an upgrade that changes it fails here, with a name, and not on the wire."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from fileserve.server import Protocol
from fileserve.server.connection import Connection
from fileserve.server.edge import edge_of
from fileserve.server.endings import Ending
from fileserve.server.flow import Flow
from fileserve.server.intake import Intake
from fileserve.server.limits import Limits
from fileserve.server.worker import Worker

OVERRIDES = sorted(
    name
    for cls in (Protocol, Ending, Intake, Connection)
    for name in vars(cls)
    if name in vars(HttpToolsProtocol) and callable(getattr(HttpToolsProtocol, name))
)


def attributes_set_by(function: Callable[..., Any]) -> set[str]:
    """Return the attributes of ``self`` that *function* assigns."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    targets = [target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign | ast.AugAssign)]
    return {
        target.attr
        for target in targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
    }


def names_used_by(function: Callable[..., Any]) -> set[str]:
    """Return every name and attribute that *function* mentions."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


def test_the_overrides_are_the_ones_that_this_file_knows() -> None:
    assert set(OVERRIDES) == {
        "__init__",
        "_start_asgi_task",
        "_unset_keepalive_if_required",
        "connection_lost",
        "connection_made",
        "data_received",
        "eof_received",
        "handle_websocket_upgrade",
        "on_body",
        "on_headers_complete",
        "on_message_begin",
        "on_message_complete",
        "on_response_complete",
        "shutdown",
        "timeout_keep_alive_handler",
    }


def overridden(ours: type, theirs: type) -> set[str]:
    return {name for name in vars(ours) if name in vars(theirs) and callable(getattr(theirs, name))}


def test_the_overrides_of_the_server_and_of_the_flow_are_the_ones_that_this_file_knows() -> None:
    assert overridden(Worker, Server) == {"__init__", "capture_signals", "on_tick", "shutdown", "startup"}
    assert overridden(Flow, FlowControl) == {"__init__", "drain", "pause_writing", "resume_reading"}


@pytest.mark.parametrize(
    ("ours", "theirs", "name"),
    [(Worker, Server, name) for name in ("capture_signals", "on_tick", "shutdown", "startup")]
    + [(Flow, FlowControl, name) for name in ("drain", "pause_writing", "resume_reading")],
)
def test_an_override_of_the_server_or_the_flow_has_their_parameters(ours: type, theirs: type, name: str) -> None:
    assert list(inspect.signature(getattr(ours, name)).parameters) == list(
        inspect.signature(getattr(theirs, name)).parameters
    )


def test_the_startup_that_ours_replaces_begins_no_more() -> None:
    assert attributes_set_by(Server.startup) == {"servers", "started"}
    assert {"lifespan", "state", "should_exit", "STARTUP_FAILURE", "create_server"} <= names_used_by(Server.startup)


def test_the_flow_begins_with_the_attributes_that_uvicorn_would_set() -> None:
    assert attributes_set_by(FlowControl.__init__) == {
        *("_transport", "read_paused", "write_paused", "_is_writable_event")
    }


def test_the_data_received_that_ours_replaces_does_no_more() -> None:
    used = names_used_by(HttpToolsProtocol.data_received)
    assert used == {
        *("self", "data", "httptools", "bytes", "_unset_keepalive_if_required", "parser", "feed_data"),
        *("HttpParserError", "msg", "logger", "warning", "send_400_response"),
        *("HttpParserUpgrade", "_should_upgrade", "handle_websocket_upgrade", "_unsupported_upgrade_warning"),
    }
    assert {"HttpRequestParser", "set_dangerous_leniencies"} <= names_used_by(HttpToolsProtocol.__init__)


def test_the_end_of_a_response_that_ours_replaces_does_no_more() -> None:
    assert names_used_by(HttpToolsProtocol.on_response_complete) == {
        *("self", "server_state", "total_requests", "transport", "is_closing", "_unset_keepalive_if_required"),
        *("flow", "resume_reading", "pipeline", "pop", "cycle", "app", "_start_asgi_task"),
        *("timeout_keep_alive_task", "loop", "call_later", "timeout_keep_alive", "timeout_keep_alive_handler"),
    }


@pytest.mark.parametrize("name", ["__init__", "connection_made"])
def test_a_connection_begins_with_the_attributes_that_uvicorn_would_set(name: str) -> None:
    theirs = attributes_set_by(getattr(HttpToolsProtocol, name))
    assert attributes_set_by(getattr(Connection, name)) == theirs


def test_the_beginning_of_a_connection_that_ours_replaces_does_no_more() -> None:
    assert names_used_by(HttpToolsProtocol.connection_made) == {
        *("self", "asyncio", "Transport", "transport", "connections", "add", "flow", "FlowControl"),
        *("server", "get_local_addr", "client", "get_remote_addr", "scheme", "is_ssl"),
        *("logger", "level", "log", "TRACE_LOG_LEVEL", "prefix"),
    }


def test_the_send_that_ours_stands_in_for_does_no_more() -> None:
    cycle = {name for name in names_used_by(RequestResponseCycle.send) if name.islower()}
    assert cycle == {
        *("self", "message", "flow", "write_paused", "disconnected", "drain", "response_started", "get"),
        *("waiting_for_100_continue", "status_code", "headers", "default_headers", "list", "access_log"),
        *("access_logger", "info", "get_client_addr", "scope", "get_path_with_query_string", "content", "search"),
        *("has_connection_close", "name", "value", "lower", "chunked_encoding", "expected_content_length", "int"),
        *("decode", "connection", "split", "token", "strip", "keep_alive", "extend", "append", "transport", "write"),
        *("join", "response_complete", "body", "more_body", "len", "num_bytes", "message_event", "set", "close"),
        *("on_response",),
    }


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_override_has_the_parameters_of_what_it_overrides(name: str) -> None:
    ours, theirs = getattr(Protocol, name), getattr(HttpToolsProtocol, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)


@pytest.mark.parametrize(
    ("function", "attributes"),
    [
        pytest.param(
            HttpToolsProtocol.__init__,
            {"config", "loop", "logger", "parser", "connections", "tasks", "transport", "flow", "client", "scheme"}
            | {"pipeline", "headers", "expect_100_continue", "cycle", "timeout_keep_alive", "timeout_keep_alive_task"},
            id="protocol",
        ),
        pytest.param(HttpToolsProtocol.connection_made, {"transport", "flow", "client", "scheme"}, id="connection"),
        pytest.param(HttpToolsProtocol.on_message_begin, {"url", "headers", "scope", "expect_100_continue"}, id="head"),
        pytest.param(
            RequestResponseCycle.__init__,
            {"scope", "default_headers", "message_event", "disconnected", "keep_alive", "waiting_for_100_continue"}
            | {"more_body", "response_started", "response_complete", "chunked_encoding", "expected_content_length"},
            id="cycle",
        ),
        pytest.param(ServerState.__init__, {"connections", "tasks", "default_headers"}, id="server_state"),
        pytest.param(FlowControl.__init__, {"read_paused", "write_paused"}, id="flow"),
        pytest.param(Config.load, {"encoded_headers", "http_protocol_class"}, id="config"),
    ],
)
def test_uvicorn_sets_what_we_read(function: Callable[..., Any], attributes: set[str]) -> None:
    assert attributes <= attributes_set_by(function)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        pytest.param(
            HttpToolsProtocol.on_headers_complete, {"_start_asgi_task", "url", "expect_100_continue"}, id="start"
        ),
        pytest.param(HttpToolsProtocol.on_header, {"headers"}, id="field_or_trailer"),
        pytest.param(HttpToolsProtocol.connection_lost, {"resume_writing", "message_event"}, id="loss"),
        pytest.param(HttpToolsProtocol._unset_keepalive_if_required, {"timeout_keep_alive_task"}, id="idle_timer"),
        pytest.param(HttpToolsProtocol.timeout_keep_alive_handler, {"transport", "close"}, id="idle_end"),
        pytest.param(RequestResponseCycle.run_asgi, {"send", "response_started", "disconnected"}, id="application"),
        pytest.param(
            RequestResponseCycle.send,
            {"default_headers", "chunked_encoding", "expected_content_length", "keep_alive", "on_response", "drain"},
            id="response",
        ),
        pytest.param(HttpToolsProtocol.on_body, {"body", "len", "pause_reading", "message_event"}, id="content"),
        pytest.param(RequestResponseCycle.receive, {"bytes", "body", "bytearray"}, id="content_handed_out"),
        pytest.param(RequestResponseCycle.receive, {"waiting_for_100_continue", "message_event"}, id="continue"),
        pytest.param(FlowControl.resume_reading, {"read_paused", "_transport", "resume_reading"}, id="reading"),
        pytest.param(FlowControl.resume_writing, {"write_paused", "_is_writable_event"}, id="writing"),
        pytest.param(FlowControl.drain, {"_is_writable_event", "wait"}, id="waiting_to_write"),
        pytest.param(Server.serve, {"capture_signals", "_serve"}, id="signals"),
        pytest.param(Server._serve, {"lifespan", "startup", "main_loop", "shutdown", "started"}, id="course"),
        pytest.param(Server.main_loop, {"on_tick"}, id="ticks"),
        pytest.param(Server.on_tick, {"should_exit", "encoded_headers"}, id="tick"),
        pytest.param(Server.shutdown, {"timeout_graceful_shutdown", "force_exit", "lifespan"}, id="end_of_the_drain"),
        pytest.param(Server.shutdown, {"shutdown", "connections", "servers", "close"}, id="drain"),
        pytest.param(Server._wait_tasks_to_complete, {"servers", "wait_closed"}, id="end"),
    ],
)
def test_uvicorn_uses_what_we_set_or_override(function: Callable[..., Any], names: set[str]) -> None:
    assert names <= names_used_by(function)


def test_a_protocol_class_is_what_uvicorn_is_given() -> None:
    limits = Limits(header_count=7)
    protocol = Protocol.with_limits(limits, zero_copy=False)
    config = uvicorn.Config(lambda: None, http=protocol, log_config=None)
    config.load()
    assert config.http_protocol_class is protocol
    assert (protocol.limits, protocol.zero_copy, Protocol.limits) == (limits, False, Limits())


def test_two_servers_share_nothing_and_one_server_shares_all() -> None:
    one, other = ServerState(), ServerState()
    assert edge_of(one, Limits()) is edge_of(one, Limits())
    assert edge_of(one, Limits()) is not edge_of(other, Limits())
