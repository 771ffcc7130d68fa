"""Plans of the rule that tc-pade spaces its steps by, beside those that searches found, and the fit of its constants.

python -m benchmarks.plans.measure            # fits, writes benchmarks/results/plans.json: about a minute
python -m benchmarks.plans.measure --measure  # measures the demo models before that, plans-demos.json: ten minutes
python -m benchmarks.plans.measure --solvers  # and under solvers of several steps, plans-solvers.json: half an hour

Searched plans are published ones for real models, 50 steps; demo models are the matched ones, 20 steps, on development
seeds. Both are what the constants c and D_0 of padecast.policies.Spaced are fitted to: the sum of the mean node error,
in % of the number of steps, and of the demos' mean loss against the best density, in dB, times WEIGHT, is smallest.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from bisect import bisect_right
from collections import defaultdict
from functools import partial
from itertools import combinations
from statistics import fmean

from benchmarks.common import RESULTS, Document, progress, provenance, read, write
from benchmarks.plans.demos import STEPS, measure_demos, measure_solvers
from benchmarks.plans.rule import (
    LENGTH,
    MODELS,
    Cells,
    Steps,
    average,
    distance,
    kappa_of,
    list_searched,
    place_steps,
    space_evenly,
)
from padecast.policies.published import Published
from padecast.policies.spaced import FACTOR, LEAST

PLANS, DEMOS, SOLVED = "plans.json", "plans-demos.json", "plans-solvers.json"
WEIGHT = 0.1
"""% of the number of steps that a decibel counts for: real models decide, the demos what those leave open."""
FACTORS = tuple(round(FACTOR * 1.025**power, 6) for power in range(-40, 41))
LEASTS = tuple(range(0, 2001, 50))
NEAR = (0.7, 1.0, 1.4)  # densities over which the two parts are weighed against each other
VALLEY = 0.05  # % of the number of steps within which sums count as equal
ENLARGED = {"scenes:matched": 16, "motion:matched": 20}
"""How often every latent pixel is there as FLUX and as Wan: the same trajectories, at so many times the kappa."""


def measure_errors(cells: Cells, plans: dict[tuple[str, int], Steps]) -> list[float]:
    """Return how far plans are from each that was searched."""
    return [distance(plans[cell], plan.plan.indices) for cell, searches in cells.items() for plan in searches]


class Fit:
    """Errors of the rule at any constants.

    Args:
        cells: Searched plans.
        demos: As measured.
    """

    def __init__(self, cells: Cells, demos: Document) -> None:
        self.cells, self.demos = cells, demos
        self.noises = {model: MODELS[model].noise() for model in MODELS}
        self.losses = dict(curves(demos))

    def plans(self, factor: float, least: float) -> dict[tuple[str, int], Steps]:
        """Return the rule's plans where plans were searched."""
        return {
            (model, count): place_steps(
                self.noises[model], count, kappa_of(self.noises[model].size, LENGTH, count, factor, least)
            )
            for model, count in self.cells
        }

    def error(self, factor: float, least: float) -> float:
        """Return the mean distance to searched plans, in % of the number of steps."""
        return fmean(measure_errors(self.cells, self.plans(factor, least)))

    def loss(self, factor: float, least: float) -> float:
        """Return the mean loss of the demos against the best density, in dB, small ones and enlarged ones."""
        values = []
        for (demo, count), curve in self.losses.items():
            for times in {1, ENLARGED.get(demo, 1)}:
                kappa = kappa_of(self.demos[demo]["size"] * times**2, STEPS, count, factor, least)
                values.append(interpolate(curve, math.log(kappa / times)))
        return fmean(values)

    def at(self, factor: float, least: float) -> dict[str, float]:
        """Return both, and the sum."""
        error, loss = self.error(factor, least), self.loss(factor, least)
        return {"factor": factor, "least": least, "error": error, "loss": loss, "sum": error + WEIGHT * loss}

    def free(self, cells: Cells) -> float:
        """Return the mean distance with the best kappa for every model and number on its own."""
        errors = []
        for (model, count), searches in cells.items():
            noise = self.noises[model]
            kappa = kappa_of(noise.size, LENGTH, count)
            plans = {place_steps(noise, count, kappa * 1.1**power) for power in range(-25, 26)}
            distances = [[distance(plan, other.plan.indices) for other in searches] for plan in plans]
            errors += min(distances, key=fmean)
        return fmean(errors)

    def free_for_each(self) -> float:
        """Return the mean distance with the best kappa for every searched plan on its own."""
        singles = [(cell, plan) for cell, searches in self.cells.items() for plan in searches]
        return fmean(self.free({cell: [plan]}) for cell, plan in singles)


