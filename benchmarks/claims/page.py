"""docs/claims.md: what became of the papers' statements on two demo models, from result files.

python -m benchmarks.claims.page          # writes the page
python -m benchmarks.claims.page --check  # fails if it is not what benchmarks/results/claims-*.json say

The study is closed: the scripts that measured, and drew docs/images/claims-*.png, are in the history of the repository,
at the commits that the result files name.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean

import numpy as np

from benchmarks.claims.verdicts import COSINE, RELATIVE, SHOWN, Reading, conclude, side
from benchmarks.common import DOCS, Document, publish, read, render

PARTS = ("predict", "rational", "spans", "threshold", "steps", "fifty", "intervals")
NFE, LENGTHS, GAPS = (6, 8, 10), (10, 15, 20, 30, 50), (1, 2, 3, 4)
FORECASTERS = ("reuse", "linear", "tc-pade")
TAYLOR = ("taylorseer order 1", "taylorseer order 2")


def mean(part: Document, setting: str, name: str, at: float, key: str = "psnr") -> float:
    """Return the mean of one row over its samples, or of its computed steps over batches."""
    (row,) = (row for row in part[setting]["rows"] if row["name"] == name and row["at"] == at)
    return fmean(row[key])


def names(part: Document, *settings: str) -> list[str]:
    """Return the names of the rows of some settings, or of all, each once."""
    return list(dict.fromkeys(row["name"] for setting in settings or part for row in part[setting]["rows"]))


def compare(part: Document, name: str, others: Iterable[str], at: Iterable[float]) -> list[int]:
    """Compare the PSNR of a row with that of others, in every setting that has them."""
    return [
        side(mean(part, setting, name, place) - mean(part, setting, other, place))
        for setting in part
        for other in others
        if {name, other} <= {*names(part, setting)}
        for place in at
    ]


def error(batches: list[Document], kind: str, name: str, gap: int) -> float:
    """Return the mean error of forecasts of recorded features."""
    return fmean(fmean(batch["errors"][f"{kind}, {name}, {gap}"]) for batch in batches)


def cosine(batches: list[Document], kind: str, distance: int) -> float:
    """Return the mean cosine of features so many steps apart, of inner products summed over samples."""
    gram = np.sum([batch["grams"][kind] for batch in batches], axis=0)
    length = np.sqrt(gram.diagonal())
    return float(np.mean((gram / length[:, None] / length[None, :]).diagonal(distance)))


def read_features(predict: Document) -> list[Reading]:
    """Residuals against raw features."""
    recorded = [part["batches"] for part in predict.values()]
    readings = []
    for name in FORECASTERS:
        gains = [1 - error(b, "residual", name, n) / error(b, "output", name, n) for b in recorded for n in GAPS]
        readings.append(Reading(f"forecast by {name}", [side(gain, RELATIVE) for gain in gains]))
    gains = [cosine(batches, "residuals", n) - cosine(batches, "outputs", n) for batches in recorded for n in GAPS]
    text = "cosines of features 1 to 4 steps apart are higher"
    return [*readings, Reading(text, [side(gain, COSINE) for gain in gains], counts=False)]


def read_rational(part: Document) -> list[Reading]:
    """Padé against Taylor on equal plans."""
    texts = {
        "tc-pade as printed": "TC-Padé's predictor as printed",
        "Padé [1/1]": "vector Padé [1/1]",
        "Padé damped, no feedback": "the same, damped",
        "tc-pade": "tc-pade: damped, with error feedback",
    }
    readings = [Reading(text, compare(part, name, TAYLOR, NFE)) for name, text in texts.items()]
    feedback = compare(part, "tc-pade", ("linear with feedback",), NFE)
    return [*readings, Reading("tc-pade against linear with the same feedback", feedback, counts=False)]


def read_spans(part: Document) -> list[Reading]:
    """The whole stack against parts of it."""
    whole, *others = names(part)
    return [Reading(f"against {other}", compare(part, whole, (other,), NFE)) for other in others]


def read_threshold(part: Document) -> list[Reading]:
    """The stability threshold: neighbouring ones, with nothing to compare where both make the same plans."""
    pairs = [pair for rows in part.values() for pair in pairwise(rows["rows"])]
    steps = [side(fmean(high["computed"]) - fmean(low["computed"]), 0.0) for low, high in pairs]
    psnr = [side(fmean(high["psnr"]) - fmean(low["psnr"])) for low, high in pairs if low["plans"] != high["plans"]]
    return [Reading("a higher θ computes more steps", steps), Reading("a higher θ is more faithful", psnr)]


def read_lengths(part: Document) -> list[Reading]:
    """TaylorSeer at few steps, against fewer steps and against the uncached run."""
    few = [length for length in LENGTHS if length <= 20]
    readings, shown = [], []
    for name in TAYLOR:
        sides = compare(part, name, ("fewer-steps",), LENGTHS)
        collapses = [-way if length in few else way for way, length in zip(sides, LENGTHS * len(part), strict=True)]
        readings.append(Reading(f"{name}: PSNR", collapses))
        losses = [mean(part, s, "uncached", n, "read") - mean(part, s, name, n, "read") for s in part for n in few]
        shown.append(Reading(f"{name}: samples that show what was asked", [side(loss, SHOWN) for loss in losses]))
    for name in ("tc-pade, even", "fora, even"):
        text = f"{name} is better than fewer-steps at every length"
        shown.append(Reading(text, compare(part, name, ("fewer-steps",), LENGTHS), counts=False))
    return [*readings, *shown]


def read_fifty(part: Document) -> list[Reading]:
    """Spectrum against TaylorSeer."""
    pairs = [(name, other, True) for name in ("spectrum", "spectrum, pure") for other in TAYLOR]
    pairs += [("spectrum", "fewer-steps", False), (TAYLOR[0], "fewer-steps", False)]
    return [Reading(f"{name} against {other}", compare(part, name, (other,), (14, 10)), c) for name, other, c in pairs]


def compose() -> str:
    """Return the page."""
    parts = {part: read(f"claims-{part}.json")["settings"] for part in PARTS}
    readers = (read_features, read_rational, read_spans, read_threshold, read_lengths, read_fifty)
    readings = [reader(part) for reader, part in zip(readers, parts.values(), strict=False)]
    helpers = {"conclude": conclude, "mean": mean, "names": names, "error": error}
    values = {"forecasters": FORECASTERS, "gaps": GAPS, "lengths": LENGTHS}
    return render("claims/page.md.jinja", parts=parts, readings=readings, **helpers, **values)


def main() -> None:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the result files say")
    publish({DOCS / "claims.md": compose()}, check=parser.parse_args().check)


if __name__ == "__main__":
    main()
