"""An experiment: a computed step that surprises is followed by one more, beyond the budget.

    python -m benchmarks.learning.risk     # digits and scenes, unseen seeds: ten minutes on a core

At every computed step it is known how far the forecast for it would have been. Where that is more than two decibels
above what runs of other seeds under the same plan had there, the next step is computed too:
:class:`padecast.policies.watchful.Watchful`. Every sample is a run by itself, and decides by itself. Beside it are
plans of one and two more steps for everybody. Writes results/trial-risk.json.
"""

from __future__ import annotations

from functools import partial

from benchmarks.common import Document
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench
from benchmarks.learning.trials import BATCHES, Journal, cells, judge, method
from padecast import accelerate
from padecast.forecasters import Forecaster
from padecast.hooks.retrace import suit
from padecast.policies import Plan
from padecast.policies.watchful import LEAST, Surprises, Watchful

FILE = "trial-risk.json"
WORLDS = ("digits:matched", "scenes:as-flux")
BUDGETS, MORE, SEEDS = (6, 8, 10), 2, 32
LEARNT = LEAST
"""Runs from which it is known what is usual."""


def watch(bench: Bench, plan: Plan, forecaster: Forecaster) -> Watchful:
    """Return a plan that is watched, and knows what is usual."""
    watchful = Watchful(plan.steps, suit(forecaster, bench.pipe.scheduler, True), Surprises())
    with accelerate(bench.pipe, method(watchful, forecaster=forecaster)):
        for seed in range(TEACHING, TEACHING + LEARNT):
            bench.draw([seed], STEPS, bench.shift)
    return watchful


def measure(world: str, journal: Journal) -> None:
    """Measure the rows of a world."""
    bench = Bench(world, range(UNSEEN, UNSEEN + SEEDS))
    for budget, plan, forecaster in cells(bench, range(min(BUDGETS), max(BUDGETS) + MORE + 1)):
        key = {"world": world, "budget": budget, "seeds": [UNSEEN, SEEDS]}
        planned = partial(judge, bench, method(plan, forecaster=forecaster), BATCHES[world])
        print(journal.take(planned, way="planned", **key), flush=True)
        if budget in BUDGETS:
            watched = partial(judge_watched, bench, plan, forecaster)
            print(journal.take(watched, way="after a surprise", **key), flush=True)


def judge_watched(bench: Bench, plan: Plan, forecaster: Forecaster) -> Document:
    """Draw all seeds, each by itself, under a plan that is watched, and return the figures."""
    return judge(bench, method(watch(bench, plan, forecaster), forecaster=forecaster), 1)


def main() -> None:
    """Measure what is missing."""
    journal = Journal(FILE, "risk")
    for world in WORLDS:
        measure(world, journal)


if __name__ == "__main__":
    main()
