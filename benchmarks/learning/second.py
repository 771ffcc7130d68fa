"""An experiment: once all computed steps are known, the whole run is gone through again with outputs interpolated.

    python -m benchmarks.learning.second     # digits, matched, 16 development seeds: three minutes on a core

No model is run for the second pass: every step that was forecast gets the polynomial through the computed outputs on
both of its sides, along the roots of the noise levels, from the same noise. Writes results/second-pass.json.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.common import provenance, write
from benchmarks.learning.measure import STEPS, TUNING, Bench
from padecast import accelerate
from padecast._intercept import Intercept
from padecast._noise import Noise, noise_of
from padecast.forecasters.lagrange import lagrange_basis
from padecast.methods import DAMPED, Method
from padecast.policies import Plan

PLANS = ("CC.C..C....C....C...", "CCCC.C..C...C...C...", "CCCC.C.C.C..C..C..C.")
NODES = (2, 3, 4, 6)
"""Computed outputs that a polynomial goes through."""


def run(bench: Bench, plan: str) -> tuple[Tensor, dict[int, Tensor], Tensor, Noise]:
    """Draw under a plan; return images, the computed outputs after guidance, the first latents, and noise levels."""
    outputs: dict[int, Tensor] = {}
    samples: list[Tensor] = []

    def step(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output, _, sample = args[:3] if len(args) > 2 else (*args, *(kwargs[n] for n in NAMES[len(args) :]))
        if plan[len(samples)] == "C":
            outputs[len(samples)] = output.clone()
        samples.append(sample.clone())
        return method(*args, **kwargs)

    with accelerate(bench.pipe, Method("plan", Plan(plan), DAMPED, "for a table", span="output", retrace=True)):
        hook = Intercept(bench.pipe.scheduler, "step", step).install()
        try:
            images = bench.draw(bench.seeds, STEPS, bench.shift)
        finally:
            hook.remove()
    noise = noise_of(bench.pipe.scheduler, samples[0][0].numel())
    assert noise is not None
    return images, outputs, samples[0], noise


NAMES = ("model_output", "timestep", "sample")


def go_again(outputs: dict[int, Tensor], sample: Tensor, noise: Noise, nodes: int) -> Tensor:
    """Return the images of a second pass with Euler's method."""
    computed, places = sorted(outputs), noise.roots
    assert places is not None
    for index in range(STEPS):
        output = outputs.get(index)
        if output is None:
            before = sum(step < index for step in computed)
            first = max(0, min(before - nodes // 2, len(computed) - nodes))
            near = computed[first : first + nodes] if index < computed[-1] else computed[-2:]
            weights = lagrange_basis(tuple(places[step] for step in near), places[index]).tolist()
            output = sum((w * outputs[step] for w, step in zip(weights, near, strict=True)), torch.zeros_like(sample))
        sample = sample + (noise.sigmas[index + 1] - noise.sigmas[index]) * output
    return (sample / 2 + 0.5).clamp(0, 1)


def main() -> None:
    """Measure and write."""
    bench = Bench("digits:matched", range(TUNING, TUNING + 16))
    reference = bench.draw(bench.seeds, STEPS, bench.shift)
    rows = []
    for plan in PLANS:
        images, outputs, sample, noise = run(bench, plan)
        again = {str(nodes): go_again(outputs, sample, noise, nodes) for nodes in NODES}
        ways = {"first pass": images, **{f"second pass, {nodes} nodes": images for nodes, images in again.items()}}
        for way, drawn in ways.items():
            errors = (drawn.expand_as(reference) - reference).square().flatten(1).mean(1).clamp_min(1e-10)
            rows.append({"plan": plan, "way": way, "mean": round(float((-10 * errors.log10()).mean()), 2)})
            print(plan, way, rows[-1]["mean"], flush=True)
    write("second-pass.json", {"rows": rows, "world": bench.name, "seeds": [TUNING, 16], "provenance": provenance()})


if __name__ == "__main__":
    main()