def curves(demos: Document) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Return the loss against the best density, in dB, over the logarithm of kappa, by demo and number."""
    points: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for demo, document in demos.items():
        for row in document["rows"]:
            points[demo, row["computed"]].append((math.log(row["kappa"]), row["psnr"]))
    return {
        cell: [(place, max(value for _, value in rows) - psnr_of) for place, psnr_of in sorted(rows)]
        for cell, rows in points.items()
    }


def interpolate(curve: list[tuple[float, float]], place: float) -> float:
    """Return the value of a line through points, and beyond the outermost theirs."""
    places = [x for x, _ in curve]
    if place <= places[0] or place >= places[-1]:
        return curve[0 if place <= places[0] else -1][1]
    right = bisect_right(places, place)
    (x, y), (end, last) = curve[right - 1], curve[right]
    return y + (last - y) * (place - x) / (end - x)


def fit_constants(demos: Document) -> Document:
    """Fit the constants, and compare the rule's plans with those that were searched."""
    cells = list_searched()
    fit = Fit(cells, demos)
    tried = []
    with progress(len(FACTORS), "fit") as tell:
        for factor in FACTORS:
            tried += [fit.at(factor, least) for least in LEASTS]
            tell(f"c = {factor:.4f}")
    best = min(tried, key=lambda at: at["sum"])
    valley = [at for at in tried if at["sum"] <= best["sum"] + VALLEY]
    near = [fit.at(FACTOR * density, LEAST) for density in NEAR]
    plans = fit.plans(FACTOR, LEAST)
    rows = [compare(cell, plans[cell], searches) for cell, searches in cells.items()]
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
        "plans alone": min(tried, key=lambda at: at["error"]),
        "demos alone": min(tried, key=lambda at: at["loss"]),
        "valley": {key: [f(at[key] for at in valley) for f in (min, max)] for key in ("factor", "least")},
        "shipped": fit.at(FACTOR, LEAST),
        "varies": {key: max(at[key] for at in near) - min(at[key] for at in near) for key in ("error", "loss")},
        "errors": {
            "rule": fmean(singles),
            "rule to the mean of searches": fmean(row["to mean"] for row in rows),
            "even": fmean(measure_errors(cells, {cell: space_evenly(LENGTH, cell[1]) for cell in cells})),
            "searches among themselves": fmean(row["searches"] for row in rows if row["searches"] is not None),
            "kappa free": fit.free(cells),
            "kappa free for each": fit.free_for_each(),
        },
        "by model": {
            name: fmean(error for row in rows if row["model"] == name for error in row["errors"].values())
            for name in MODELS
        },
        "rows": rows,
        "provenance": provenance(),
    }


def compare(cell: tuple[str, int], plan: Steps, searches: list[Published]) -> Document:
    """Return a plan of the rule beside those that were searched."""
    indices = [search.plan.indices for search in searches]
    apart = [distance(a, b) for a, b in combinations(indices, 2)]
    return {
        "model": cell[0],
        "computed": cell[1],
        "rule": plan,
        "searched": {search.name: search.plan.indices for search in searches},
        "searches by": {search.name: search.search for search in searches},
        "sources": {search.name: search.source for search in searches},
        "errors": {search.name: distance(plan, search.plan.indices) for search in searches},
        "error": fmean(distance(plan, other) for other in indices),
        "to mean": distance(plan, average(indices)),
        "searches": fmean(apart) if apart else None,
        "even": fmean(distance(space_evenly(LENGTH, cell[1]), other) for other in indices),
    }


def main() -> None:
    """Measure the demo models if wanted, fit, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measure", action="store_true", help="measure the demo models before the fit")
    parser.add_argument("--solvers", action="store_true", help="measure solvers of several steps, and nothing else")
    options = parser.parse_args()
    if options.solvers:
        measure_solvers(read(SOLVED) if (RESULTS / SOLVED).is_file() else {}, partial(write, SOLVED))
        return
    if options.measure:
        write(DEMOS, measure_demos())
    write(PLANS, fit_constants(read(DEMOS)["demos"]))


if __name__ == "__main__":
    main()
