"""All that decides how the scenes model comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from demos.training.recipe import Recipe as Shared
from padecast._errors import check

STAGES = ("vae", "text", "flow", "guidance")


@dataclass(frozen=True)
class Recipe(Shared):
    """How the scenes model is trained: what every recipe has, with defaults of its own, and more.

    Args:
        minutes: time budget of all four stages together, default 64. A processor without bfloat16 wants more.
        shares: of the minutes, for autoencoder, text encoders, flow and guidance.
        batches: pictures per step, for each stage.
        rates: peak learning rates, for each stage.
        divergence: weight of the autoencoder's divergence from a standard normal.
        gallery: pictures that are rendered and encoded ahead for flow and guidance, default 4096.
        reuse: how often each of them is used, with fresh noise, default 8.
        labels: weight of the throwaway head that says what each token shows, default 0.5.
        drop: share of captions replaced by the empty one, default 0.1.
        shift: above 1 more noise levels of the training are high; default 2.
        guidance: range of guidance scales that are distilled.
        strength: classifier-free guidance of ``1 + strength (g - 1)`` is what a scale g stands for, default 0.3.
        layers: double and single blocks of the transformer.
        heads: attention heads of the transformer, of 32 channels each.
    """

    stages: ClassVar[tuple[str, ...]] = STAGES

    minutes: float = 64.0
    shares: tuple[float, ...] = (0.125, 0.0235, 0.7765, 0.075)
    batches: tuple[int, ...] = (8, 64, 32, 32)
    rates: tuple[float, ...] = (3e-3, 2e-3, 1.5e-3, 3e-4)
    divergence: float = 1e-3
    gallery: int = 4096
    reuse: int = 8
    labels: float = 0.5
    drop: float = 0.1
    shift: float = 2.0
    guidance: tuple[float, float] = (1.0, 6.0)
    strength: float = 0.3
    layers: tuple[int, int] = (2, 4)
    heads: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.gallery > 0 and self.gallery % 64 == 0, "gallery", self.gallery, "a multiple of 64")
