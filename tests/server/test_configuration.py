"""Each setting of the socket edge arrives at its limit, and both tables have the same defaults."""

from dataclasses import fields, replace
from typing import Any

import pytest

from fileserve.server.configuration import configure, limits_of
from fileserve.server.limits import Limits
from fileserve.settings import Settings

ROWS = [
    pytest.param("header_bytes", 4096, "header_bytes", 4096, id="header_bytes"),
    pytest.param("header_count", 9, "header_count", 9, id="header_count"),
    pytest.param("head_timeout", 1.5, "head_timeout_s", 1.5, id="head_timeout"),
    pytest.param("stall_timeout", 7, "stall_timeout_s", 7, id="stall_timeout"),
    pytest.param("stall_timeout", 0, "stall_timeout_s", None, id="no_stall_timeout"),
    pytest.param("content_rate", "1KiB", "content_rate", 1024, id="content_rate"),
    pytest.param("content_rate", 0, "content_rate", None, id="no_content_rate"),
    pytest.param("keep_alive", 3, "keep_alive_s", 3, id="keep_alive"),
    pytest.param("connections", 11, "connections", 11, id="connections"),
    pytest.param("connections_per_client", 2, "connections_per_client", 2, id="connections_per_client"),
    pytest.param("transfers_per_client", 3, "transfers_per_client", 3, id="transfers_per_client"),
    pytest.param("trusted_proxies", "10.0.0.1/8, unix:", "trusted_proxies", ("10.0.0.1/8", "unix:"), id="proxies"),
    pytest.param("retry_after", 8, "retry_after_s", 8, id="retry_after"),
]


@pytest.mark.parametrize(("setting", "value", "limit", "expected"), ROWS)
def test_a_setting_is_a_limit(setting: str, value: Any, limit: str, expected: Any) -> None:
    assert getattr(limits_of(Settings(**{setting: value})), limit) == expected


def test_every_limit_has_a_row() -> None:
    assert {row.values[2] for row in ROWS} == {field.name for field in fields(Limits)}


def test_both_tables_have_the_same_defaults() -> None:
    assert limits_of(Settings()) == replace(Limits(), keep_alive_s=Settings().keep_alive)


def test_zero_copy_can_be_switched_off() -> None:
    protocols = [configure(Settings(zero_copy=choice)).http for choice in ("auto", "off")]
    assert [getattr(protocol, "zero_copy") for protocol in protocols] == [True, False]  # noqa: B009
