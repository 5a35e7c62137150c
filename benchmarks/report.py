"""The report: ``benchmarks/report/report.md`` with the tables and a plot for each group of measures.

The values of every round lie beside it in ``raw.json``, which git ignores.
"""

import datetime
from pathlib import Path

from benchmarks import machine, plot, table
from benchmarks.record import Record

FOLDER = Path(__file__).parent / "report"

CPU = ("cpu_1", "cpu_16", "cpu_64", "cpu_1_bbr", "cpu_16_bbr", "cpu_64_bbr")
FIRST_BYTE = ("ttfb_p50", "ttfb_p99", "ttfb_loaded_p50", "ttfb_loaded_p99")

#: Which measures share a picture: its file, its heading, their keys.
PLOTS = (
    ("cpu.svg", "CPU seconds per GiB (less is better)", CPU),
    ("rate.svg", "Throughput in GiB/s (more is better)", ("rate_1", "rate_16", "rate_64")),
    ("first-byte.svg", "Time to first byte in ms (less is better)", FIRST_BYTE),
    ("requests.svg", "Requests per second (more is better)", ("ranges", "small")),
    ("memory.svg", "Memory in MiB (less is better)", ("memory_1", "memory_64", "memory_slow", "tcp_slow")),
    ("cold.svg", "Waiting time of others in ms, cold file (less is better)", ("cold_p50", "cold_p99", "cold_max")),
)


def write(record: Record, setting: list[str]) -> Path:
    """Write the report of *record*, measured as *setting* says, and return its path."""
    FOLDER.mkdir(exist_ok=True)
    record.write(FOLDER / "raw.json")
    pictures = [name for name, heading, keys in PLOTS if _draw(name, heading, keys, record)]
    path = FOLDER / "report.md"
    path.write_text("\n".join(_text(record, setting, pictures)) + "\n")
    return path


def _draw(name: str, heading: str, keys: tuple[str, ...], record: Record) -> bool:
    picture = plot.draw(heading, keys, record)
    if picture is not None:
        (FOLDER / name).write_text(picture)
    return picture is not None


def _text(record: Record, setting: list[str], pictures: list[str]) -> list[str]:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    how = "a quick run: few rounds, small transfers" if machine.QUICK else "a full run"
    headings = {name: heading for name, heading, _ in PLOTS}
    return [
        f"# Benchmarks, {today}",
        "",
        f"This is {how}; the method is in [README](../README.md). Values are medians over interleaved rounds; figures",
        "against a peer are the ratios of two of them, beside the medians of the ratios within the rounds.",
        "",
        *(f"- {line}" for line in (*setting, *machine.versions(), *record.notes)),
        "",
        "## Targets",
        "",
        *_markdown(table.targets(record)),
        "",
        "## Figures",
        "",
        *_markdown(table.figures(record)),
        "",
        *(f"![{headings[name]}]({name})\n" for name in pictures),
    ]


def _markdown(rows: list[tuple[str, ...]]) -> list[str]:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return [head, "|" + "---|" * len(rows[0]), *body]
