"""Plans of the rule that tc-pade spaces its steps by, beside those that searches found, and the fit of its constants.

python benchmarks/plans.py            fits, writes benchmarks/results/plans.json and docs/plans.md: about a minute
python benchmarks/plans.py --measure  measures the demo models before that: about ten minutes
python benchmarks/plans.py --page     writes the page alone, from the result files that are there
python benchmarks/plans.py --check    exits 1 if the page is not what the result files say

Searched plans are published ones for real models, 50 steps; demo models are the matched ones, 20 steps, on development
seeds. Both are what the constants c and D_0 of padecast.policies.Spaced are fitted to: the sum of the mean node error,
in % of the number of steps, and of the demos' mean loss against the best density, in dB, times WEIGHT, is smallest.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from bisect import bisect_right
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from common import RESULTS, progress, write
from plans_demos import STEPS, measured
from plans_page import page
from plans_rule import LENGTH, MODELS, Cells, Steps, distance, evenly, kappa_of, mean_plan, searched, spaced

from padecast import files
from padecast.calibration.provenance import Provenance
from padecast.policies.published import Published
from padecast.policies.spaced import FACTOR, LEAST

PAGE = Path(__file__).parent.parent / "docs" / "plans.md"
DEMO_FILE, FILE = "plans-demos.json", "plans.json"

WEIGHT = 0.1
"""% of the number of steps that a decibel counts for: real models decide, the demos what those leave open."""
FACTORS = tuple(round(FACTOR * 1.025**power, 6) for power in range(-40, 41))
LEASTS = tuple(range(0, 2001, 50))
NEAR = (0.7, 1.0, 1.4)  # densities over which the two parts are weighed against each other
VALLEY = 0.05  # % of the number of steps within which sums count as equal


def node_errors(cells: Cells, plans: dict[tuple[str, int], Steps]) -> list[float]:
    """Return how far plans are from each that was searched."""
    return [distance(plans[cell], found.plan.indices) for cell, several in cells.items() for found in several]


ENLARGED = {"scenes:matched": 16, "motion:matched": 20}
"""How often every latent pixel is there as FLUX and as Wan: the same trajectories, at so many times the kappa."""


class Fit:
    """Errors of the rule at any constants.

    Args:
        cells: Searched plans.
        demos: As measured.
    """

    def __init__(self, cells: Cells, demos: dict[str, Any]) -> None:
        self.cells, self.demos = cells, demos
        self.noises = {model: MODELS[model].noise() for model in MODELS}
        self.losses = dict(curves(demos))

    def plans(self, factor: float, least: float) -> dict[tuple[str, int], Steps]:
        """Return the rule's plans where plans were searched."""
        return {
            (model, count): spaced(
                self.noises[model], count, kappa_of(self.noises[model].size, LENGTH, count, factor, least)
            )
            for model, count in self.cells
        }

    def error(self, factor: float, least: float) -> float:
        """Return the mean distance to searched plans, in % of the number of steps."""
        return fmean(node_errors(self.cells, self.plans(factor, least)))

    def loss(self, factor: float, least: float) -> float:
        """Return the mean loss of the demos against the best density, in dB, small ones and enlarged ones."""
        values = []
        for (demo, count), curve in self.losses.items():
            for times in {1, ENLARGED.get(demo, 1)}:
                kappa = kappa_of(self.demos[demo]["size"] * times**2, STEPS, count, factor, least)
                values.append(between(curve, math.log(kappa / times)))
        return fmean(values)

    def at(self, factor: float, least: float) -> dict[str, float]:
        """Return both, and the sum."""
        error, loss = self.error(factor, least), self.loss(factor, least)
        return {"factor": factor, "least": least, "error": error, "loss": loss, "sum": error + WEIGHT * loss}

    def free(self, cells: Cells) -> float:
        """Return the mean distance with the best kappa for every model and number on its own."""
        errors = []
        for (model, count), several in cells.items():
            noise = self.noises[model]
            own = kappa_of(noise.size, LENGTH, count)
            plans = {spaced(noise, count, own * 1.1**power) for power in range(-25, 26)}
            found = [[distance(plan, other.plan.indices) for other in several] for plan in plans]
            errors += min(found, key=fmean)
        return fmean(errors)

    def free_for_each(self) -> float:
        """Return the mean distance with the best kappa for every searched plan on its own."""
        singles = [(cell, plan) for cell, several in self.cells.items() for plan in several]
        return fmean(self.free({cell: [plan]}) for cell, plan in singles)


