"""What must be reached, in one table, and what should be: ratios within a run, and bytes, but never a time.

A figure that misses its *must* fails the run. The ratio is that of the measured value to the peer's *against*, or the
value itself where no peer is named.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from benchmarks.record import Record

UPLOADS, UNHASHED, NGINX_DAV = "fileserve, uploads", "fileserve, no digests", "nginx, WebDAV"
FILESERVE, CHUNKS, TLS = "fileserve", "fileserve, chunks", "fileserve, TLS"
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


class Verdict(Enum):
    """What became of a target."""

    AIM = "aim reached"
    MUST = "reached"
    MISSED = "MISSED"
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
    Target("cpu_1", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20),
    Target("cpu_16", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20),
    Target("cpu_64", STARLETTE, Bound.AT_MOST, 1 / 15, 1 / 20),
    Target("rate_1", NGINX, Bound.AT_LEAST, 0.8, 1.0),
    Target("rate_16", NGINX, Bound.AT_LEAST, 0.8, 1.0),
    Target("ttfb_p50", NGINX, Bound.AT_MOST, 2.0, 1.2),
    Target("ttfb_p99", NGINX, Bound.AT_MOST, 3.0, 1.5),
    Target("ttfb_size", None, Bound.AT_MOST, 1.2, 1.0),
    Target("ttfb_loaded_p99", NGINX, Bound.AT_MOST, 0.8, 0.5),
    Target("ranges", NGINX, Bound.AT_LEAST, 0.4, 0.8),
    Target("small", STARLETTE, Bound.AT_LEAST, 5, 12),
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
    Target("listing_memory", None, Bound.AT_MOST, 200, 150),
)

_HOLDS: dict[Bound, Callable[[float, float], bool]] = {Bound.AT_MOST: operator.le, Bound.AT_LEAST: operator.ge}


def judge(target: Target, record: Record) -> Judged:
    """Return how *target* stands in *record*."""
    if target.against is None:
        figure = record.median(target.key, target.peer)
    else:
        figure = record.ratio(target.key, target.peer, target.against)
    return Judged(target, figure, _verdict(target, figure))


def _verdict(target: Target, figure: float | None) -> Verdict:
    holds = _HOLDS[target.bound]
    if figure is None:
        return Verdict.UNMEASURED
    if holds(figure, target.aim):
        return Verdict.AIM
    return Verdict.MUST if holds(figure, target.must) else Verdict.MISSED
