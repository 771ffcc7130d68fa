"""What the experiments of this study share: plans of one lesson, and figures of a method sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import RESULTS, Document, provenance, read, write
from benchmarks.learning.measure import STEPS, TEACHING, Bench, choose, learn
from padecast import accelerate
from padecast._intercept import Layer
from padecast.forecasters import Forecaster
from padecast.methods import DAMPED, Method
from padecast.policies import Plan, Policy

COUNTS = {"digits:matched": 24, "scenes:matched": 24, "motion:matched": 6}
"""Seeds of every world."""
BATCHES = {"digits:matched": 24, "scenes:matched": 12, "scenes:as-flux": 8, "motion:matched": 3}
CEILING = 1e-10


def cells(bench: Bench, budgets: Sequence[int] = (6, 8, 10)) -> Iterator[tuple[int, Plan, Forecaster]]:
    """Yield plans of the lesson of one run and what forecasts, as ``learned`` chooses them."""
    look, _ = bench.look([TEACHING], STEPS, bench.shift)
    lesson = learn([look])
    for budget in budgets:
        steps, forecaster = choose(lesson, look.noise, budget, bench.pipe.scheduler)
        yield budget, Plan.at(steps, STEPS), forecaster


def refer(bench: Bench, batch: int) -> Tensor:
    """Return the uncached images of all seeds, drawn once."""
    key = (STEPS, bench.shift)
    if key not in bench.references:
        bench.references[key] = torch.cat([bench.draw(part, STEPS, bench.shift) for part in split(bench.seeds, batch)])
    return bench.references[key]


def split(seeds: Sequence[int], batch: int) -> list[Sequence[int]]:
    """Return batches."""
    return [seeds[start : start + batch] for start in range(0, len(seeds), batch)]


def draw(
    bench: Bench, method: Method, batch: int, wrap: Callable[[], Layer] | None = None
) -> tuple[list[float], list[str]]:
    """Return the PSNR of every seed, in dB, and the plan that every batch followed.

    Args:
        bench: The world.
        method: Of the runs.
        batch: Seeds of a run.
        wrap: Makes a layer around what the method has installed.
    """
    reference, images, plans = refer(bench, batch), [], []
    with accelerate(bench.pipe, method) as handle, ExitStack() as stack:
        if wrap is not None:
            layer = wrap()
            layer.install()
            stack.callback(layer.remove)
        for seeds in split(bench.seeds, batch):
            images.append(bench.draw(seeds, STEPS, bench.shift))
            plans.append(handle.report.plan)
    errors = (torch.cat(images) - reference).square().flatten(1).mean(1).clamp_min(CEILING)
    return [round(float(value), 2) for value in -10 * errors.log10()], plans


class Journal:
    """The rows of a result file: each is written once it is measured, and none is measured twice.

    Args:
        name: Of the file.
        kind: Of the experiment.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, f"padecast trial: {kind}"
        self.rows: list[Document] = read(name)["rows"] if (RESULTS / name).is_file() else []

    def take(self, make: Callable[[], Document], **key: Any) -> Document:
        """Return the row of a key: known, or measured.

        Args:
            make: Measures it.
            key: What the row is of.
        """
        known = [row for row in self.rows if key.items() <= row.items()]
        if known:
            return known[0]
        row = {**key, **make()}
        self.rows.append(row)
        write(self.name, {"kind": self.kind, "provenance": provenance(), "rows": self.rows})
        return row


def summarise(values: Sequence[float], plans: Sequence[str]) -> dict[str, Any]:
    """Return mean, 5th percentile and worst PSNR, in dB, and computed steps on average."""
    figures = {"mean": np.mean(values), "p5": np.quantile(values, 0.05), "worst": np.min(values)}
    figures["computed"] = np.mean([plan.count("C") for plan in plans])
    return {name: round(float(value), 2) for name, value in figures.items()}


def judge(bench: Bench, method: Method, batch: int, wrap: Callable[[], Layer] | None = None) -> Document:
    """Draw all seeds and return the figures; see :func:`draw`."""
    return summarise(*draw(bench, method, batch, wrap))


def method(policy: Policy, **parts: Any) -> Method:
    """Return a method that forecasts the output and retraces, unless told otherwise."""
    options = {"forecaster": DAMPED, "span": "output", "retrace": True, **parts}
    return Method("trial", policy, summary="for a table", **options)
