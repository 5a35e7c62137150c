"""What is measured: the table of all measures, in the order of the report.

A key stands for one column of numbers from one kind of sample. The same keys name what must be reached in
``targets.py`` and what is drawn in ``report.py``; a key that is not here cannot be recorded. The last ones tell what
the client costs, so that a client that has become the bottleneck is seen.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured of several peers; *key* names it in `Record`, *unit* is that of its values."""

    key: str
    title: str
    unit: str


BUSY = "client_busy_"  #: how the keys begin that tell whether the client was the bottleneck
_STREAMS = {1: "1 stream", 16: "16 streams", 64: "64 streams"}


def _transfers(suffix: str, words: str) -> tuple[Measure, ...]:
    return (
        *(Measure(f"cpu_{n}{suffix}", f"CPU, {text}{words}", "CPU s/GiB") for n, text in _STREAMS.items()),
        *(Measure(f"rate_{n}{suffix}", f"throughput, {text}{words}", "GiB/s") for n, text in _STREAMS.items()),
    )


def _machine(suffix: str, words: str) -> tuple[Measure, ...]:
    title = "all processors, client included"
    return tuple(Measure(f"machine_{n}{suffix}", f"{title}, {text}{words}", "s/GiB") for n, text in _STREAMS.items())


def _client(suffix: str, words: str) -> tuple[Measure, ...]:
    title = "client's processor busy"
    return tuple(Measure(f"{BUSY}{n}{suffix}", f"{title}, {text}{words}", "%") for n, text in _STREAMS.items())


MEASURES = (
    *_transfers("", ""),
    *_machine("", ""),
    *_transfers("_bbr", ", bbr"),
    *_machine("_bbr", ", bbr"),
    *_transfers("_unsteered", ", unsteered"),
    *_machine("_unsteered", ", unsteered"),
    *_transfers("_bbr_unsteered", ", bbr, unsteered"),
    *_machine("_bbr_unsteered", ", bbr, unsteered"),
    Measure("tls_cpu", "CPU, 1 stream, TLS 1.3", "CPU s/GiB"),
    Measure("tls_rate", "throughput, 1 stream, TLS 1.3", "GiB/s"),
    Measure("ttfb_p50", "time to first byte p50, idle", "ms"),
    Measure("ttfb_p99", "time to first byte p99, idle", "ms"),
    Measure("ttfb_size", "time to first byte p50, 4 GiB file : 1 KiB file", "ratio"),
    Measure("ttfb_loaded_p50", "time to first byte p50, 8 downloads running", "ms"),
    Measure("ttfb_loaded_p99", "time to first byte p99, 8 downloads running", "ms"),
    Measure("aborted", "CPU of an aborted request of the 4 GiB file", "CPU ms"),
    Measure("ranges", "1 MiB ranges, keep-alive", "1/s"),
    Measure("small", "1 KiB requests, keep-alive", "1/s"),
    Measure("loop_small", "loops: 1 KiB requests, keep-alive", "1/s"),
    Measure("loop_ttfb", "loops: time to first byte p50, idle", "ms"),
    Measure("loop_cpu", "loops: CPU, 16 streams", "CPU s/GiB"),
    Measure("memory_1", "memory growth, 1 stream", "MiB"),
    Measure("memory_64", "memory growth, 64 streams", "MiB"),
    Measure("memory_slow", "memory growth, 1,000 slow readers", "MiB"),
    Measure("tcp_slow", "kernel TCP memory, 1,000 slow readers", "MiB"),
    Measure("cold_p50", "waiting time of others p50, cold file", "ms"),
    Measure("cold_p99", "waiting time of others p99, cold file", "ms"),
    Measure("cold_max", "waiting time of others, longest, cold file", "ms"),
    Measure("listing_json", "page 1 of 100,000 names, JSON", "ms"),
    Measure("listing_html", "page 1 of 100,000 names, HTML", "ms"),
    Measure("listing_memory", "memory growth while listing, of each name", "B"),
    Measure("archive_cpu", "CPU of a tar : the same bytes as files", "ratio"),
    Measure("archive_first", "first byte of a new tar of 10,000 files : a walk", "ratio"),
    Measure("archive_again", "first byte of a known one : lstat of its members", "ratio"),
    Measure("archive_memory", "memory growth, tar of 100,000 files", "MiB"),
    Measure("hashing", "rate of hashing : sha256sum", "ratio"),
    Measure("events_memory", "memory growth, 1,000 idle subscribers", "MiB"),
    Measure("events_cpu", "CPU of 1,000 idle subscribers", "%"),
    Measure("events_p50", "from a line to its subscriber p50", "ms"),
    Measure("events_p99", "from a line to its subscriber p99", "ms"),
    Measure("watched_cpu", "CPU of 200 downloads with 50 subscribers : without", "ratio"),
    Measure("upload_cpu", "CPU, 1 upload", "CPU s/GiB"),
    Measure("upload_rate", "throughput, 1 upload", "GiB/s"),
    Measure("chunked_cpu", "CPU, 1 upload of unknown length", "CPU s/GiB"),
    Measure("form_cpu", "CPU, 1 form : a PUT to nginx", "CPU s/GiB"),
    Measure("upload_memory_1", "memory growth, 1 upload of 4 GiB", "MiB"),
    Measure("form_memory_1", "memory growth, 1 form of 4 GiB", "MiB"),
    Measure("upload_memory_32", "memory growth, 32 uploads", "MiB"),
    Measure("upload_ttfb", "time to first byte p99, 8 uploads running : idle", "ratio"),
    Measure("client_cpu_1", "the client's own CPU, 1 stream", "CPU s/GiB"),
    Measure("client_cpu_16", "the client's own CPU, 16 streams", "CPU s/GiB"),
    *_client("", ""),
    *_client("_bbr", ", bbr"),
    *_client("_unsteered", ", unsteered"),
    *_client("_bbr_unsteered", ", bbr, unsteered"),
    Measure(f"{BUSY}ranges", "client busy, 1 MiB ranges", "%"),
    Measure(f"{BUSY}small", "client busy, 1 KiB requests", "%"),
    Measure(f"{BUSY}tls", "client busy, TLS", "%"),
)

BY_KEY = {measure.key: measure for measure in MEASURES}
