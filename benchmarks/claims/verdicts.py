"""What comparisons say of a statement, by the rule that the page states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DECIBELS, RELATIVE, COSINE, SHOWN = 0.5, 0.05, 0.01, 0.05
"""Margins: inside them a comparison is a tie."""
MOST, FEW = 0.9, 0.1


def side(gain: float, margin: float = DECIBELS) -> int:
    """Return 1 where a comparison holds, -1 where it fails, 0 for a tie."""
    return (gain > margin) - (gain < -margin)


@dataclass(frozen=True)
class Reading:
    """One reading of a statement.

    Args:
        text: What it says.
        sides: Of its comparisons.
        counts: Whether it decides about the statement.
        gains: What the sides were made of.
    """

    text: str
    sides: Sequence[int]
    counts: bool = True
    gains: tuple[float, ...] = ()

    @classmethod
    def of(cls, text: str, gains: Iterable[float], margin: float = DECIBELS, *, counts: bool = True) -> Reading:
        """Return the reading of comparisons that gain so much.

        >>> Reading.of("", [2.0, 0.1, -0.7]).count
        '1 hold, 1 fail, 1 tie'
        """
        gains = tuple(gains)
        return cls(text, [side(gain, margin) for gain in gains], counts, gains)

    @property
    def verdict(self) -> str:
        """What the comparisons say, by the rule.

        >>> Reading("", [1, 0, 1]).verdict
        'supported'
        """
        decided = [side for side in self.sides if side]
        if 2 * len(decided) < max(len(self.sides), 1):
            return "undecided"
        share = decided.count(1) / len(decided)
        return "supported" if share >= MOST else "refuted" if share <= FEW else "mixed"

    @property
    def count(self) -> str:
        """How many comparisons hold, fail and are ties."""
        return f"{self.sides.count(1)} hold, {self.sides.count(-1)} fail, {self.sides.count(0)} tie"

    @property
    def short(self) -> str:
        """The same in figures.

        >>> Reading("", [1, 1, -1, 0]).short
        '2:1:1'
        """
        return ":".join(str(self.sides.count(side)) for side in (1, -1, 0))


def conclude(readings: Sequence[Reading]) -> Reading:
    """Return what the readings that count, and have anything to compare, say together: what each says, else mixed."""
    readings = [reading for reading in readings if reading.counts and reading.sides]
    verdicts = {reading.verdict for reading in readings}
    sides = [side for reading in readings for side in reading.sides]
    return Reading(verdicts.pop() if len(verdicts) == 1 else "mixed", sides)