def curves(demos: dict[str, Any]) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Return the loss against the best density, in dB, over the logarithm of kappa, by demo and number."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for demo, measured_demo in demos.items():
        for row in measured_demo["rows"]:
            found[demo, row["computed"]].append((math.log(row["kappa"]), row["psnr"]))
    return {
        cell: [(place, max(value for _, value in rows) - psnr_of) for place, psnr_of in sorted(rows)]
        for cell, rows in found.items()
    }


def between(curve: list[tuple[float, float]], place: float) -> float:
    """Return the value of a line through points, and beyond the outermost theirs."""
    places = [there for there, _ in curve]
    if place <= places[0] or place >= places[-1]:
        return curve[0 if place <= places[0] else -1][1]
    right = bisect_right(places, place)
    (x, y), (end, last) = curve[right - 1], curve[right]
    return y + (last - y) * (place - x) / (end - x)


def fitted(demos: dict[str, Any]) -> dict[str, Any]:
    """Fit the constants, and compare the rule's plans with those that were searched."""
    cells = searched()
    fit = Fit(cells, demos)
    tried = []
    with progress(len(FACTORS), "fit") as tell:
        for factor in FACTORS:
            tried += [fit.at(factor, least) for least in LEASTS]
            tell(f"c = {factor:.4f}")
    best = min(tried, key=lambda found: found["sum"])
    valley = [found for found in tried if found["sum"] <= best["sum"] + VALLEY]
    near = [fit.at(FACTOR * density, LEAST) for density in NEAR]
    plans = fit.plans(FACTOR, LEAST)
    rows = [compared(cell, plans[cell], several) for cell, several in cells.items()]
    singles = [error for row in rows for error in row["errors"].values()]
    return {
        "settings": {
            "steps": LENGTH,
            "weight": WEIGHT,
            "factors": FACTORS,
            "leasts": LEASTS,
            "valley": VALLEY,
            "near": NEAR,
        },
        "models": {name: dataclasses.asdict(model) for name, model in MODELS.items()},
        "fitted": best,
        "plans alone": min(tried, key=lambda found: found["error"]),
        "demos alone": min(tried, key=lambda found: found["loss"]),
        "valley": {key: [f(found[key] for found in valley) for f in (min, max)] for key in ("factor", "least")},
        "shipped": fit.at(FACTOR, LEAST),
        "varies": {key: max(at[key] for at in near) - min(at[key] for at in near) for key in ("error", "loss")},
        "errors": {
            "rule": fmean(singles),
            "rule to the mean of searches": fmean(row["to mean"] for row in rows),
            "even": fmean(node_errors(cells, {cell: evenly(LENGTH, cell[1]) for cell in cells})),
            "searches among themselves": fmean(row["searches"] for row in rows if row["searches"] is not None),
            "kappa free": fit.free(cells),
            "kappa free for each": fit.free_for_each(),
        },
        "by model": {
            name: fmean(error for row in rows if row["model"] == name for error in row["errors"].values())
            for name in MODELS
        },
        "rows": rows,
        "provenance": dataclasses.asdict(Provenance.of()),
    }


def compared(cell: tuple[str, int], plan: Steps, several: list[Published]) -> dict[str, Any]:
    """Return a plan of the rule beside those that were searched."""
    indices = [found.plan.indices for found in several]
    apart = [distance(a, b) for a, b in combinations(indices, 2)]
    return {
        "model": cell[0],
        "computed": cell[1],
        "rule": plan,
        "searched": {found.name: found.plan.indices for found in several},
        "searches by": {found.name: found.search for found in several},
        "sources": {found.name: found.source for found in several},
        "errors": {found.name: distance(plan, found.plan.indices) for found in several},
        "error": fmean(distance(plan, other) for other in indices),
        "to mean": distance(plan, mean_plan(indices)),
        "searches": fmean(apart) if apart else None,
        "even": fmean(distance(evenly(LENGTH, cell[1]), other) for other in indices),
    }


def main() -> None:
    """Measure and fit unless only the page is wanted, and write or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure the demo models before the fit")
    parser.add_argument("--page", action="store_true", help="write the page alone, from the result files")
    parser.add_argument("--check", action="store_true", help="say whether the page is what the result files say")
    options = parser.parse_args()
    if options.measure:
        write(DEMO_FILE, measured())
    demos = files.read_json(RESULTS / DEMO_FILE)
    if not options.page and not options.check:
        write(FILE, fitted(demos["demos"]))
    text = page(files.read_json(RESULTS / FILE), demos, (FILE, DEMO_FILE))
    if options.check:
        same = PAGE.read_text(encoding="utf-8") == text
        sys.exit(0 if same else "docs/plans.md does not show what the result files say: run benchmarks/plans.py --page")
    files.write(PAGE, text)


if __name__ == "__main__":
    main()
