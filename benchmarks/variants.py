"""What was tried of forecasters: a few hundred variants on recorded trajectories, results/variants.json.

    python benchmarks/variants.py          # some ten minutes on two cores, most of it the uncached runs

Uncached runs of the matched worlds are recorded, on development seeds. A variant is a forecaster, the abscissae that it
extrapolates over, and a plan. Its forecasts are made of the recorded outputs, and the error of the last latents is the
sum of what every forecast is off, times the sampler's stride: the first order of what the sampler does. That orders
variants as real runs do (correlation 0.97 to 0.99 over forty that were run), at a thousandth of the price; what it
leaves out, and going through stretches again, is measured in real runs by world_parts.py.

Figures are decibels below the latents' own size, mean and worst over samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from common import progress, write
from torch import Tensor
from world_parts import PLANS, STEPS, drawing

from padecast._geometry import Geometry
from padecast._intercept import Intercept
from padecast._noise import Noise, noise_of
from padecast._steps import Position
from padecast.calibration.provenance import Provenance
from padecast.forecasters import Chebyshev, Forecaster, Hermite, Lagrange, Pade, Reuse, Taylor, TCPade

COUNTS = {"digits": 16, "scenes": 8, "motion": 4}
FIRST = 520_000
DAMPINGS, FEEDBACKS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0), (0.0, 0.5, 1.0, 1.5)
FORECASTERS: dict[str, Forecaster] = {
    "repetition": Reuse(),
    "line": Lagrange(1),
    "parabola": Lagrange(2),
    "Taylor, order 2": Taylor(2),
    "Hermite": Hermite(),
    "Chebyshev": Chebyshev(),
    "Padé [1/1]": Pade((1, 1)),
    "Padé [0/1]": Pade((0, 1)),
    "TC-Padé, no hindsight": TCPade(axis="steps", hindsight=False),
    **{
        f"TC-Padé, damping {damping:g}, feedback {feedback:g}": TCPade(axis="steps", damping=damping, feedback=feedback)
        for damping, feedback in itertools.product(DAMPINGS, FEEDBACKS)
    },
}
ABSCISSAE: dict[str, Callable[[Noise], Sequence[float] | None]] = {
    "steps": lambda noise: range(STEPS),
    "levels": lambda noise: [STEPS * level for level in noise.abscissae or ()],
    "roots": lambda noise: [STEPS * level for level in noise.roots or ()],
}
PLACES = {
    "dense": PLANS,
    "even": {number: tuple(round(i * (STEPS - 1) / (number - 1)) for i in range(number)) for number in PLANS},
}


@dataclass(frozen=True)
class Recording:
    """Inner products of the outputs of uncached runs.

    Args:
        gram: ``(B, n, n)``, of the outputs of all steps, per number.
        strides: What the sampler multiplies each by, as it goes down the noise levels.
        noise: Levels of the run.
        size: Mean square of the last latents, ``(B,)``.
    """

    gram: Tensor
    strides: tuple[float, ...]
    noise: Noise
    size: Tensor


def record(model: str) -> Recording:
    """Draw uncached, under Euler, and keep the inner products of the outputs that the scheduler is given."""
    import diffusers

    seeds = range(FIRST, FIRST + COUNTS[model])
    pipe, draw = drawing(model, seeds=seeds)
    if model == "motion":
        shift = pipe.scheduler.config.flow_shift
        pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    outputs: list[Tensor] = []
    latents: list[Tensor] = []

    def step(real: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs.append(args[0].flatten(1).double())
        result = real(*args, **kwargs)
        latents[:] = [result[0].flatten(1).double()]
        return result

    hook = Intercept(pipe.scheduler, "step", step).install()
    draw()
    hook.remove()
    levels = pipe.scheduler.sigmas.double().tolist()
    noise = noise_of(pipe.scheduler, outputs[0].shape[1])
    assert noise is not None
    stacked = torch.stack(outputs, 1)
    gram = stacked @ stacked.transpose(1, 2) / stacked.shape[2]
    strides = tuple(b - a for a, b in itertools.pairwise(levels[: STEPS + 1]))
    return Recording(gram, strides, noise, latents[0].square().mean(1))


def error(run: Recording, plan: Sequence[int], forecaster: Forecaster, times: Sequence[float]) -> Tensor:
    """Return how far below the latents' size the error of the last ones is, in dB, ``(B,)``."""
    moved = tuple(abs(stride) / sum(map(abs, run.strides)) for stride in run.strides)
    total = torch.zeros(len(run.gram), STEPS, dtype=torch.float64)
    known: list[int] = []
    for index in range(STEPS):
        if index in plan:
            known.insert(0, index)
            continue
        kept = known[: max(forecaster.window, 1)]
        gram = run.gram[:, kept][:, :, kept]
        geometry = Geometry(tuple(kept), tuple(times[i] for i in kept), gram, batch=len(gram))
        at = Position.at(index, STEPS, times[index], strides=moved)
        weights = forecaster.weights(geometry, at).expand(len(gram), -1)
        off = torch.zeros_like(total)
        off[:, kept[: weights.shape[1]]] = weights
        off[:, index] -= 1
        total += run.strides[index] * off
    squared = torch.einsum("bi,bij,bj->b", total, run.gram, total).clamp_min(1e-14)
    return -10 * (squared / run.size).log10()


def main() -> None:
    """Record, try all variants, and write the result file."""
    rows: list[dict[str, Any]] = []
    runs: dict[str, Recording] = {}
    with progress(len(COUNTS), "recorded") as tell:
        for model in COUNTS:
            runs[model] = record(model)
            tell(model)
    variants = list(itertools.product(FORECASTERS, ABSCISSAE, PLACES))
    with progress(len(variants), "variants") as tell:
        for name, abscissae, places in variants:
            row: dict[str, Any] = {"forecaster": name, "over": abscissae, "plan": places}
            for (model, run), number in itertools.product(runs.items(), PLANS):
                times = [float(time) for time in ABSCISSAE[abscissae](run.noise) or ()]
                values = error(run, PLACES[places][number], FORECASTERS[name], times)
                row[f"{model}, {number}"] = [round(float(values.mean()), 2), round(float(values.min()), 2)]
            rows.append(row)
            tell(name)
    settings = {"steps": STEPS, "seeds": {model: [FIRST, FIRST + count] for model, count in COUNTS.items()}}
    write(
        "variants.json",
        {
            "kind": "padecast forecasters: variants on recorded trajectories",
            "settings": settings,
            "provenance": asdict(Provenance.of()),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
