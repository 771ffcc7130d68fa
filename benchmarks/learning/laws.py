"""Which formula of gains plans best, drawn in closed loop: results/planner-laws.json.

    python -m benchmarks.learning.laws        # motion, scenes and digits: half an hour on a core

Lessons of single runs plan 6, 8 and 10 of 20 steps by each formula, and development seeds are drawn by the plans. Every
plan is measured once, and none that is in the result file. No figure of a comparison is on these seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import Document
from benchmarks.learning.measure import STEPS, TEACHING, TUNING, Bench
from benchmarks.learning.trials import Journal, draw, method
from padecast._noise import Noise, is_multistep
from padecast.hooks.retrace import suit
from padecast.lessons import Planner
from padecast.lessons.cost import Array
from padecast.lessons.planner import OBJECTIVES
from padecast.methods import DAMPED
from padecast.policies import Plan

FILE = "planner-laws.json"
WORLDS = {"motion:as-wan": (4, 4), "scenes:as-flux": (16, 8), "digits:matched": (32, 16)}
"""Seeds of every world, and how many are drawn at once."""
BUDGETS, LOOKS = (6, 8, 10), 3


def weigh(noise: Noise, power: float, kappa: float) -> Array:
    """Return gamma times the share of the effective noise that each step takes away, to a power."""
    levels = np.asarray(noise.effective(kappa))
    share = np.clip(levels[:-1] - levels[1:], 0.0, None) / np.maximum(levels[:-1], 1e-30)
    result: Array = np.asarray(noise.gains or noise.sigmas[:-1]) * share**power
    return result


LAWS: dict[str, Callable[[Noise], Array]] = {
    "stride": lambda noise: weigh(noise, 1.0, 1.0),
    "power 0.75": lambda noise: weigh(noise, 0.75, 1.0),
    "power 0.5": lambda noise: weigh(noise, 0.5, 1.0),
    "power 0.75, kappa 3": lambda noise: weigh(noise, 0.75, 3.0),
    "power 0.75, kappa by size": lambda noise: weigh(noise, 0.75, (1 + noise.size / 1000) ** 0.5),
}


def judge(bench: Bench, plan: Plan, batch: int) -> Document:
    """Return the mean and the 5th percentile of PSNR, in dB."""
    values, _ = draw(bench, method(plan), batch)
    return {"mean": round(float(np.mean(values)), 2), "p5": round(float(np.quantile(values, 0.05)), 2)}


def measure(world: str, journal: Journal) -> None:
    """Plan by every formula, and measure every plan."""
    count, batch = WORLDS[world]
    bench = Bench(world, range(TUNING, TUNING + count))
    scheduler = bench.pipe.scheduler
    options: dict[str, Any] = {
        "forecaster": suit(DAMPED, scheduler, True),
        "multistep": is_multistep(scheduler),
    }
    for seed in range(TEACHING, TEACHING + LOOKS):
        look, _ = bench.look([seed], STEPS, bench.shift)
        for law, gains in LAWS.items():
            for objective in OBJECTIVES:
                planner = Planner(look.singles, look.noise, objective, gains=gains(look.noise), **options)
                for budget, proposal in planner.plans(BUDGETS).items():
                    row = {"world": world, "look": seed, "law": law, "objective": objective, "computed": budget}
                    make = partial(judge, bench, proposal.plan, batch)
                    figures = journal.take(make, part="plan", world=world, plan=proposal.plan.steps)
                    journal.take(partial(dict, plan=figures["plan"], mean=figures["mean"], p5=figures["p5"]), **row)
                    print(*row.values(), figures["plan"], figures["mean"], flush=True)


def main() -> None:
    """Measure what is missing."""
    journal = Journal(FILE, "formulas of gains")
    for world in WORLDS:
        measure(world, journal)


if __name__ == "__main__":
    main()
