"""An experiment: forecasts of the output and of the whole stack, mixed.

    python -m benchmarks.learning.levels     # three worlds, unseen seeds: six minutes on a core

The stack's residual is forecast, which the model's last layers make an output of; that is mixed with the output's own
forecast from the same computed steps. A share of 0 is the output's, which is what `learned` does, and 1 the stack's.
Plans and retracing are those of `learned`. Writes results/trial-levels.json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.learning.measure import STEPS, UNSEEN, Bench
from benchmarks.learning.trials import BATCHES, Journal, cells, judge, method
from padecast import Session
from padecast._intercept import Intercept
from padecast._noise import Noise
from padecast.forecasters import Forecaster, Reuse
from padecast.hooks.retrace import suit
from padecast.methods import DAMPED
from padecast.policies import Plan

FILE = "trial-levels.json"
SEEDS = {"motion:matched": 3, "digits:matched": 8, "scenes:matched": 8}
SHARES = (0.0, 0.5, 1.0)


class Mixture:
    """Mixes what a model returns with the output's own forecast, at the steps that a plan has forecast.

    Args:
        plan: Of the run.
        forecaster: Of the output.
        noise: Of the schedule.
        share: Of what the model returns.
    """

    def __init__(self, plan: Plan, forecaster: Forecaster, noise: Noise, share: float) -> None:
        self.plan, self.share = plan, share
        self.times = noise.abscissae or tuple(map(float, range(STEPS)))
        self.make: Callable[[], Session] = lambda: Session(plan, forecaster, STEPS)
        self.session, self.timestep, self.index, self.call = self.make(), -1.0, -1, 0

    def mix(self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the mixture; every model is called with its timestep by name."""
        timestep = float(torch.as_tensor(kwargs["timestep"]).flatten()[0])
        if timestep > self.timestep:
            self.session, self.index = self.make(), -1
        if timestep != self.timestep:
            self.timestep, self.index, self.call = timestep, self.index + 1, 0
        result = forward(*args, **kwargs)
        output: Tensor = result[0] if isinstance(result, tuple) else result.sample
        drawn = self.session.step(
            torch.zeros_like(output),
            index=self.index,
            time=self.times[self.index] * STEPS,
            compute=lambda: output,
            branch=str(self.call),
        )
        self.call += 1
        if self.plan.steps[self.index] == "C":
            return result
        mixed = self.share * output + (1 - self.share) * drawn
        return (mixed, *result[1:]) if isinstance(result, tuple) else type(result)(sample=mixed)


def measure(world: str, journal: Journal) -> None:
    """Measure the rows of a world."""
    bench, batch = Bench(world, range(UNSEEN, UNSEEN + SEEDS[world])), BATCHES[world]
    look, _ = bench.look(bench.seeds[:1], STEPS, bench.shift)
    for budget, plan, chosen in cells(bench):
        forecaster = suit(replace(DAMPED, axis="steps") if chosen == DAMPED else chosen, bench.pipe.scheduler, True)
        stack = Reuse() if isinstance(forecaster, Reuse) else chosen
        for share in SHARES:
            mixture = Mixture(plan, forecaster, look.noise, share)
            way = method(plan, forecaster=stack, span="full")
            wrap = partial(Intercept, bench.pipe.transformer, "forward", mixture.mix)
            key = {"world": world, "budget": budget, "plan": plan.steps, "seeds": [UNSEEN, len(bench.seeds)]}
            journal.take(partial(judge, bench, way, batch, wrap), **key, way=share)


def main() -> None:
    """Measure and write."""
    journal = Journal(FILE, "levels mixed")
    for world in SEEDS:
        measure(world, journal)


if __name__ == "__main__":
    main()
