"""What must be reached, in one table, and what should be: ratios within a run, and bytes, but never a time.

A figure that misses its *must* fails the run, unless nobody can reach it on this machine (`Target.bar`). The ratio is
that of the measured value to the peer's *against*, or the value itself where no peer is named.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from benchmarks.record import Record

UPLOADS, UNHASHED, NGINX_DAV = "fileserve, uploads", "fileserve, no digests", "nginx, WebDAV"
FILESERVE, CHUNKS, TLS, ASYNCIO = "fileserve", "fileserve, chunks", "fileserve, TLS", "fileserve, asyncio"
NGINX, NGINX_THREADS, NGINX_TLS, STARLETTE = "nginx", "nginx, aio threads", "nginx, TLS", "Starlette"


class Bound(Enum):
    """On which side of its limit a figure is good."""

    AT_MOST = "≤"
    AT_LEAST = "≥"


@dataclass(frozen=True, slots=True)
class Target:
    """One row: what *peer* must reach in *key*, compared with the peer *against*, and what it aims at."""

    key: str
    against: str | None
    bound: Bound
    must: float
    aim: float
    peer: str = FILESERVE
    bar: str | None = None
    """Who has to reach *must* too, or nobody can on this machine: what the same work costs without Python."""


class Verdict(Enum):
    """What became of a target."""

    AIM = "aim reached"
    MUST = "reached"
    MISSED = "MISSED"
    BEYOND = "out of reach"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Judged:
    """A target and the figure that stands against it: ``None`` if there is none."""

    target: Target
    figure: float | None
    verdict: Verdict


TARGETS = (
    Target("cpu_1", NGINX, Bound.AT_MOST, 1.2, 1.0),
    Target("cpu_16", NGINX, Bound.AT_MOST, 1.2, 1.0),
    Target("cpu_64", NGINX, Bound.AT_MOST, 1.3, 1.0),
    Target("cpu_1_bbr", NGINX, Bound.AT_MOST, 1.2, 1.0),
    Target("cpu_16_bbr", NGINX, Bound.AT_MOST, 1.2, 1.0),
    Target("cpu_64_bbr", NGINX, Bound.AT_MOST, 1.2, 1.0),
    Target("cpu_1", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20, bar=NGINX),
    Target("cpu_16", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20, bar=NGINX),
    Target("cpu_64", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20, bar=NGINX),
    Target("rate_1", NGINX, Bound.AT_LEAST, 0.8, 1.0),
    Target("rate_16", NGINX, Bound.AT_LEAST, 0.8, 1.0),
    Target("ttfb_p50", NGINX, Bound.AT_MOST, 2.0, 1.2),
    Target("ttfb_p99", NGINX, Bound.AT_MOST, 3.0, 1.5),
    Target("ttfb_size", None, Bound.AT_MOST, 1.2, 1.0),
    Target("ttfb_loaded_p99", NGINX, Bound.AT_MOST, 0.8, 0.5),
    Target("ranges", NGINX, Bound.AT_LEAST, 0.4, 0.8),
    Target("small", STARLETTE, Bound.AT_LEAST, 5, 12),
    Target("loop_small", ASYNCIO, Bound.AT_LEAST, 1, 1.2),
    Target("loop_ttfb", ASYNCIO, Bound.AT_MOST, 1, 0.8),
    Target("loop_cpu", ASYNCIO, Bound.AT_MOST, 1.1, 1),
    Target("memory_64", None, Bound.AT_MOST, 2, 1),
    Target("memory_slow", None, Bound.AT_MOST, 25, 10),
    Target("tcp_slow", NGINX, Bound.AT_MOST, 1 / 4, 1 / 8),
    Target("cold_p99", NGINX_THREADS, Bound.AT_MOST, 3, 1),
    Target("aborted", STARLETTE, Bound.AT_MOST, 1 / 2, 1 / 5),
    Target("tls_cpu", NGINX_TLS, Bound.AT_MOST, 1.25, 1.05, peer=TLS),
    Target("memory_1", None, Bound.AT_MOST, 8, 1, peer=CHUNKS),
    Target("memory_64", None, Bound.AT_MOST, 64, 32, peer=CHUNKS),
    Target("archive_cpu", None, Bound.AT_MOST, 1.1, 1.0),
    Target("archive_first", None, Bound.AT_MOST, 5, 2),
    Target("archive_again", None, Bound.AT_MOST, 3, 1.5),
    Target("archive_memory", None, Bound.AT_MOST, 64, 32),
    Target("upload_cpu", NGINX_DAV, Bound.AT_MOST, 2.0, 1.2, peer=UNHASHED),
    Target("form_cpu", NGINX_DAV, Bound.AT_MOST, 3.0, 2.0, peer=UNHASHED),
    Target("upload_memory_1", None, Bound.AT_MOST, 8, 2, peer=UPLOADS),
    Target("form_memory_1", None, Bound.AT_MOST, 8, 2, peer=UPLOADS),
    Target("upload_memory_32", None, Bound.AT_MOST, 64, 32, peer=UPLOADS),
    Target("upload_ttfb", None, Bound.AT_MOST, 2.0, 1.2, peer=UPLOADS),
    Target("hashing", None, Bound.AT_LEAST, 0.9, 1.0),
    Target("events_memory", None, Bound.AT_MOST, 32, 24),
    Target("events_cpu", None, Bound.AT_MOST, 2, 1),
    Target("watched_cpu", None, Bound.AT_MOST, 1.05, 1.02),
    Target("listing_memory", None, Bound.AT_MOST, 200, 150),
)

_HOLDS: dict[Bound, Callable[[float, float], bool]] = {Bound.AT_MOST: operator.le, Bound.AT_LEAST: operator.ge}


def judge(target: Target, record: Record) -> Judged:
    """Return how *target* stands in *record*."""
    figure = _figure(target, target.peer, record)
    verdict = _verdict(target, figure)
    if verdict is Verdict.MISSED and target.bar and _verdict(target, bar_of(target, record)) is Verdict.MISSED:
        verdict = Verdict.BEYOND
    return Judged(target, figure, verdict)


def bar_of(target: Target, record: Record) -> float | None:
    """Return what the *bar* of *target* has itself; ``None`` if there is none."""
    return _figure(target, target.bar, record) if target.bar else None


def _figure(target: Target, peer: str, record: Record) -> float | None:
    if target.against is None:
        return record.median(target.key, peer)
    return record.ratio(target.key, peer, target.against)


def _verdict(target: Target, figure: float | None) -> Verdict:
    holds = _HOLDS[target.bound]
    if figure is None:
        return Verdict.UNMEASURED
    if holds(figure, target.aim):
        return Verdict.AIM
    return Verdict.MUST if holds(figure, target.must) else Verdict.MISSED
