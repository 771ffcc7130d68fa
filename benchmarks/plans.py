"""Plans of the rule that tc-pade spaces its steps by, beside those that searches found, and the fit of its constants.

python benchmarks/plans.py            fits, writes benchmarks/results/plans.json and docs/plans.md: about a minute
python benchmarks/plans.py --measure  measures the demo models before that: about ten minutes
python benchmarks/plans.py --page     writes the page alone, from the result files that are there
python benchmarks/plans.py --check    exits 1 if the page is not what the result files say

Searched plans are published ones for real models, 50 steps; demo models are the matched ones, 20 steps, on development
seeds. Both are what the constants c and q of padecast.policies.Spaced are fitted to: the sum of the mean node error, in
% of the number of steps, and of the demos' mean loss against the best density, in dB, times WEIGHT, is smallest.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import math
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch
from common import CALLS, RESULTS, progress, write
from plans_page import page

import padecast
from padecast import files, lab, zoo
from padecast._history import Geometry, Position, Trace
from padecast._noise import Noise
from padecast._provenance import Provenance
from padecast._psnr import psnr
from padecast._quiet import quiet
from padecast.methods import DAMPED, Method
from padecast.policies import Plan, Policy, Spaced
from padecast.policies.published import Published, published
from padecast.policies.spaced import FACTOR, POWER, chosen

PAGE = Path(__file__).parent.parent / "docs" / "plans.md"
Steps = tuple[int, ...]

# Searched plans -------------------------------------------------------------------------------------------------------

LENGTH = 50


@dataclass(frozen=True)
class Searched:
    """A real model that plans were searched for: its latents and its schedule, a flow's.

    Args:
        title: Model and setting, in words.
        size: Numbers of one sample's latents.
        shift: Of the schedule.
        terminal: Noise level of the last step, where the schedule is stretched to end there.
    """

    title: str
    size: int
    shift: float
    terminal: float | None = None

    def noise(self, steps: int = LENGTH) -> Noise:
        """Return the noise levels of a run of so many steps."""
        even = [1 - index * (1 - 1 / steps) / (steps - 1) for index in range(steps)]
        levels = [self.shift * level / (1 + (self.shift - 1) * level) for level in even]
        if self.terminal is not None:
            stretch = (1 - self.terminal) / (1 - levels[-1])
            levels = [1 - (1 - level) * stretch for level in levels]
        levels.append(0.0)
        return Noise(tuple(1 - level for level in levels), tuple(levels), self.size)


MODELS = {
    "flux": Searched("FLUX.1-dev, 1024 x 1024", 16 * 128 * 128, math.exp(1.15)),
    "qwen": Searched(
        "Qwen-Image, 1328 x 1328", 16 * 166 * 166, math.exp(0.5 + 0.4 * (6889 - 256) / (8192 - 256)), 0.02
    ),
    "hunyuan": Searched("HunyuanVideo, 640 x 480, 65 frames", 16 * 17 * 60 * 80, 7.0),
    "wan": Searched("Wan2.1-1.3B, 832 x 480, 65 frames", 16 * 17 * 60 * 104, 5.0),
}
Cells = dict[tuple[str, int], list[Published]]


def searched() -> Cells:
    """Return the plans that were searched for, by model and computed steps.

    Those marked as shipped were written for some code, and no search is known behind them.
    """
    found: Cells = defaultdict(list)
    for plan in published().values():
        model = plan.name.partition("-")[0]
        if model in MODELS and plan.steps == LENGTH and "as shipped" not in plan.search:
            found[model, plan.plan.nfe].append(plan)
    return dict(sorted(found.items(), key=lambda item: (list(MODELS).index(item[0][0]), item[0][1])))


# The rule -------------------------------------------------------------------------------------------------------------


def kappa_of(size: float, steps: int, count: int, factor: float = FACTOR, power: float = POWER) -> float:
    """Return the kappa of the rule; see :class:`padecast.policies.Spaced`."""
    return float(factor * math.sqrt(size) * (steps / count) ** power)


def spaced(noise: Noise, count: int, kappa: float) -> Steps:
    """Return the steps of the rule at any kappa."""
    steps = len(noise.sigmas) - 1
    policy = Spaced(every=(steps - 1) / (count - 1), density=kappa / kappa_of(noise.size, steps, count))
    places = policy.places(Position.at(0, steps, noise=noise), 0, count)
    return tuple(sorted(chosen(places[:-1], count)))


def evenly(steps: int, count: int) -> Steps:
    """Return evenly spaced steps, the first and the last among them."""
    return tuple(round(number * (steps - 1) / (count - 1)) for number in range(count))


def distance(plan: Sequence[float], other: Sequence[float]) -> float:
    """Return how far apart the j-th steps of two plans are on average, in % of the number of steps."""
    return 100 * fmean(abs(a - b) for a, b in zip(plan, other, strict=True)) / LENGTH


def mean_plan(plans: Iterable[Sequence[int]]) -> list[float]:
    """Return the mean of the j-th steps of plans."""
    return [fmean(nodes) for nodes in zip(*plans, strict=True)]


# Demo models ----------------------------------------------------------------------------------------------------------

DEMOS = {"scenes:matched": 8, "digits:matched": 8, "motion:matched": 4}
"""Demo models, and how many seeds of each."""
SEED, STEPS, COUNTS, DENSITIES = 540_000, 20, (6, 8, 10), (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
DEMO_FILE, FILE = "plans-demos.json", "plans.json"


@dataclass(frozen=True)
class Noted(Policy):
    """Compute every step, and note the noise levels of the run."""

    needs_stride: ClassVar[bool] = True
    noted: ClassVar[list[Noise]] = []

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if at.noise is not None:
            self.noted.append(at.noise)
        return True

    @property
    def computes_all(self) -> bool:
        """See :attr:`Policy.computes_all`."""
        return True


def measured() -> dict[str, Any]:
    """Measure what the rule's plans at several densities are worth on the demo models."""
    found: dict[str, Any] = {}
    with progress(len(DEMOS) * (1 + len(COUNTS) * len(DENSITIES)), "demos") as tell:
        for name, number in DEMOS.items():
            found[name] = demo(name, tuple(range(SEED, SEED + number)), tell)
            print(f"{name}: {found[name]['rows']}", file=sys.stderr, flush=True)
    settings = {"steps": STEPS, "counts": COUNTS, "densities": DENSITIES, "constants": [FACTOR, POWER]}
    return {"settings": settings, "demos": found, "provenance": dataclasses.asdict(Provenance.of())}


