"""What has been measured: for each measure and peer the values of all rounds.

Values are kept as they came; medians and ratios are computed when asked for. The n-th value of one peer and the n-th of
another are of the same round. Notes say what the numbers cannot: who was left out and why, and how disturbed the
machine was.
"""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measures import BY_KEY


class Record:
    """The values of one run, and notes on what could not be measured or is to be known about it."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {}
        self.notes: list[str] = []

    def add(self, peer: str, values: Mapping[str, float]) -> None:
        """Add one round of *peer*: a value for each measure's key. Raise ``KeyError`` for an unknown key."""
        for key, value in values.items():
            self._values.setdefault(BY_KEY[key].key, {}).setdefault(peer, []).append(value)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)

    def has_any(self) -> bool:
        """Return whether anything has been measured."""
        return bool(self._values)

    def peers(self, key: str) -> tuple[str, ...]:
        """Return who was measured, in the order of measuring."""
        return tuple(self._values.get(key, ()))

    def values(self, key: str, peer: str) -> tuple[float, ...]:
        """Return the values of all rounds, none if it was not measured."""
        return tuple(self._values.get(key, {}).get(peer, ()))

    def median(self, key: str, peer: str) -> float | None:
        """Return the median of all rounds; ``None`` if it was not measured."""
        values = self.values(key, peer)
        return statistics.median(values) if values else None

    def ratio(self, key: str, peer: str, against: str) -> float | None:
        """Return the median of *peer* to that of *against*; ``None`` unless both were measured."""
        ours, theirs = self.median(key, peer), self.median(key, against)
        return ours / theirs if ours is not None and theirs else None

    def ratio_within_rounds(self, key: str, peer: str, against: str) -> float | None:
        """Return the median of the rounds' ratios of *peer* to *against*; ``None`` unless both were measured.

        What disturbs the machine for a while disturbs both within a round. Where this is far from `ratio`, the machine
        has changed between the rounds.
        """
        ours, theirs = self.values(key, peer), self.values(key, against)
        pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if other]
        return statistics.median(one / other for one, other in pairs) if pairs else None

    def write(self, path: Path) -> None:
        """Write all values as JSON."""
        path.write_text(json.dumps({"values": self._values, "notes": self.notes}, indent=1))
