"""The table of metrics: what each family of numbers is called for Prometheus, and what it means.

Names follow Prometheus' conventions: units that are base units, ``_total`` for what only grows. Labels have few values,
which stand in the code: routes, ends, statuses; never a name, an address or anything else that a client chooses. The
sums over all workers are told, but for descriptors, of which each worker has its own limit.

Left out: the text. prometheus_client writes it, in the format that the scraper asks for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

import fileserve
from fileserve.web.metrics.kept import Numbers, Snapshot, add

__all__ = ["COUNTERS", "GAUGES", "HISTOGRAMS", "Family", "render"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family as it is counted, its name behind ``fileserve_``, what it means, and its labels."""

    counted: str
    name: str
    meaning: str
    labels: tuple[str, ...] = ()


COUNTERS = (
    Family(
        "ends",
        "transfers_finished",
        "Responses with content that have ended: taken whole by the client's kernel, left by the client, stalled (it "
        "took nothing), failed (the content changed or could not be read), unknown (nginx sent it and never said).",
        ("route", "end"),
    ),
    Family(
        "sent",
        "transfer_bytes",
        "Bytes of content that clients' kernels have taken, transfers under way included.",
        ("route",),
    ),
    Family(
        "outcomes",
        "logical_transfers_finished",
        "Downloads that have ended, each with all responses to one client: complete, aborted, "
        "stalled, failed, expired, unknown.",
        ("outcome",),
    ),
    Family(
        "responses",
        "responses",
        "Responses begun, by status, or offloaded: left to nginx, which sends them. Heads that were refused are not "
        "among them.",
        ("status",),
    ),
    Family(
        "refusals",
        "refusals",
        "Requests and connections that the socket edge refused by itself.",
        ("status", "reason"),
    ),
    Family(
        "stalls",
        "stalled_connections",
        "Connections whose client took no byte for the stall timeout, which were reset, or sent an upload too slowly: "
        "answered 408, or reset as well where that was not possible any more.",
    ),
    Family(
        "broken_off", "broken_off_responses", "Responses broken off by the server: content changed, application failed."
    ),
    Family("connections", "connections_accepted", "Connections that were admitted."),
    Family("received", "upload_received_bytes", "Bytes of uploads that arrived, also of those that came to nothing."),
    Family("stored", "uploads_stored", "Uploaded files that got their names."),
    Family("hashed_files", "index_hashed_files", "Files read whole for their digests."),
    Family("hashed_bytes", "index_hashed_bytes", "Bytes read for digests."),
)
HISTOGRAMS = (
    Family("first_byte", "first_byte_seconds", "From the end of a request's head to the first byte of its response."),
    Family(
        "durations",
        "transfer_duration_seconds",
        "From the first to the last byte of a response with content that has ended, however it did.",
        ("route",),
    ),
)
GAUGES = (
    Family("under_way", "transfers_active", "Responses with content under way.", ("route",)),
    Family("kept", "logical_transfers_active", "Downloads under way, those included that may still be resumed."),
    Family("streams", "event_streams", "Event streams that are open."),
    Family("uploads", "uploads_active", "Requests with uploads that are being received."),
    Family("sessions", "upload_sessions", "Resumable uploads begun and neither ended nor expired."),
    Family("hashing", "index_hashing_files", "Files being read for their digests."),
    Family("waiting", "index_waiting_files", "Files waiting in the background for their digests."),
    Family("connections", "connections", "Connections now."),
    Family("places", "connections_limit", "Connections that are admitted at once."),
)
PER_WORKER = (
    Family("descriptors", "open_descriptors", "Descriptors that a worker holds.", ("worker",)),
    Family("descriptors_limit", "descriptors_limit", "Descriptors that a worker may hold.", ("worker",)),
)


def render(snapshots: Sequence[Snapshot], shared: Numbers, accept: str) -> tuple[bytes, str]:
    """Return the text of all metrics, and its media type. *shared* are gauges that are the same in all workers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(snapshots, shared))
    encode, media_type = _encoder(accept)
    return encode(registry), media_type


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """Return what *accept* asks for. Policy: what cannot be read asks for nothing in particular. RFC 9110 §12.5.1."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none, which fails in different ways
        return choose_encoder("")


class _Told:
    """A collector of what was counted already."""

    def __init__(self, snapshots: Sequence[Snapshot], shared: Numbers) -> None:
        nothing: Numbers = {}
        self._counters = reduce(add, (snapshot.counters for snapshot in snapshots), nothing)
        self._gauges = reduce(add, (snapshot.gauges for snapshot in snapshots), shared)
        self._living = [snapshot for snapshot in snapshots if snapshot.gauges]

    def collect(self) -> Iterator[Metric]:
        """Yield all families, also those without a number."""
        yield _gauge(Family("", "workers", "Worker processes that are alive."), {"": len(self._living)})
        version = {fileserve.__version__: 1}
        yield _gauge(Family("", "build_info", "Always 1; the label tells the version.", ("version",)), version)
        for family in COUNTERS:
            yield _counter(family, self._counters.get(family.counted, {}))
        for family in HISTOGRAMS:
            yield _histogram(family, self._counters.get(family.counted, {}))
        for family in GAUGES:
            yield _gauge(family, self._gauges.get(family.counted, {}))
        for family in PER_WORKER:
            yield _gauge(
                family, {str(one.worker): one.gauges.get(family.counted, {}).get("", 0) for one in self._living}
            )


def _counter(family: Family, numbers: Mapping[str, float]) -> Metric:
    metric = CounterMetricFamily(f"fileserve_{family.name}", family.meaning, labels=family.labels)
    for labels, number in _labelled(family, numbers):
        metric.add_metric(labels, number)
    return metric


def _gauge(family: Family, numbers: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"fileserve_{family.name}", family.meaning, labels=family.labels)
    for labels, number in _labelled(family, numbers):
        metric.add_metric(labels, number)
    return metric


def _labelled(family: Family, numbers: Mapping[str, float]) -> Iterable[tuple[list[str], float]]:
    """Return the values of the labels with each number; one without labels is 0 where nothing was counted."""
    if not family.labels:
        return [([], numbers.get("", 0))]
    return [(key.split(" "), number) for key, number in sorted(numbers.items())]


def _histogram(family: Family, numbers: Mapping[str, float]) -> Metric:
    """Return the histogram: Prometheus wants each bucket to count what is in the smaller ones, too."""
    metric = HistogramMetricFamily(f"fileserve_{family.name}", family.meaning, labels=family.labels)
    by_labels: dict[str, dict[str, float]] = {} if family.labels else {"": {}}
    for key, number in numbers.items():
        labels, _, bound = key.rpartition(" ")
        by_labels.setdefault(labels, {})[bound] = number
    for labels, buckets in sorted(by_labels.items()):
        total = buckets.pop("sum", 0)
        reached, cumulated = 0.0, []
        for bound in sorted({*buckets, "+Inf"}, key=float):
            reached += buckets.get(bound, 0)
            cumulated.append((bound, reached))
        metric.add_metric(labels.split(" ") if labels else [], buckets=cumulated, sum_value=total)
    return metric
