"""The papers' statements as comparisons of rows, at smooth settings and in matched ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from benchmarks.claims.features import FORECASTERS, GAPS
from benchmarks.claims.rows import ENDS, LENGTHS, PARTIAL, PUBLISHED, SEEDS, SETTINGS
from benchmarks.claims.verdicts import RELATIVE, SHOWN, Reading, conclude
from benchmarks.common import RESULTS, Document, read

TAYLOR = ("taylorseer order 1", "taylorseer order 2")
NFE, FIFTY = tuple(PUBLISHED), (14, 10)
IDENTICAL = 99.0
"""Decibels from which on two images are the same."""


@dataclass(frozen=True)
class Part:
    """What is measured of a part.

    Args:
        settings: Rows, or batches of recorded runs, by the name of a setting.
        plan: Whether rows on the papers' own plans are meant, or on dense ones.
    """

    settings: Document
    plan: str = "published"

    def alone(self, setting: str) -> Part:
        """Return what is measured in one setting."""
        return Part({setting: self.settings[setting]}, self.plan)

    def rows(self, setting: str) -> list[Document]:
        """Return the rows of a setting on plans of this kind; results of before have no other."""
        rows = self.settings[setting].get("rows", [])
        return [row for row in rows if row.get("plan", "published") == self.plan and row["psnr"]]

    def names(self, *settings: str) -> list[str]:
        """Return the names of the rows of some settings, or of all, each once."""
        return list(dict.fromkeys(row["name"] for name in settings or self.settings for row in self.rows(name)))

    def find(self, setting: str, name: str, at: float) -> Document | None:
        """Return a row if it is measured; fewer steps have no plan, and stand with those published."""
        part = Part(self.settings) if name in ("fewer-steps", "uncached") else self
        return next((row for row in part.rows(setting) if row["name"] == name and row["at"] == at), None)

    def mean(self, setting: str, name: str, at: float, key: str = "psnr") -> float:
        """Return the mean of a row over its samples, or of its computed steps over batches."""
        row = self.find(setting, name, at)
        if row is None:
            raise LookupError(f"{setting} has no row {name!r} at {at}: python -m benchmarks.claims.measure")
        return fmean(row[key])

    def gain(self, name: str, other: str, at: Iterable[float], key: str = "psnr") -> list[float]:
        """Return how far a row is ahead of another, on the seeds of both, wherever both are measured."""
        pairs = [
            (self.find(setting, name, place), self.find(setting, other, place))
            for setting in self.settings
            for place in at
        ]
        return [
            fmean(a - b for a, b in zip(row[key], rival[key], strict=False)) for row, rival in pairs if row and rival
        ]

    def error(self, setting: str, kind: str, name: str, gap: int) -> float:
        """Return the mean error of forecasts of recorded features."""
        return fmean(fmean(batch["errors"][f"{kind}, {name}, {gap}"]) for batch in self.settings[setting]["batches"])

    @property
    def measured(self) -> bool:
        """Whether anything is."""
        recorded = any("batches" in part for part in self.settings.values())
        return bool(self.names()) or (recorded and self.plan == "published")

    @property
    def counts(self) -> list[int]:
        """How many seeds every row has, on plans of all kinds."""
        counts = [len(row["psnr"]) for part in self.settings.values() for row in part.get("rows", [])]
        batches = [part["batches"] for part in self.settings.values() if "batches" in part]
        return counts + [sum(batch.get("seeds", 8) for batch in recorded) for recorded in batches]


def read_features(part: Part) -> list[Reading]:
    """Residuals against raw features."""
    return [
        Reading.of(
            f"forecast by {name}",
            [
                1 - part.error(setting, "residual", name, gap) / part.error(setting, "output", name, gap)
                for setting in part.settings
                for gap in GAPS
            ],
            RELATIVE,
        )
        for name in FORECASTERS
    ]


def read_rational(part: Part) -> list[Reading]:
    """Padé against Taylor on equal plans."""
    texts = {
        "tc-pade as printed": "predictor as printed",
        "Padé [1/1]": "vector Padé [1/1]",
        "tc-pade": "tc-pade: damped, with error feedback",
    }
    readings = [
        Reading.of(text, [gain for other in TAYLOR for gain in part.gain(name, other, NFE)])
        for name, text in texts.items()
        if name in part.names()
    ]
    feedback = part.gain("tc-pade", "linear with feedback", NFE)
    return [*readings, Reading.of("tc-pade against linear with the same feedback", feedback, counts=False)]


def read_spans(part: Part) -> list[Reading]:
    """The whole stack against parts of it."""
    others = ["each module by itself", *(name for spans in PARTIAL.values() for name in spans.values())]
    return [Reading.of(f"against {other}", part.gain("whole stack", other, ENDS)) for other in others]


def read_threshold(part: Part) -> list[Reading]:
    """The stability threshold: neighbouring ones, with nothing to compare where both make the same plans."""
    pairs = [pair for setting in part.settings for pair in pairwise(part.rows(setting))]
    steps = [fmean(high["computed"]) - fmean(low["computed"]) for low, high in pairs]
    psnr = [fmean(high["psnr"]) - fmean(low["psnr"]) for low, high in pairs if low["plans"] != high["plans"]]
    faithful = Reading.of("a higher θ is more faithful", psnr)
    return [Reading.of("a higher θ computes more steps", steps, 0.0), faithful]


def read_lengths(part: Part) -> list[Reading]:
    """TaylorSeer at few steps, against fewer steps and against the uncached run."""
    few = [length for length in LENGTHS if length <= 20]
    readings = []
    for name in TAYLOR:
        if name not in part.names():
            continue
        signs = {length: -1 if length in few else 1 for length in LENGTHS}
        collapse = [signs[length] * gain for length in LENGTHS for gain in part.gain(name, "fewer-steps", [length])]
        readings.append(Reading.of(f"{name}: PSNR", collapse))
        losses = part.gain("uncached", name, few, "read")
        readings.append(Reading.of(f"{name}: samples that show what was asked", losses, SHOWN))
    even = part.gain("tc-pade, even", "fewer-steps", LENGTHS)
    beside = Reading.of("tc-pade, even, is better than fewer-steps at every length", even, counts=False)
    return [*readings, beside] if even else readings


def read_fifty(part: Part) -> list[Reading]:
    """Spectrum against TaylorSeer."""
    pairs = [(name, other, True) for name in ("spectrum", "spectrum, pure") for other in TAYLOR]
    pairs += [("spectrum", "fewer-steps", False), (TAYLOR[0], "fewer-steps", False)]
    return [
        Reading.of(f"{name} against {other}", part.gain(name, other, FIFTY), counts=counts)
        for name, other, counts in pairs
        if name in part.names()
    ]


@dataclass(frozen=True)
class Statement:
    """A statement of a paper, and what became of it.

    Args:
        title: What it says.
        part: Of the result files that it is read from.
        reader: Returns its readings.
    """

    title: str
    part: str
    reader: Callable[[Part], list[Reading]]

    @property
    def parts(self) -> dict[str, Part]:
        """What is measured, by where: at smooth settings, in matched ones on published plans and on dense ones."""
        smooth = Part(read(f"claims-{self.part}.json")["settings"])
        file = f"claims-matched-{self.part}.json"
        matched = read(file)["settings"] if (RESULTS / file).is_file() else {}
        parts = {"smooth": smooth, "matched": Part(matched), "dense": Part(matched, "dense")}
        return {where: part for where, part in parts.items() if part.measured}

    @property
    def readings(self) -> dict[str, list[Reading]]:
        """Its readings, by where."""
        return {where: self.reader(part) for where, part in self.parts.items()}

    def verdict(self, where: str) -> Reading | None:
        """Return what its readings say together, if there are any there."""
        verdict = conclude(self.readings.get(where, []))
        return verdict if verdict.sides else None

    @property
    def seeds(self) -> str:
        """How many seeds are measured in matched settings, and whether its verdict asks for more."""
        matched = self.parts.get("matched", Part({}))
        counts = [*matched.counts, *[0] * (len(SETTINGS) - len(matched.settings))]
        low, high = min(counts), max(counts)
        text = f"{low}" if low == high else f"{low} to {high}"
        return text if low >= SEEDS[self.part] else f"{text}, provisional"


STATEMENTS = (
    Statement("Residuals are more predictable than raw features", "predict", read_features),
    Statement("Rational beats Taylor at 20 steps", "rational", read_rational),
    Statement("A residual of the full span beats those of partial spans", "spans", read_spans),
    Statement("The threshold θ trades speed for fidelity monotonically", "threshold", read_threshold),
    Statement("TaylorSeer collapses at low step counts", "steps", read_lengths),
    Statement("Spectrum beats TaylorSeer at 3.5x and 4.8x of 50 steps", "fifty", read_fifty),
)
SWEEP = Statement("Intervals", "intervals", lambda _: [])
"""No statement: forecasters on even plans."""
