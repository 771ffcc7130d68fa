"""All that decides how the motion model comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from demos.training.recipe import Recipe as Shared
from padecast._errors import check

STAGES = ("vae", "text", "flow")


@dataclass(frozen=True)
class Recipe(Shared):
    """How the motion model is trained: what every recipe has, with defaults of its own, and more.

    Args:
        minutes: time budget of all three stages together, default 80.
        shares: of the minutes, for autoencoder, text encoder and flow.
        batches: clips per step, for each stage.
        rates: peak learning rates, for each stage.
        warmup: steps of linear warm-up, default 50.
        divergence: weight of the autoencoder's divergence from a standard normal.
        attention: how much more a pixel near the object counts for the autoencoder than one of the background.
        curriculum: shares of the autoencoder's stage after which it is shown 9 frames, and 17, not close-ups of 5.
        drop: share of captions replaced by the empty one, default 0.1.
        shift: above 1 more noise levels of the training are high; default 3.
        hint: weight of the throwaway heads that name each token's object, in the flow stage.
        cache: clips that the flow stage keeps encoded.
        refresh: steps after which it replaces the oldest of them with one batch of new ones.
        layers: blocks of the transformer.
        heads: attention heads of the transformer, of 32 channels each.
    """

    stages: ClassVar[tuple[str, ...]] = STAGES

    minutes: float = 80.0
    shares: tuple[float, ...] = (0.37, 0.02, 0.61)
    batches: tuple[int, ...] = (4, 64, 32)
    rates: tuple[float, ...] = (4e-3, 2e-3, 3e-3)
    warmup: int = 50
    divergence: float = 1e-3
    attention: float = 4.0
    curriculum: tuple[float, float] = (0.75, 0.85)
    drop: float = 0.1
    shift: float = 3.0
    hint: float = 0.3
    cache: int = 2048
    refresh: int = 16
    layers: int = 8
    heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.cache > 0, "cache", self.cache, "at least 1")
