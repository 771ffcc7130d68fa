"""What comparisons say of a statement, by one rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from common import TEST

DECIBELS, RELATIVE, COSINE, READ = 0.5, 0.05, 0.01, 0.05
MOST, FEW = 0.9, 0.1
RULE = f"""A statement, or one reading of it, is a list of comparisons, made in every setting that has both. A
comparison **holds** or **fails** where the difference is beyond a margin: {DECIBELS:g} dB of mean PSNR,
{RELATIVE:.0%} of an error, {COSINE:g} of a cosine, {100 * READ:g} points of samples that show what was asked, any
computed step; inside the margin it is a **tie** and counts for neither. A reading is *undecided* where more than half
are ties, *supported* where at least {MOST:.0%} of what is no tie holds, *refuted* where at most {FEW:.0%} does, else
*mixed*. A statement is what all its readings are, else mixed; readings in brackets stand beside it and do not count.
A verdict on fewer than {len(TEST)} seeds, or without one of the settings, is marked provisional."""


@dataclass(frozen=True)
class Compared:
    """One comparison: by how much it speaks for the statement, and what counts as a tie."""

    what: str
    gain: float
    margin: float = DECIBELS

    @property
    def side(self) -> int:
        """1 where it holds, -1 where it fails, 0 for a tie."""
        return (self.gain > self.margin) - (self.gain < -self.margin)


def counted(compared: Sequence[Compared]) -> str:
    """Say how many hold, fail and are ties."""
    sides = [c.side for c in compared]
    return f"{sides.count(1)} hold, {sides.count(-1)} fail, {sides.count(0)} tie"


@dataclass(frozen=True)
class Reading:
    """One reading of a statement."""

    text: str
    compared: Sequence[Compared]
    counts: bool = True

    @property
    def verdict(self) -> str:
        """What the comparisons say, by the rule.

        >>> Reading("", [Compared("", 1.0), Compared("", 0.2), Compared("", 3.0)]).verdict
        'supported'
        """
        sides = [c.side for c in self.compared if c.side]
        if 2 * len(sides) < max(len(self.compared), 1):
            return "undecided"
        share = sides.count(1) / len(sides)
        return "supported" if share >= MOST else "refuted" if share <= FEW else "mixed"

    @property
    def told(self) -> str:
        """How many hold, fail and are ties."""
        return counted(self.compared)


@dataclass(frozen=True)
class Statement:
    """One statement, its readings, and the text under it; nothing was measured if there are no readings."""

    title: str
    about: str
    readings: Sequence[Reading] = ()
    body: Sequence[str] = field(default=())
    seeds: str = ""

    @property
    def verdict(self) -> str:
        """What the readings say together."""
        found = {r.verdict for r in self.readings if r.counts}
        return "not measured yet" if not found else found.pop() if len(found) == 1 else "mixed"

    @property
    def stated(self) -> str:
        """The verdict, and whether more seeds are to come."""
        final = not self.readings or self.seeds == str(len(TEST))
        return f"**{self.verdict}**" if final else f"**{self.verdict}**, provisional"

    @property
    def told(self) -> str:
        """How many comparisons of the readings that count hold, fail and are ties."""
        compared = [c for r in self.readings if r.counts for c in r.compared]
        return counted(compared) if compared else ""
