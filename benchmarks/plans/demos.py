"""What plans of the rule are worth on the demo models, by how dense they start."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import torch

import padecast
from benchmarks.common import CALLS, Document, captions, progress, provenance
from benchmarks.plans.rule import Steps, kappa_of, place_steps
from padecast import lab, zoo
from padecast._geometry import Geometry
from padecast._noise import Noise
from padecast._steps import Position, Trace
from padecast.calibration.psnr import psnr
from padecast.hooks.quiet import quiet
from padecast.lab.solvers import swapped
from padecast.methods import DAMPED, Method
from padecast.policies import Plan, Policy, Spaced
from padecast.policies.spaced import FACTOR, LEAST, choose_steps

DEMOS = {"scenes:matched": 8, "digits:matched": 8, "motion:matched": 4}
"""Demo models, and how many seeds of each."""
SOLVED = {"digits:matched": "unipc", "scenes:as-flux": "unipc", "motion:as-wan": ""}
"""Demo models under a solver of several steps; that of motion is its own."""
SEED, STEPS, COUNTS, DENSITIES = 540_000, 20, (6, 8, 10), (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


@dataclass(frozen=True)
class Listener(Policy):
    """Compute every step, and note the noise levels of the run."""

    needs_stride: ClassVar[bool] = True
    levels: ClassVar[list[Noise]] = []

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if at.noise is not None:
            self.levels.append(at.noise)
        return True

    @property
    def computes_all(self) -> bool:
        """See :attr:`Policy.computes_all`."""
        return True


def measure_demos() -> Document:
    """Measure what the rule's plans at several densities are worth on the demo models."""
    demos: Document = {}
    with progress(len(DEMOS) * (1 + len(COUNTS) * len(DENSITIES)), "demos") as tell:
        for name, number in DEMOS.items():
            demos[name] = measure_demo(name, tuple(range(SEED, SEED + number)), tell)
            print(f"{name}: {demos[name]['rows']}", file=sys.stderr, flush=True)
    settings = {"steps": STEPS, "counts": COUNTS, "densities": DENSITIES, "constants": [FACTOR, LEAST]}
    return {"settings": settings, "demos": demos, "provenance": provenance()}


def measure_solvers(document: Document, save: Callable[[Document], None]) -> None:
    """Measure what is missing of the rule's plans under solvers of several steps, a row for every plan.

    Args:
        document: What is known.
        save: Keeps it, after every row.
    """
    worlds = document.setdefault("worlds", {})
    for name, solver in SOLVED.items():
        seeds = tuple(range(SEED, SEED + (4 if name.startswith("motion") else 8)))
        world = worlds.setdefault(name, {"seeds": seeds, "solver": solver or "its own", "rows": []})
        rows, pipe, call = world["rows"], zoo.load(name), call_of(name)
        with quiet(pipe), swapped(pipe, solver), progress(2 * len(COUNTS) * len(DENSITIES), name) as tell:
            reference = draw_all(pipe, call, seeds, Listener())
            for count, last, density in product(COUNTS, (True, False), DENSITIES):
                policy = Spaced(every=(STEPS - 1) / (count - 1), density=density, last=last)
                known = {"computed": count, "last": last, "density": density}
                if not any(known.items() <= row.items() for row in rows):
                    plan = Plan.at(list_steps(policy, count, Listener.levels[-1]), STEPS)
                    same = [row["psnr"] for row in rows if row["plan"] == plan.steps]
                    drawn = same or [float(psnr(draw_all(pipe, call, seeds, plan), reference).mean())]
                    rows.append({**known, "plan": plan.steps, "psnr": round(drawn[0], 2)})
                    save({**document, "provenance": provenance(pipe)})
                tell(f"{name}, {count} at {density:g}")


def list_steps(policy: Spaced, count: int, noise: Noise) -> list[int]:
    """Return the steps of the rule's plan."""
    places = policy.places(Position(0, STEPS, 0.0, noise=noise), 0, count)
    return sorted(choose_steps(places[:-1], count) if policy.last else choose_steps(places, count + 1) - {STEPS})


def draw_all(pipe: Any, call: lab.Sampling, seeds: Steps, policy: Policy) -> torch.Tensor:
    """Return the images of seeds under a policy, forecast as tc-pade does."""
    method = Method("plan", policy, DAMPED, "tc-pade's forecaster", span="output", retrace=True)
    with padecast.accelerate(pipe, method, measure=False):
        return torch.as_tensor(call(pipe, seeds, num_inference_steps=STEPS))


def measure_demo(name: str, seeds: Steps, tell: Any) -> Document:
    """Measure one demo model: a row for every number and density, equal plans once."""
    pipe, call = zoo.load(name), call_of(name)

    rows: list[Document] = []
    values: dict[Steps, float] = {}
    with quiet(pipe):
        reference = draw_all(pipe, call, seeds, Listener())
        noise = Listener.levels[-1]
        tell(name)
        for count in COUNTS:
            for density in DENSITIES:
                kappa = density * kappa_of(noise.size, STEPS, count)
                plan = place_steps(noise, count, kappa)
                if plan not in values:
                    values[plan] = float(psnr(draw_all(pipe, call, seeds, Plan.at(plan, STEPS)), reference).mean())
                rows.append({"computed": count, "density": density, "kappa": kappa, "plan": plan, "psnr": values[plan]})
                tell(f"{name}, {count} at {density:g}")
    return {"seeds": seeds, "size": noise.size, "rows": rows}


def call_of(name: str) -> lab.Sampling:
    """Return how a demo model is called: at its own guidance, with captions of combinations that its training saw."""
    model = name.partition(":")[0]
    if model not in CALLS:
        return lab.Sampling()
    return lab.Sampling(captions(model, 64, held_out=False), arguments=CALLS[model]["arguments"])
