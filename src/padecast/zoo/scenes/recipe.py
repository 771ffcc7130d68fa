"""All that decides the outcome of a training run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..._errors import check

STAGES = ("vae", "decoder", "text", "flow", "guidance")


@dataclass(frozen=True)
class Recipe:
    """How the scenes model is trained.

    Args:
        minutes: time budget of all five stages together, default 120; the learning rate decays over it.
        steps: optimizer steps of each stage instead, which makes a run exactly repeatable; default None.
        shares: of the minutes, for autoencoder, its decoder alone, text encoders, flow and guidance.
        batches: pictures per step, for each stage.
        rates: peak learning rates, for each stage.
        warmup: steps of linear warm-up.
        ema: decay of the weight average that is exported.
        clip: largest norm of the gradient.
        divergence: weight of the autoencoder's divergence from a standard normal.
        gallery: pictures that are rendered and encoded ahead for flow and guidance, default 4096.
        reuse: how often each of them is used, with fresh noise, default 8.
        labels: weight of the throwaway head that says what each token shows, default 0.5.
        drop: share of captions replaced by the empty one, default 0.1.
        shift: above 1 more noise levels of the training are high; default 2.
        guidance: range of guidance scales that are distilled.
        layers: double and single blocks of the transformer.
        heads: attention heads of the transformer, of 32 channels each.
        seed: of the initial weights and of every random draw.
        bfloat16: compute in bfloat16, with float32 weights and residual streams; default None: if it is faster.
    """

    minutes: float = 120.0
    steps: int | None = None
    shares: tuple[float, ...] = (0.14, 0.06, 0.02, 0.66, 0.12)
    batches: tuple[int, ...] = (8, 8, 64, 32, 32)
    rates: tuple[float, ...] = (3e-3, 1e-3, 2e-3, 1.5e-3, 3e-4)
    warmup: int = 100
    ema: float = 0.998
    clip: float = 1.0
    divergence: float = 1e-3
    gallery: int = 4096
    reuse: int = 8
    labels: float = 0.5
    drop: float = 0.1
    shift: float = 2.0
    guidance: tuple[float, float] = (1.0, 6.0)
    layers: tuple[int, int] = (2, 4)
    heads: int = 6
    seed: int = 0
    bfloat16: bool | None = None

    def __post_init__(self) -> None:
        check(self.minutes > 0, "minutes", self.minutes, "positive")
        check(self.steps is None or self.steps > 0, "steps", self.steps, "at least 1, or None")
        for name in ("shares", "batches", "rates"):
            check(len(getattr(self, name)) == len(STAGES), name, getattr(self, name), f"one for each of {STAGES}")
        check(min(self.batches) > 0, "batches", self.batches, "at least 1 each")
        check(self.gallery > 0 and self.gallery % 64 == 0, "gallery", self.gallery, "a multiple of 64")

    def progress(self, stage: str, done: int, seconds: float) -> float:
        """Share of a stage that is done, from 0; it ends at 1."""
        if self.steps is not None:
            return done / self.steps
        return seconds / (60 * self.minutes * self.shares[STAGES.index(stage)])

    def rate(self, stage: str, done: int, progress: float) -> float:
        """The learning rate of the next step: linear warm-up, times a cosine from the peak down to 1 % of it."""
        peak = self.rates[STAGES.index(stage)] * min(1.0, (done + 1) / self.warmup)
        return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


@torch.no_grad()
def faster_in_bfloat16(device: torch.device, repeats: int = 5) -> bool:
    """Whether a product of matrices takes less time in bfloat16, which depends on the processor.

    Args:
        device: where to time it.
        repeats: of which the fastest counts, default 5.
    """
    layer, inputs = nn.Linear(512, 512, device=device), torch.randn(1024, 512, device=device)
    return _time(layer, inputs, True, repeats) < 0.8 * _time(layer, inputs, False, repeats)


def _time(layer: nn.Module, inputs: Tensor, bfloat16: bool, repeats: int) -> float:
    """Seconds of the fastest of some calls, the first left out."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
            float(layer(inputs).sum())  # waits for the device
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