def demo(name: str, seeds: Steps, tell: Any) -> dict[str, Any]:
    """Measure one demo model: a row for every number and density, equal plans once."""
    pipe, call = zoo.load(name), call_of(name)

    def drawn(policy: Policy) -> torch.Tensor:
        chosen_by = Method("plan", policy, DAMPED, "tc-pade's forecaster", span="output", retrace=True)
        with padecast.accelerate(pipe, chosen_by, measure=False):
            return torch.as_tensor(call(pipe, seeds, num_inference_steps=STEPS))

    rows: list[dict[str, Any]] = []
    values: dict[Steps, float] = {}
    with quiet(pipe):
        reference = drawn(Noted())
        noise = Noted.noted[-1]
        tell(name)
        for count in COUNTS:
            for density in DENSITIES:
                kappa = density * kappa_of(noise.size, STEPS, count)
                plan = spaced(noise, count, kappa)
                if plan not in values:
                    values[plan] = float(psnr(drawn(Plan.at(plan, STEPS)), reference).mean())
                rows.append({"computed": count, "density": density, "kappa": kappa, "plan": plan, "psnr": values[plan]})
                tell(f"{name}, {count} at {density:g}")
    return {"seeds": seeds, "size": noise.size, "rows": rows}


def call_of(name: str) -> lab.Sampling:
    """Return how a demo model is called: at its own guidance, with captions of combinations that its training saw."""
    model = name.partition(":")[0]
    if model not in CALLS:
        return lab.Sampling()
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(30_000)
    captions = tuple(grammar.draw(generator, held_out=False).caption for _ in range(64))
    return lab.Sampling(captions, arguments=CALLS[model]["arguments"])


# The fit --------------------------------------------------------------------------------------------------------------

WEIGHT = 0.1
"""% of the number of steps that a decibel counts for, so that both parts matter alike; see docs/plans.md."""
FACTORS = tuple(round(FACTOR * 1.05**power, 6) for power in range(-24, 25))
POWERS = tuple(round(0.05 * number, 2) for number in range(41))
NEAR = (0.7, 1.0, 1.4)  # densities over which the two parts are weighed against each other
VALLEY = 0.05  # % of the number of steps within which sums count as equal


def node_errors(cells: Cells, plans: dict[tuple[str, int], Steps]) -> list[float]:
    """Return how far plans are from each that was searched."""
    return [distance(plans[cell], found.plan.indices) for cell, several in cells.items() for found in several]


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

    def plans(self, factor: float, power: float) -> dict[tuple[str, int], Steps]:
        """Return the rule's plans where plans were searched."""
        return {
            (model, count): spaced(
                self.noises[model], count, kappa_of(self.noises[model].size, LENGTH, count, factor, power)
            )
            for model, count in self.cells
        }

    def error(self, factor: float, power: float) -> float:
        """Return the mean distance to searched plans, in % of the number of steps."""
        return fmean(node_errors(self.cells, self.plans(factor, power)))

    def loss(self, factor: float, power: float) -> float:
        """Return the mean loss of the demos against the best density, in dB."""
        values = []
        for (demo, count), curve in self.losses.items():
            kappa = kappa_of(self.demos[demo]["size"], STEPS, count, factor, power)
            values.append(between(curve, math.log(kappa)))
        return fmean(values)

    def at(self, factor: float, power: float) -> dict[str, float]:
        """Return both, and the sum."""
        error, loss = self.error(factor, power), self.loss(factor, power)
        return {"factor": factor, "power": power, "error": error, "loss": loss, "sum": error + WEIGHT * loss}

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
            tried += [fit.at(factor, power) for power in POWERS]
            tell(f"c = {factor:.4f}")
    best = min(tried, key=lambda found: found["sum"])
    valley = [found for found in tried if found["sum"] <= best["sum"] + VALLEY]
    near = [fit.at(FACTOR * density, POWER) for density in NEAR]
    plans = fit.plans(FACTOR, POWER)
    rows = [compared(cell, plans[cell], several) for cell, several in cells.items()]
    singles = [error for row in rows for error in row["errors"].values()]
    return {
        "settings": {
            "steps": LENGTH,
            "weight": WEIGHT,
            "factors": FACTORS,
            "powers": POWERS,
            "valley": VALLEY,
            "near": NEAR,
        },
        "models": {name: dataclasses.asdict(model) for name, model in MODELS.items()},
        "fitted": best,
        "plans alone": min(tried, key=lambda found: found["error"]),
        "demos alone": min(tried, key=lambda found: found["loss"]),
        "valley": {key: [f(found[key] for found in valley) for f in (min, max)] for key in ("factor", "power")},
        "shipped": fit.at(FACTOR, POWER),
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
