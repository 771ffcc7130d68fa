"""How a world is drawn, uncached and under a method made of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import captions
from padecast import accelerate, zoo
from padecast.forecasters import Forecaster
from padecast.hooks.quiet import quiet
from padecast.methods import Method
from padecast.policies import Policy

COUNTS = {"digits": 16, "scenes": 12, "motion": 4}
FIRST = 21_000
STEPS = 20
PLANS = {6: (0, 1, 2, 4, 9, 19), 8: (0, 1, 2, 3, 5, 9, 14, 19), 10: (0, 1, 2, 3, 4, 6, 8, 11, 15, 19)}
"""Dense at the start, as searched plans of real models are."""
Call = Callable[..., Tensor]


def load(model: str, pipe: Any = None, seeds: Iterable[int] = ()) -> tuple[Any, Call]:
    """Return a pipeline, in the matched setting by default, and how its images are drawn."""
    pipe = zoo.load(f"{model}:matched") if pipe is None else pipe
    seeds = tuple(seeds) or range(FIRST, FIRST + COUNTS[model])
    unseen = [] if model == "digits" else [*dict.fromkeys(captions(model, 256, held_out=True))][:128]

    def draw(steps: int = STEPS, **guidance: float) -> Tensor:
        options: dict[str, Any] = {"num_inference_steps": steps, "output_type": "pt", **guidance}
        options["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        if unseen:
            options |= {"prompt": [unseen[s % len(unseen)] for s in seeds], "max_sequence_length": 32}
        else:
            options["class_labels"] = [seed % 10 for seed in seeds]
        with quiet(pipe):
            output = pipe(**options)
        return torch.as_tensor(output.images if hasattr(output, "images") else output.frames)

    return pipe, draw


def figures(images: Tensor, uncached: Tensor) -> dict[str, float]:
    """Return mean and worst PSNR over samples, in dB."""
    errors = (images - uncached).float().square().flatten(1).mean(1).clamp_min(1e-10)
    psnr = -10 * errors.log10()
    return {"mean": round(float(psnr.mean()), 2), "worst": round(float(psnr.min()), 2)}


def run(
    pipe: Any, draw: Call, policy: Policy, forecaster: Forecaster, span: str = "output", *, retrace: bool = False
) -> tuple[Tensor, Any]:
    """Return the images of a method made of these parts, and its report."""
    method = Method("of parts", policy, forecaster, "for a table", span=span, retrace=retrace)
    with accelerate(pipe, method) as handle:
        images = draw()
        return images, handle.report
