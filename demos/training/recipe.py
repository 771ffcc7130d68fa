"""What every recipe has: how long each stage trains, on how much, how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from padecast._errors import check


@dataclass(frozen=True)
class Recipe:
    """How a model is trained in stages. A subclass names the stages, gives the defaults and adds what is its own.

    Args:
        minutes: time budget of all stages together; the learning rate decays over it. On the CPU, time that the
            machine spends on other work does not count.
        steps: optimizer steps of each stage instead, which makes a run exactly repeatable; default None: the minutes
            count.
        shares: of the minutes, for each stage.
        batches: samples per step, for each stage.
        rates: peak learning rates, for each stage.
        warmup: steps of linear warm-up, default 100.
        ema: decay of the weight average that is exported, default 0.998.
        clip: largest norm of the gradient, default 1.
        seed: of the initial weights and of every random draw, default 0.
        bfloat16: compute in bfloat16, with float32 weights and residual streams; default None: if it is faster.
    """

    stages: ClassVar[tuple[str, ...]]  # their names, in order

    minutes: float
    steps: int | None = None
    shares: tuple[float, ...] = ()
    batches: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    warmup: int = 100
    ema: float = 0.998
    clip: float = 1.0
    seed: int = 0
    bfloat16: bool | None = None

    def __post_init__(self) -> None:
        check(self.minutes > 0, "minutes", self.minutes, "positive")
        check(self.steps is None or self.steps > 0, "steps", self.steps, "at least 1, or None")
        for name in ("shares", "batches", "rates"):
            given = getattr(self, name)
            check(len(given) == len(self.stages), name, given, f"one for each of {self.stages}")
        check(min(self.batches) > 0, "batches", self.batches, "at least 1 each")
        check(self.warmup > 0, "warmup", self.warmup, "at least 1")

    def number(self, stage: str) -> int:
        """Which of the stages one is, from 0."""
        return self.stages.index(stage)

    def progress(self, stage: str, done: int, seconds: float) -> float:
        """Share of a stage that is done, from 0; it ends at 1."""
        if self.steps is not None:
            return done / self.steps
        return seconds / (60 * self.minutes * self.shares[self.number(stage)])

    def rate(self, stage: str, done: int, progress: float) -> float:
        """The learning rate of the next step: linear warm-up, times a cosine from the peak down to 1 % of it."""
        return self.rates[self.number(stage)] * min(1.0, (done + 1) / self.warmup) * decayed(progress)


def decayed(progress: float) -> float:
    """Half a cosine from 1 down to 0.01, while ``progress`` goes from 0 to 1.

    Example:
        >>> [round(decayed(progress), 3) for progress in (0.0, 0.5, 1.0, 2.0)]
        [1.0, 0.505, 0.01, 0.01]
    """
    return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, progress))) / 2
