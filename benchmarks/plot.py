"""Horizontal bars as SVG: one group for each measure, one bar for each peer, on a logarithmic scale.

Logarithmic, because peers differ by a factor of a hundred; the number stands behind each bar, and a thin line spans the
smallest and the largest round. Colours are legible on light and dark grounds, and each peer keeps its own.
"""

import math
from dataclasses import dataclass
from html import escape

from benchmarks.measures import BY_KEY
from benchmarks.record import Record
from benchmarks.table import show

BAR, STEP, GAP, LEFT, WIDTH, RIGHT = 16, 20, 22, 150, 520, 90
HEADING = 34
COLOURS = {
    "fileserve": "#1f7a5c",
    "fileserve, chunks": "#6fb49a",
    "nginx": "#4a6fa5",
    "nginx, aio threads": "#8aa4c8",
    "Starlette": "#c0793a",
    "naive 8 KiB": "#a05252",
}
OTHER = "#888888"
STYLE = "text{font:12px system-ui,sans-serif;fill:#222}.h{font-weight:600}.r{stroke:#222}"
DARK = "@media(prefers-color-scheme:dark){text{fill:#ddd}.r{stroke:#ddd}}"


@dataclass(frozen=True, slots=True)
class _Row:
    peer: str
    values: tuple[float, ...]
    median: float


def draw(heading: str, keys: tuple[str, ...], record: Record) -> str | None:
    """Return the picture of the measures *keys*; ``None`` if none of them was taken."""
    groups = [(BY_KEY[key].title, _rows(key, record)) for key in keys if record.peers(key)]
    values = [value for _, rows in groups for row in rows for value in row.values if value > 0]
    if not values:
        return None
    bounds = _bounds(values)
    parts, top = [f'<text class="h" x="8" y="20">{escape(heading)}, logarithmic scale</text>'], HEADING
    for title, rows in groups:
        parts.append(f'<text class="h" x="8" y="{top + 14}">{escape(title)}</text>')
        parts.extend(_bar(row, top + number * STEP, bounds) for number, row in enumerate(rows, 1))
        top += (len(rows) + 1) * STEP + GAP
    width = LEFT + WIDTH + RIGHT
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    return "\n".join((opening, f"<style>{STYLE}{DARK}</style>", *parts, "</svg>\n"))


def _rows(key: str, record: Record) -> list[_Row]:
    medians = ((peer, record.median(key, peer)) for peer in record.peers(key))
    return [_Row(peer, record.values(key, peer), median) for peer, median in medians if median is not None]


def _bounds(values: list[float]) -> tuple[float, float]:
    """Return the ends of the scale: powers of ten, with room for the smallest bar to be seen."""
    return math.log10(min(values)) - 0.4, math.log10(max(values))


def _length(value: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    part = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
    return round(WIDTH * max(0.0, part), 1)


def _bar(row: _Row, top: int, bounds: tuple[float, float]) -> str:
    length, shortest, longest = (_length(value, bounds) for value in (row.median, min(row.values), max(row.values)))
    middle, base = top + BAR / 2, top + BAR - 4
    return (
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">{escape(row.peer)}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{length}" height="{BAR}" fill="{COLOURS.get(row.peer, OTHER)}"/>'
        f'<line class="r" x1="{LEFT + shortest}" x2="{LEFT + longest}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{LEFT + max(length, longest) + 6}" y="{base}">{show(row.median)}</text>'
    )
