"""How long it takes to decide what to answer: ``plan_download``, which is pure, for the usual requests.

One function in this process, timed by pytest-benchmark; no peer, and no target. It tells how much of a request's time
is deciding, and whether a change to ``semantics`` has made it more.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fileserve.semantics.plan import plan_download
from fileserve.semantics.representation import Representation
from fileserve.semantics.validators import EntityTag

FILE = Representation(4 << 30, EntityTag("18c-100000000-1d9f"), 1_700_000_000, "application/octet-stream", "sample.bin")
NOW_S = 1_800_000_000


@pytest.mark.benchmark(group="plan_download", min_rounds=5, max_time=0.5)
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="whole"),
        pytest.param({"range": "bytes=1048576-2097151"}, id="one_range"),
        pytest.param({"range": "bytes=1048576-", "if-range": str(FILE.etag)}, id="resume"),
        pytest.param({"range": "bytes=0-99,200-299,4000-4999"}, id="three_ranges"),
        pytest.param({"if-none-match": str(FILE.etag)}, id="not_modified"),
    ],
)
def bench_plan(benchmark: BenchmarkFixture, fields: dict[str, str]) -> None:
    benchmark(lambda: plan_download("GET", fields, FILE, boundary="b" * 32, now_s=NOW_S))
