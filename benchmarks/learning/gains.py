"""Plans by measured gains, beside those by a formula and by a published law: results/lesson-gains.json.

    python -m benchmarks.learning.gains     # digits, scenes and motion, unseen seeds: half an hour on a core

The lesson and the gains are of one seed. Plans and what forecasts are those that ``learned`` would take, from the same
lesson, with each kind of gains. The published law is that of the model that the world is like. What is in the result
file already is not measured again.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.common import Document
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench, choose, learn
from benchmarks.learning.trials import Journal, judge, method
from padecast import measure_gains
from padecast.lessons.cost import gains_of, law_of
from padecast.lessons.extrapolation import LINE
from padecast.policies import Plan

FILE = "lesson-gains.json"
WORLDS = {"digits:matched": (12, 12, "flux"), "scenes:as-flux": (12, 4, "flux"), "motion:as-wan": (6, 3, "wan")}
"""Seeds of every world, how many are drawn at once, and whose law is tried."""
BUDGETS, WAYS = (6, 8, 10), ("formula", "gains", "published")


def measure(world: str, journal: Journal) -> None:
    """Measure the rows of a world."""
    count, batch, law = WORLDS[world]
    bench = Bench(world, range(UNSEEN, UNSEEN + count))
    look, _ = bench.look([TEACHING], STEPS, bench.shift)
    noise, lesson = look.noise, learn([look])

    def push() -> Document:
        gains = measure_gains(
            bench.pipe, lambda _, seed: bench.draw([seed], STEPS, bench.shift), seed=TEACHING, lessons=False
        )
        return {"gains": [float(f"{value:.5g}") for value in gains.at(noise)]}

    gains = journal.take(push, part="gains", world=world, seed=TEACHING, pushes=6)["gains"]
    for budget in BUDGETS:
        for way, values in zip(WAYS, (gains_of(noise), np.asarray(gains), law_of(law, STEPS)), strict=True):
            steps, forecaster = choose(lesson, noise, budget, bench.pipe.scheduler, values)
            plan = Plan.at(steps, STEPS)
            drawn = partial(judge, bench, method(plan, forecaster=forecaster), batch)
            key = {"plan": plan.steps, "lines": forecaster == LINE, "seeds": [UNSEEN, count]}
            row = journal.take(drawn, part="plan", world=world, budget=budget, way=way, **key)
            print(*row.values(), flush=True)


def summarize(rows: list[Document]) -> list[Document]:
    """Return the mean over budgets of every way, by world, in dB."""
    plans = [row for row in rows if row["part"] == "plan"]
    return [
        {
            "world": world,
            "seeds": WORLDS[world][0],
            **{
                f"{way}_{figure}": float(np.mean([r[figure] for r in plans if (r["world"], r["way"]) == (world, way)]))
                for way in WAYS
                for figure in ("mean", "p5")
            },
        }
        for world in WORLDS
    ]


def main() -> None:
    """Measure and write."""
    journal = Journal(FILE, "measured gains")
    for world in WORLDS:
        measure(world, journal)


if __name__ == "__main__":
    main()
