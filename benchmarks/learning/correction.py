"""An experiment: one scalar along the last difference, learnt in the run by recursive least squares.

    python -m benchmarks.learning.correction     # three worlds, unseen seeds: six minutes on a core

At every computed step it is known what would have been forecast for it. The increments that forecasts had are held
against those that came, and the factor that would have made them fit best, older ones counting for less, multiplies
the increments of the next forecasts. Beside images, how far forecasts are from what uncached runs of the same seeds
have there, and those of the lesson. Writes results/trial-correction.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from benchmarks.common import Document
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench, learn, search
from benchmarks.learning.trials import BATCHES, Journal, judge, method
from padecast._geometry import Geometry, by_noise, unit
from padecast._steps import Position
from padecast.forecasters import Forecaster, Lagrange, Reuse
from padecast.hooks.retrace import suit
from padecast.lessons import Look
from padecast.lessons.extrapolation import measure_error
from padecast.memory.arithmetic import pad
from padecast.methods import DAMPED
from padecast.policies import Plan

FILE = "trial-correction.json"
SEEDS = {"digits:matched": 16, "scenes:matched": 16, "motion:matched": 6}
BUDGETS = (6, 8, 10)
DEEP = 4
"""Computed steps that a factor is learnt from, at most."""


@dataclass(frozen=True)
class OverNoise(Forecaster):
    """Linear extrapolation over the noise that there is to see."""

    window: ClassVar[int] = 2
    needs_stride: ClassVar[bool] = True

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """Return the weights of the line through two residuals."""
        return Lagrange().weights(*by_noise(geometry, at))


@dataclass(frozen=True)
class Corrected(Forecaster):
    r"""Increments of a forecaster, times the factor that would have made the latest ones fit best.

    .. math:: R(t) = R_1 + a (F(t) - R_1), \qquad
              a = \frac{p + \sum_k \lambda^k \langle e_k, d_k \rangle / |R_{k+1}|^2}
                       {p + \sum_k \lambda^k |d_k|^2 / |R_{k+1}|^2}

    with the increment :math:`d_k` that was forecast for the k-th newest residual from those before it, the one
    :math:`e_k` that came, and a prior p that the factor is 1.
    """

    inner: Forecaster = field(default_factory=OverNoise)
    forgetting: float = 0.5
    prior: float = 1e-3
    needs_gram: ClassVar[bool] = True

    @property
    def window(self) -> int:
        """Residuals that are remembered."""
        return self.inner.window + DEEP

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """Return the corrected weights."""
        size = len(geometry)
        newest = unit(size, 0)
        if size < 3 or geometry.gram is None:
            return pad(self.inner.weights(geometry, at), size)
        batch = len(geometry.gram)
        above, below = (torch.full((batch,), self.prior, dtype=torch.float64) for _ in range(2))
        past = geometry
        for k in range(min(DEEP, size - 2)):
            place = replace(at, index=past.index[0], time=past.time[0])
            past = past.before_newest()
            weights = pad(self.inner.weights(past, place), len(past)).double()
            drawn = torch.nn.functional.pad(weights.expand(batch, -1), (size - len(past), 0)) - unit(size, k + 1)
            came, scale = unit(size, k) - unit(size, k + 1), unit(size, k + 1)
            norm = geometry.quadratic(scale, scale) / self.forgetting**k
            above += geometry.quadratic(drawn, came.expand(batch, -1)) / norm
            below += geometry.quadratic(drawn, drawn) / norm
        factor = (above / below).clamp(0.0, 2.0)[:, None]
        inner = pad(self.inner.weights(geometry, at), size).double().expand(batch, -1)
        return newest + factor * (inner - newest)


PLAIN = replace(DAMPED, feedback=0.0)
WAYS: dict[str, tuple[Forecaster, bool]] = {
    "learned": (DAMPED, True),
    "learned, corrected": (Corrected(PLAIN), True),
    "line, retraced": (OverNoise(), True),
    "line, retraced, corrected": (Corrected(), True),
    "line": (OverNoise(), False),
    "line, corrected": (Corrected(), False),
}
ERRORS: dict[str, Forecaster] = {
    "repetition": Reuse(),
    "learned": PLAIN,
    "learned, corrected": Corrected(PLAIN),
    "line": OverNoise(),
    "line, corrected": Corrected(),
}


def measure(world: str, journal: Journal) -> None:
    """Measure the rows of a world."""
    bench, batch = Bench(world, range(UNSEEN, UNSEEN + SEEDS[world])), BATCHES[world]
    lesson, _ = bench.look([TEACHING], STEPS, bench.shift)
    look = cache(partial(bench.look, bench.seeds[:8], STEPS, bench.shift))

    def list_errors(look: Look, plan: Plan) -> Document:
        return {
            way: round(measure_error(look.singles, look.noise, plan.indices, forecaster), 4)
            for way, forecaster in ERRORS.items()
        }

    def list_unseen(plan: Plan) -> Document:
        return list_errors(look()[0], plan)

    usual = suit(DAMPED, bench.pipe.scheduler, True)
    for budget in BUDGETS:
        plan = Plan.at(search(learn([lesson]), lesson.noise, budget, bench.pipe.scheduler, usual), STEPS)
        key = {"world": world, "budget": budget, "plan": plan.steps, "seeds": [UNSEEN, len(bench.seeds)]}
        known = {"world": world, "budget": budget, "plan": plan.steps, "seeds": [TEACHING, 1]}
        journal.take(partial(list_errors, lesson, plan), **known, way="lesson")
        for way, (forecaster, is_retraced) in WAYS.items():
            drawn = method(plan, forecaster=forecaster, retrace=is_retraced)
            journal.take(partial(judge, bench, drawn, batch), **key, way=way)
        journal.take(partial(list_unseen, plan), **key, way="errors")


def main() -> None:
    """Measure and write."""
    journal = Journal(FILE, "in-run correction")
    for world in SEEDS:
        measure(world, journal)


if __name__ == "__main__":
    main()
