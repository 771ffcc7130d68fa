"""Plans by measured gains, beside those by a formula and by a published law: results/lesson-gains.json.

    python -m benchmarks.learning.gains     # digits and scenes, unseen seeds: some minutes on a core

The lesson and the gains are of one seed. Plans and what forecasts are those that ``learned`` would take, from the same
lesson, with each kind of gains. What is in the result file already is not measured again.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.common import Document
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench, learn
from benchmarks.learning.trials import Journal, judge, method
from padecast import measure_gains
from padecast._noise import Noise
from padecast.forecasters import Forecaster
from padecast.lessons import Lesson, Planner
from padecast.lessons.cost import Array, gains_of, law_of
from padecast.lessons.extrapolation import LINE, choose_forecaster
from padecast.methods import DAMPED
from padecast.policies import Plan

FILE = "lesson-gains.json"
WORLDS = ("digits:matched", "scenes:matched")
SEEDS, BUDGETS, BATCH = 12, (6, 8, 10), 12


def choose(lesson: Lesson, noise: Noise, budget: int, gains: Array) -> tuple[Plan, Forecaster]:
    """Return the plan of a lesson and what forecasts, as :mod:`padecast.handles.learning` chooses them."""

    def search(forecaster: Forecaster) -> tuple[int, ...]:
        return Planner.of(lesson, noise, gains=gains, forecaster=forecaster).plans([budget])[budget].steps

    steps = search(DAMPED)
    forecaster = choose_forecaster(lesson.singles(noise.levels[:-1]), noise, steps, DAMPED)
    return Plan.at(search(LINE) if forecaster == LINE else steps, STEPS), forecaster


def measure(world: str, journal: Journal) -> None:
    """Measure the rows of a world."""
    bench = Bench(world, range(UNSEEN, UNSEEN + SEEDS))
    look, _ = bench.look([TEACHING], STEPS, bench.shift)
    noise, lesson = look.noise, learn([look])

    def push() -> Document:
        gains = measure_gains(
            bench.pipe, lambda _, seed: bench.draw([seed], STEPS, bench.shift), seed=TEACHING, lessons=False
        )
        formula, published = gains_of(noise), law_of("flux", STEPS)
        return {
            "gains": [float(f"{value:.5g}") for value in gains.at(noise)],
            "formula": [float(f"{value:.5g}") for value in formula],
            "flux": [float(f"{value:.5g}") for value in published],
        }

    rows = journal.take(push, part="gains", world=world, seed=TEACHING, pushes=6)
    for budget in BUDGETS:
        for way in ("formula", "gains", "flux"):
            plan, forecaster = choose(lesson, noise, budget, np.asarray(rows[way]))
            line = forecaster == LINE
            drawn = partial(judge, bench, method(plan, forecaster=forecaster), BATCH)
            key = {"plan": plan.steps, "lines": line, "seeds": [UNSEEN, SEEDS]}
            journal.take(drawn, part="plan", world=world, budget=budget, way=way, **key)


def summarize(rows: list[Document]) -> Document:
    """Return the mean over budgets of every way, by world, in dB."""
    plans = [row for row in rows if row["part"] == "plan"]
    return {
        world: {
            way: {
                figure: round(float(np.mean([r[figure] for r in plans if (r["world"], r["way"]) == (world, way)])), 2)
                for figure in ("mean", "p5")
            }
            for way in ("formula", "gains", "flux")
        }
        for world in WORLDS
    }


def main() -> None:
    """Measure and write."""
    journal = Journal(FILE, "measured gains")
    for world in WORLDS:
        measure(world, journal)
    for row in journal.rows:
        if row["part"] == "plan":
            print(row["world"], row["budget"], row["way"], row["plan"], row["lines"], row["mean"], row["p5"])
    print(summarize(journal.rows))


if __name__ == "__main__":
    main()
