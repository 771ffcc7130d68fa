"""What plans of the rule are worth on the demo models, by how dense they start."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from common import CALLS, progress
from plans_rule import Steps, kappa_of, spaced

import padecast
from padecast import lab, zoo
from padecast._geometry import Geometry
from padecast._noise import Noise
from padecast._steps import Position, Trace
from padecast.calibration.provenance import Provenance
from padecast.calibration.psnr import psnr
from padecast.hooks.quiet import quiet
from padecast.methods import DAMPED, Method
from padecast.policies import Plan, Policy
from padecast.policies.spaced import FACTOR, LEAST

DEMOS = {"scenes:matched": 8, "digits:matched": 8, "motion:matched": 4}
"""Demo models, and how many seeds of each."""
SEED, STEPS, COUNTS, DENSITIES = 540_000, 20, (6, 8, 10), (0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


@dataclass(frozen=True)
class Noted(Policy):
    """Compute every step, and note the noise levels of the run."""

    needs_stride: ClassVar[bool] = True
    noted: ClassVar[list[Noise]] = []

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if at.noise is not None:
            self.noted.append(at.noise)
        return True

    @property
    def computes_all(self) -> bool:
        """See :attr:`Policy.computes_all`."""
        return True


def measured() -> dict[str, Any]:
    """Measure what the rule's plans at several densities are worth on the demo models."""
    found: dict[str, Any] = {}
    with progress(len(DEMOS) * (1 + len(COUNTS) * len(DENSITIES)), "demos") as tell:
        for name, number in DEMOS.items():
            found[name] = demo(name, tuple(range(SEED, SEED + number)), tell)
            print(f"{name}: {found[name]['rows']}", file=sys.stderr, flush=True)
    settings = {"steps": STEPS, "counts": COUNTS, "densities": DENSITIES, "constants": [FACTOR, LEAST]}
    return {"settings": settings, "demos": found, "provenance": dataclasses.asdict(Provenance.of())}


def demo(name: str, seeds: Steps, tell: Any) -> dict[str, Any]:
    """Measure one demo model: a row for every number and density, equal plans once."""
    pipe, call = zoo.load(name), call_of(name)

    def drawn(policy: Policy) -> torch.Tensor:
        chosen_by = Method("plan", policy, DAMPED, "tc-pade's forecaster", span="output", retrace=True)
        with padecast.accelerate(pipe, chosen_by, measure=False):
            return torch.as_tensor(call(pipe, seeds, num_inference_steps=STEPS))

    rows: list[dict[str, Any]] = []
    values: dict[Steps, float] = {}
    with quiet(pipe):
        reference = drawn(Noted())
        noise = Noted.noted[-1]
        tell(name)
        for count in COUNTS:
            for density in DENSITIES:
                kappa = density * kappa_of(noise.size, STEPS, count)
                plan = spaced(noise, count, kappa)
                if plan not in values:
                    values[plan] = float(psnr(drawn(Plan.at(plan, STEPS)), reference).mean())
                rows.append({"computed": count, "density": density, "kappa": kappa, "plan": plan, "psnr": values[plan]})
                tell(f"{name}, {count} at {density:g}")
    return {"seeds": seeds, "size": noise.size, "rows": rows}


def call_of(name: str) -> lab.Sampling:
    """Return how a demo model is called: at its own guidance, with captions of combinations that its training saw."""
    model = name.partition(":")[0]
    if model not in CALLS:
        return lab.Sampling()
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(30_000)
    captions = tuple(grammar.draw(generator, held_out=False).caption for _ in range(64))
    return lab.Sampling(captions, arguments=CALLS[model]["arguments"])
