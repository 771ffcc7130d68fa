"""A calibration within an allowance: plans come of lessons in closed form, and the real sampler tries the best few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from padecast._noise import is_multistep
from padecast.calibration.candidate import Candidate
from padecast.calibration.choice import Choice, Effort, measure, search, settle, split
from padecast.calibration.proposals import neighbours
from padecast.calibration.statistic import Statistic
from padecast.calibration.trials import Bench
from padecast.forecasters import REGISTRY
from padecast.hooks.retrace import suit
from padecast.lessons import Planner
from padecast.lessons.field import list_plans, noise_of_strides
from padecast.policies import Plan

DAMPED = "tcpade:damping=16"
"""The forecaster of the library's default methods, where stretches are gone through again."""
LEAST = 3
"""Budgets that an allowance is for; every further one has a third of it more."""


@dataclass(frozen=True)
class Allowance:
    """How much a calibration may take. What is tried becomes less until it fits, moves first and then candidates.

    Args:
        images: Images' worth of steps, for up to three budgets; a third of it more for every further one.
        looks: Samples, the first of those given. All are drawn uncached; a third is held out from choosing.
        scouts: Samples on which all candidates are tried.
        candidates: Plans with forecasters that are tried for every budget.
        finalists: Candidates that are tried on all samples to choose on.
        moves: Neighbours of the best plan that are tried, those that cost least by the lessons.

    Example:
        >>> Allowance(15, looks=4, scouts=2, candidates=3, finalists=2).count_tries(4)
        9
    """

    images: float
    looks: int
    scouts: int
    candidates: int
    finalists: int
    moves: int = 0

    def count_tries(self, samples: int) -> int:
        """Return in how many runs of one sample a budget is tried, at most."""
        fit, held = map(len, split(range(samples)))
        few = min(self.scouts, fit)
        finalists, better = min(self.finalists, self.candidates), min(2, self.moves)
        return (self.candidates + self.moves) * few + (finalists + better) * (fit - few) + held

    def shrink(self, budgets: Sequence[int], samples: int, steps: int) -> tuple[Allowance, int]:
        """Return what fits, and in how many runs of one sample each budget is tried.

        Args:
            budgets: Numbers of computed steps.
            samples: Drawn uncached.
            steps: Of a run.
        """
        left = self.images * max(len(budgets), LEAST) / LEAST - samples
        runs = int(left * steps / sum(budgets) + 1e-9)
        for smaller in self._shrink():
            if smaller.count_tries(samples) <= runs:
                return smaller, smaller.count_tries(samples)
        return replace(self, candidates=1, moves=0), max(min(runs, samples), 1)

    def _shrink(self) -> Iterator[Allowance]:
        yield from (replace(self, moves=moves) for moves in range(self.moves, -1, -1))
        yield from (replace(self, candidates=count, moves=0) for count in range(self.candidates - 1, 0, -1))


EFFORTS: dict[str, Effort | Allowance] = {
    "quick": Allowance(15, looks=4, scouts=2, candidates=3, finalists=2),
    "normal": Allowance(150, looks=12, scouts=3, candidates=8, finalists=4, moves=24),
    "thorough": Effort(scouts=8, finalists=8, moves=6, refined=4),
}
"""How much is tried, by name."""


def plan_all(
    bench: Bench,
    parts: Sequence[Statistic],
    statistic: Statistic,
    strides: Sequence[float],
    budgets: Sequence[int],
    allowance: Allowance,
) -> dict[int, Choice]:
    """Choose for every budget among a few plans that lessons have, within an allowance.

    1. Plans that cost least by the lessons (:class:`padecast.lessons.Planner`), and those of the uncalibrated rule, all
       on the few samples;
    2. the best of them on all samples to choose on;
    3. with moves, plans next to the best, those that cost least first;
    4. the winner on the samples held out.

    Args:
        bench: Draws and remembers.
        parts: What uncached runs showed, sample by sample.
        statistic: All of them together.
        strides: Of the sampler.
        budgets: Numbers of computed steps.
        allowance: How much may be spent.
    """
    gram = np.stack([part.gram(statistic.kinds[-1]).numpy() for part in parts])
    noise = bench.noise
    if noise is None or len(noise.sigmas) != len(strides) + 1:
        noise = noise_of_strides(strides)  # the scheduler tells no levels
    # What is tried decides; of a few looks, what guards the worse samples proposes better plans for the mean too.
    scheduler = bench.pipe.scheduler
    usual = suit(REGISTRY.make(DAMPED), scheduler, retraced=True)
    planner = Planner(gram, noise, "low", forecaster=usual, multistep=is_multistep(scheduler))
    smaller, tries = allowance.shrink(budgets, len(bench.seeds), len(strides))
    fields = list_plans(planner, budgets, smaller.candidates)
    fit, _ = split(bench.seeds)
    few = fit[: smaller.scouts]
    choices = {}
    for budget in budgets:
        plans = [Plan.at(steps, len(strides)).steps for steps in fields[budget]]
        field = [Candidate(plan, DAMPED, retrace=True) for plan in plans]
        if len(field) == 1:
            choices[budget] = settle(bench, statistic, field[0], (), tries)
            continue
        pool = measure(bench, statistic, field, few)
        final = measure(bench, statistic, [m.candidate for m in pool[: smaller.finalists]], fit)

        def near(plan: str) -> list[str]:
            return sorted(neighbours(plan), key=lambda other: planner.cost(_places(other)))[: smaller.moves]

        final = search(bench, statistic, final, few, min(smaller.moves, 1), near)
        choices[budget] = settle(bench, statistic, final[0].candidate, final)
    return choices


def _places(plan: str) -> list[int]:
    return [index for index, letter in enumerate(plan) if letter == "C"]
