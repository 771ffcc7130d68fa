"""An experiment: a computed step that surprises is followed by one more, beyond the budget.

    python -m benchmarks.learning.risk     # digits and scenes, unseen seeds: five minutes on a core

At every computed step it is known how far the forecast for it would have been. Where that is more than so many
decibels above what runs of other seeds under the same plan had there, one step of the stretch that begins is computed
too: the next one, or that in its middle. Every sample is a run by itself, and decides by itself. Beside it are plans
of one and two more steps for everybody. Writes results/trial-risk.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from benchmarks.common import provenance, write
from benchmarks.learning.correction import PLAIN
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench
from benchmarks.learning.trials import BATCHES, cells, draw, method, summarise
from padecast import accelerate
from padecast._geometry import Geometry, unit
from padecast._steps import Position, Trace
from padecast.memory.arithmetic import pad
from padecast.policies import Plan

FILE = "trial-risk.json"
WORLDS = ("digits:matched", "scenes:matched")
BUDGETS, MORE, SEEDS = (8,), 2, 16
LEARNT = 8
"""Runs from which it is known what is expected."""
ADDED = (("next", 2.0), ("middle", 2.0))
"""Which step is added, and above how many decibels more than expected."""


@dataclass(frozen=True)
class Watchful(Plan):
    """A plan with a step more behind every computed one that surprises."""

    expected: tuple[float, ...] = ()
    limit: float = math.inf
    is_central: bool = False
    needs_gram: ClassVar[bool] = True
    looks_back: ClassVar[int] = 4
    heard: ClassVar[dict[int, float]] = {}
    """What the computed steps of the latest run had, in decibels."""

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """Follow the plan, but for steps that are added."""
        newest = geometry.index[0]
        if newest > 1 and self.steps[newest] == "C":
            self.heard[newest] = surprise(geometry, at)
        if super().computes(at, trace, geometry):
            return True
        if newest < 2 or self.steps[newest] != "C" or newest not in self.heard or not self.expected:
            return False
        after = next((index for index in self.indices if index > newest), STEPS)
        place = (newest + after) // 2 if self.is_central else newest + 1
        return at.index == place and self.heard[newest] > self.expected[newest] + self.limit


def surprise(geometry: Geometry, at: Position) -> float:
    """Return the squared error that the newest residual's forecast would have had, relative, in decibels."""
    geometry = geometry.on_host()
    past = geometry.before_newest()
    place = replace(at, index=geometry.index[0], time=geometry.time[0])
    weights = pad(PLAIN.weights(past, place), len(past)).double()
    gap = unit(len(geometry), 0) - _shift(weights)
    newest = unit(len(geometry), 0)
    share = geometry.quadratic(gap, gap) / geometry.quadratic(newest, newest)
    return 10 * math.log10(max(float(share.mean()), 1e-12))


def _shift(weights: Any) -> Any:
    """Return weights on all but the newest residual as weights on all of them."""
    import torch

    return torch.nn.functional.pad(weights, (1, 0))


def hear(bench: Bench, plan: Watchful, seeds: Sequence[int]) -> list[dict[int, float]]:
    """Return what the computed steps of every seed's run have."""
    heard = []
    with accelerate(bench.pipe, method(plan)):
        for seed in seeds:
            Watchful.heard.clear()
            bench.draw([seed], STEPS, bench.shift)
            heard.append(dict(Watchful.heard))
    return heard


def measure(world: str) -> list[dict[str, Any]]:
    """Return the rows of a world."""
    bench = Bench(world, range(UNSEEN, UNSEEN + SEEDS))
    rows: list[dict[str, Any]] = []

    def note(budget: int, way: str, values: list[float], plans: list[str], **more: float) -> None:
        row = {"world": world, "budget": budget, "way": way, **summarise(values, plans), **more}
        rows.append({**row, "seeds": [UNSEEN, len(bench.seeds)]})
        print(*row.values(), flush=True)

    plans = dict(cells(bench, range(min(BUDGETS), max(BUDGETS) + MORE + 1)))
    best: dict[int, list[float]] = {}
    for budget, plan in plans.items():
        best[budget], followed = draw(bench, method(plan), BATCHES[world])
        note(budget, "planned", best[budget], followed)
    for budget in BUDGETS:
        watch = Watchful(plans[budget].steps)
        known = hear(bench, watch, range(TEACHING, TEACHING + LEARNT))
        expected = [float(np.mean([run.get(index, 0.0) for run in known])) for index in range(STEPS)]
        watch = replace(watch, expected=tuple(expected))
        for place, limit in ADDED:
            values, followed = draw(bench, method(replace(watch, limit=limit, is_central=place == "middle")), 1)
            note(budget, f"{place}, {limit:g} dB", values, followed)
        heard = hear(bench, watch, bench.seeds)
        most = [max(run[index] - expected[index] for index in run) for run in heard]
        rows[-1]["correlation"] = round(correlate(most, best[budget]), 2)
        print(world, budget, "largest surprise against decibels:", rows[-1]["correlation"], flush=True)
    return rows


def correlate(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's correlation."""
    return float(np.corrcoef([np.argsort(np.argsort(values)) for values in (first, second)])[0, 1])


def main() -> None:
    """Measure and write."""
    rows = [row for world in WORLDS for row in measure(world)]
    settings = {"added": ADDED, "learnt": LEARNT}
    write(FILE, {"kind": "padecast trial: risk", "settings": settings, "provenance": provenance(), "rows": rows})


if __name__ == "__main__":
    main()
