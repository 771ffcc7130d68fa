"""What calibrations are tested with: tiny pipelines, calls that draw one seed, and a bench whose answers are known."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tests.lab.tiny import digits
from tests.tiny import dit_pipeline, sample_dit, sample_wan, wan_pipeline
from torch import Tensor

from padecast.calibration import Effort, Refinement, choice, proposals
from padecast.calibration.psnr import psnr
from padecast.calibration.trials import Bench, Tape
from padecast.forecasters import Forecaster, Refined
from padecast.policies import Plan

STEPS = 6
QUICK = Effort(scouts=1, finalists=1, moves=0, refined=0)
FITTING = Effort(scouts=1, finalists=1, moves=1, refined=1, refinement=Refinement(window=1, rounds=1, steps=1))


@contextlib.contextmanager
def sparing() -> Iterator[None]:
    """Let calibrations try a few plans and forecasters instead of a hundred, which makes them three times as fast."""
    few = proposals.objectives()[::6]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "objectives", lambda: few)
        patch.setattr(proposals, "GRID", 3)
        patch.setattr(proposals, "HALVINGS", 1)
        patch.setattr(choice, "SCOUTS", choice.SCOUTS[:1])
        patch.setattr(choice, "OTHERS", choice.OTHERS[:1])
        yield


def call_dit(pipe: Any, seed: int | list[int]) -> Tensor:
    """Both conditionings in one batch; one seed or several."""
    return sample_dit(pipe, STEPS, tuple(seed) if isinstance(seed, list) else (seed,))


def call_wan(pipe: Any, seed: int) -> Tensor:
    """A call of the model per conditioning."""
    return sample_wan(pipe, STEPS, seed)


def call_digits(pipe: Any, seed: int, steps: int = STEPS, shift: float = 2.0, guidance: float = 3.0) -> Tensor:
    noise = torch.Generator().manual_seed(seed)
    options = {"num_inference_steps": steps, "shift": shift, "guidance_scale": guidance, "output_type": "pt"}
    images: Tensor = pipe([seed % 10], generator=noise, **options).images
    return images


def call_many(pipe: Any, seeds: list[int]) -> Tensor:
    """The same images as ``call_digits``, several at once."""
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]
    options = {"num_inference_steps": STEPS, "shift": 2.0, "guidance_scale": 3.0, "output_type": "pt"}
    images: Tensor = pipe([seed % 10 for seed in seeds], generator=noise, **options).images
    return images


@dataclass(frozen=True)
class Case:
    """A pipeline, a call of it for one seed, and how many calls and parts of a batch a step has."""

    name: str
    make: Callable[[], Any]
    call: Callable[[Any, int], Tensor]
    branches: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


PARTS = ("call 1 part 1", "call 1 part 2")
CASES = (
    Case("dit", dit_pipeline, call_dit, PARTS),
    Case("wan", wan_pipeline, call_wan, ("cond", "uncond")),
    Case("digits", digits, call_digits, PARTS),
)


@dataclass
class Linear(Bench):
    """A bench that draws nothing: images answer to offsets by given matrices, and better plans are nearer.

    Args:
        base: ``(S, n)`` what is wrong with every sample before offsets.
        answers: ``(S, n, P)`` how they answer to offsets in the order of the slots of ``slots_of``.
        bend: How far they are from linear.
    """

    base: Tensor = field(default_factory=lambda: torch.zeros(1, 1))
    answers: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 1))
    bend: float = 0.0
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def reference(self, seeds: Sequence[int]) -> Tensor:
        """Uncached images are zero."""
        return torch.zeros(len(seeds), self.base.shape[1])

    def image(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], tape: Tape, until: int | None = None
    ) -> Tensor:
        """What is wrong, plus the answers to the offsets."""
        self.asked.append(tuple(seeds))
        values = offsets_of(plan, forecaster)
        rows = torch.tensor([self.seeds.index(seed) for seed in seeds])
        linear = self.base[rows] + torch.einsum("snp,p->sn", self.answers[rows][:, :, : len(values)], values)
        return linear + self.bend * values.square().sum()

    def score(
        self, plan: Plan, forecaster: Forecaster, seeds: Sequence[int], key: str, retrace: bool = False
    ) -> list[float]:
        """Mean squares of the same images, as PSNR."""
        return psnr(self.image(plan, forecaster, seeds, Tape()), self.reference(seeds)).tolist()


def offsets_of(plan: Plan, forecaster: Forecaster) -> Tensor:
    """Offsets of the first step of every stretch of forecasts, rows of a step one after the other."""
    table = dict(forecaster.offsets) if isinstance(forecaster, Refined) else {}
    first = [i for i in range(1, len(plan.steps)) if plan.steps[i] == "." and plan.steps[i - 1] == "C"]
    return torch.tensor([value for i in first for row in table.get(i, ()) for value in row])
