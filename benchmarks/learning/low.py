"""An experiment: what a lesson can do for the worst samples, and what the best plan in hindsight does.

    python -m benchmarks.learning.low     # digits and scenes: twelve minutes on a core

A field of plans is drawn on development seeds: those of both objectives, of errors that count by
powers of their noise level, and of denser rules. ``hindsight`` is the plan of the field with the best 5th percentile
there whose mean is at most a decibel below that of ``mean``; it, ``mean`` and ``low`` are drawn on unseen seeds. No
lesson knows what ``hindsight`` knows. Writes results/trial-low.json.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import provenance, write
from benchmarks.learning.measure import STEPS, TEACHING, TUNING, UNSEEN, Bench, learn
from benchmarks.learning.trials import BATCHES, COUNTS, draw, method, summarise
from padecast._noise import Noise
from padecast.lessons import Planner
from padecast.lessons.cost import Array, gains_of
from padecast.policies import Plan

FILE = "trial-low.json"
WORLDS = ("digits:matched", "scenes:matched")
BUDGETS = (8, 10)
LOOKS, LEARNT = 4, 16
"""Runs of the lesson, and development seeds."""
POWERS = (0.5, 1.0)
"""Of the noise level, by which errors count."""
ALLOWANCE = 1.0
"""Decibels of the mean that a better 5th percentile may cost."""


def field(gram: Array, noise: Noise) -> dict[int, dict[str, list[str]]]:
    """Return the plans of every budget, and which ways lead to each."""
    planners = {name: Planner(gram, noise, name) for name in ("mean", "low")}
    levels = np.asarray(noise.levels[:-1])
    planners |= {f"early {p:g}": Planner(gram, noise, gains=gains_of(noise) * levels**p) for p in POWERS}
    fields: dict[int, dict[str, list[str]]] = {budget: {} for budget in BUDGETS}
    for way, planner in planners.items():
        for budget, proposal in planner.plans(BUDGETS).items():
            fields[budget].setdefault(proposal.plan.steps, []).append(way)
    for budget in BUDGETS:
        for density in (1.0, 1.4):
            steps = planners["mean"].spaced(budget, density, last=False)
            fields[budget].setdefault(Plan.at(steps, STEPS).steps, []).append(f"rule {density:g}")
    return fields


def choose(rows: list[dict[str, Any]]) -> str:
    """Return the plan of the best 5th percentile among those whose mean is not much below that of ``mean``."""
    mean = next(row["mean"] for row in rows if "mean" in row["ways"])
    allowed = [row for row in rows if row["mean"] >= mean - ALLOWANCE]
    return str(max(allowed, key=lambda row: row["p5"])["plan"])


def measure(world: str) -> list[dict[str, Any]]:
    """Return the rows of a world."""
    development = Bench(world, range(TUNING, TUNING + LEARNT))
    unseen = Bench(world, range(UNSEEN, UNSEEN + COUNTS[world]))
    looks = [development.look([TEACHING + number], STEPS, development.shift)[0] for number in range(LOOKS)]
    noise, lesson = looks[0].noise, learn(looks)
    rows = []
    for budget, plans in field(lesson.singles(noise.levels[:-1]), noise).items():
        known = [row_of(development, budget, plan, ways) for plan, ways in plans.items()]
        judged = {way: plan for plan, names in plans.items() for way in names if way in ("mean", "low")}
        judged["hindsight"] = choose(known)
        drawn = {plan: row_of(unseen, budget, plan, []) for plan in dict.fromkeys(judged.values())}
        rows += known + [{**drawn[plan], "ways": [way]} for way, plan in judged.items()]
    return rows


def row_of(bench: Bench, budget: int, plan: str, ways: list[str]) -> dict[str, Any]:
    """Draw a plan and return its row."""
    values, plans = draw(bench, method(Plan(plan)), BATCHES[bench.name])
    row = {"world": bench.name, "seeds": [bench.seeds[0], len(bench.seeds)], "budget": budget, "plan": plan}
    row |= {"ways": ways, **summarise(values, plans), "values": values}
    print(*[row[name] for name in ("world", "seeds", "plan", "ways", "mean", "p5", "worst")], flush=True)
    return row


def main() -> None:
    """Measure and write."""
    rows = [row for world in WORLDS for row in measure(world)]
    settings = {"allowance": ALLOWANCE, "looks": LOOKS, "powers": POWERS}
    write(
        FILE, {"kind": "padecast trial: worst samples", "settings": settings, "provenance": provenance(), "rows": rows}
    )


if __name__ == "__main__":
    main()
