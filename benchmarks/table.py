"""The table that is printed: each measure with all peers, then each target with what stands against it."""

from fractions import Fraction

from benchmarks.measures import BUSY, BY_KEY, MEASURES
from benchmarks.record import Record
from benchmarks.targets import TARGETS, Judged, Target, Verdict, bar_of, judge

__all__ = ["bottlenecks", "figures", "lines", "missed", "show", "targets"]

Row = tuple[str, ...]

BOTTLENECK = 90  # per cent of its time, from which on a client has held its server up


def show(value: float | None) -> str:
    """Return *value* with three digits that count; a dash for none."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _limit(value: float) -> str:
    """Return a limit as it stands in the table of targets: 1/15 rather than 0.0667."""
    fraction = Fraction(value).limit_denominator(50)
    return str(fraction) if value < 1 and fraction.numerator == 1 else f"{value:g}"


def figures(record: Record) -> list[Row]:
    """Return a row for each measure that was taken: title, unit, and a median for each peer of `peers`."""
    columns = peers(record)
    measured = [measure for measure in MEASURES if record.peers(measure.key)]
    return [
        ("figure", "unit", *columns),
        *((m.title, m.unit, *(show(record.median(m.key, peer)) for peer in columns)) for m in measured),
    ]


def peers(record: Record) -> list[str]:
    """Return everybody who was measured, in the order of appearance."""
    return list(dict.fromkeys(peer for measure in MEASURES for peer in record.peers(measure.key)))


def targets(record: Record) -> list[Row]:
    """Return a row for each target."""
    rows = [_target_row(judge(target, record), record) for target in TARGETS]
    return [("target", "of", "against", "must", "aim", "figure", "in rounds", ""), *rows]


def _target_row(judged: Judged, record: Record) -> Row:
    target = judged.target
    sign = target.bound.value
    limits = (f"{sign} {_limit(target.must)}", f"{sign} {_limit(target.aim)}")
    against = target.against or f"none ({BY_KEY[target.key].unit})"
    bar = bar_of(target, record) if judged.verdict is Verdict.BEYOND else None
    verdict = f"{judged.verdict.value}: {target.bar} itself has {show(bar)}" if bar else judged.verdict.value
    in_rounds = record.ratio_within_rounds(target.key, target.peer, target.against) if target.against else None
    return (BY_KEY[target.key].title, target.peer, against, *limits, show(judged.figure), show(in_rounds), verdict)


def missed(record: Record) -> list[str]:
    """Return a line for each target that was measured and missed."""
    judged = (judge(target, record) for target in TARGETS)
    return [_miss(one.target, one.figure) for one in judged if one.verdict is Verdict.MISSED]


def _miss(target: Target, figure: float | None) -> str:
    measure = BY_KEY[target.key]
    compared = f"times that of {target.against}" if target.against else measure.unit
    must = f"must be {target.bound.value} {_limit(target.must)}"
    return f"{measure.title}: {target.peer} has {show(figure)} {compared}, {must}"


def bottlenecks(record: Record) -> list[str]:
    """Return a line for each figure of a peer whose client was busy to the last: it tells of the client."""
    return [
        f"the client may have been the bottleneck of {peer}: {measure.title}: {show(busy)} %"
        for measure in MEASURES
        if measure.key.startswith(BUSY)
        for peer in record.peers(measure.key)
        if (busy := record.median(measure.key, peer)) is not None and busy >= BOTTLENECK
    ]


def lines(record: Record) -> list[str]:
    """Return both tables in columns."""
    return [*_align(figures(record)), "", *_align(targets(record)), ""]


def _align(rows: list[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
